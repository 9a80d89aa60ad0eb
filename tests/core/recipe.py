"""The made-up data of tests/r/make_references.R, by the same whole-number recipe."""

from __future__ import annotations

import numpy as np
import pandas as pd


def simulated() -> dict[str, object]:
    """Samples x genes matrices by case, and the samples."""
    genes, samples = 400, 14
    i, j = np.meshgrid(np.arange(genes, dtype=float), np.arange(samples, dtype=float), indexing="ij")
    u = (i * 7919 + j * 104729 + 12345) % 10007
    for _ in range(3):
        u = (u * u * 31 + u * 17 + i * 101 + j * 1009) % 10007
    noise = u / 10007 - 0.5
    x = 6 + ((i * 37) % 101) / 20 + noise * (1 + ((i * 53) % 29) / 7) + ((i % 10 == 0) & (j % 3 == 1)) * 2
    group = np.array(["a", "b", "c"])[np.arange(samples) % 3]
    gaps = x.copy()
    gaps[((i * 13 + j * 7) % 11 == 0) & (i % 3 == 0)] = np.nan
    gaps[0] = np.nan
    gaps[3, group == "c"] = np.nan
    gaps[6, 3:] = np.nan
    flat = x.copy()
    flat[:20] = 0
    flat[20:25] = 7.25
    names = [f"s{k}" for k in range(samples)]
    obs = pd.DataFrame({"group": group, "age": (np.arange(samples) * 29) % 13 + 0.5}, index=names)
    cases = {"sim": x, "gaps": gaps, "flat": flat, "equal": 6 + noise}
    return {**{name: values.T.copy() for name, values in cases.items()}, "obs": obs}


FEATURES = [f"g{k:03d}" for k in range(400)]
