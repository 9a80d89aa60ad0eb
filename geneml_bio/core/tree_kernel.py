"""The loop of :mod:`geneml_bio.core.tree_shap`, compiled: for many samples or large trees."""

from __future__ import annotations

import numpy as np

from .compiled import compiled


@compiled
def _passes(x, feature, threshold, missing_left, child, before, a, b, passes):
    """For nodes a to b and a block of samples (columns x samples): 1 where a sample passes its feature's tests up to the node."""
    n = x.shape[1]
    for i in range(b - a):
        if feature[a + i] < 0:
            continue
        row, limit, missing = x[feature[a + i]], threshold[a + i], missing_left[a + i]
        for side in range(2):
            at = child[a + i] + side
            out, last = passes[at - a], before[at]
            for s in range(n):
                goes = row[s] <= limit or (missing and row[s] != row[s])
                out[s] = 1.0 if goes == (side == 0) else 0.0
            if last >= 0:
                held = passes[last - a]
                for s in range(n):
                    out[s] *= held[s]


@compiled
def _down(t, share, before, parent, a, b, passes, product):
    """Products of the factors of the features from the root to each node, at one point t."""
    n = product.shape[1]
    for s in range(n):
        product[0, s] = 1.0
    for i in range(1, b - a):
        out, above, mine, last = product[i], product[parent[a + i] - a], passes[i], before[a + i]
        cold = (1 - t) * share[a + i]
        if last < 0:
            for s in range(n):
                out[s] = above[s] * (cold + t * mine[s])
        else:
            held = passes[last - a]
            was = t + (1 - t) * share[last]
            ratio = share[a + i] / share[last]
            more, hot = cold / was - ratio, t / was
            for s in range(n):
                out[s] = above[s] * (ratio + held[s] * more + mine[s] * hot)


@compiled
def _up(t, weight, k, feature, child, share, before, parent, value, a, b, passes, product, sums, phi):
    """Sums over the leaves below each node, and what they give to the feature tested above it, at one point t."""
    n = product.shape[1]
    for i in range(b - a - 1, 0, -1):
        here, mine, last = sums[i], passes[i], before[a + i]
        if feature[a + i] < 0:
            leaf, v = product[i], value[a + i, k]
            for s in range(n):
                here[s] = v * leaf[s]
        else:
            one, two = sums[child[a + i] - a], sums[child[a + i] - a + 1]
            for s in range(n):
                here[s] = one[s] + two[s]
        out = phi[feature[parent[a + i]]]
        fails = -weight / (1 - t)
        more = weight * (1 - share[a + i]) / (t + (1 - t) * share[a + i]) - fails
        if last < 0:
            for s in range(n):
                out[s] += here[s] * (fails + mine[s] * more)
        else:
            held = passes[last - a]
            fails -= weight * (1 - share[last]) / (t + (1 - t) * share[last])
            for s in range(n):
                out[s] += here[s] * (held[s] * fails + mine[s] * more)


@compiled
def add_values(
    x, feature, threshold, missing_left, child, parent, before, share, value, start, first, last, points, nodes, weights, phi
):  # fmt: skip
    """SHAP values (outputs x columns x samples) of a block of samples (columns x samples), added to ``phi``."""
    most = 0
    for t in range(len(points)):
        most = max(most, start[t + 1] - start[t])
    passes, product, sums = np.empty((most, x.shape[1])), np.empty((most, x.shape[1])), np.empty((most, x.shape[1]))
    for t in range(len(points)):
        a, b = start[t], start[t + 1]
        _passes(x, feature, threshold, missing_left, child, before, a, b, passes)
        for q in range(points[t]):
            at, weight = nodes[points[t], q], weights[points[t], q]
            _down(at, share, before, parent, a, b, passes, product)
            for k in range(last[t] - first[t]):
                _up(
                    at, weight, k, feature, child, share, before, parent, value, a, b, passes, product, sums, phi[first[t] + k]
                )  # fmt: skip
