"""What limma's algebra alone says of a column of its table, and how well noise lets anything predict a fold change.

Smyth (2004), Stat Appl Genet Mol Biol 3(1):3. With residual variance s^2 on d degrees of freedom, prior s0^2 on d0, unscaled
variance v of the coefficient and v0 of true effects, a share p of the genes changed:
s_post^2 = (d0 s0^2 + d s^2) / (d0 + d);  t = logFC / (s_post sqrt(v));  SE = s_post sqrt(v);
B = logit(p) - log(r)/2 + (1 + df)/2 log((t^2 + df) / (t^2/r + df)),  r = (v + v0) / v.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from .pvalues import adjust_bh
from .squeeze import two_sided_p

_MANY = 1e6  # degrees of freedom from which limma takes a prior for infinite

# -- the formulas ------------------------------------------------------------------------------------------------------


def posterior_variance(s2: Any, df: Any, s2_prior: Any, df_prior: float) -> np.ndarray:
    """Posterior variance (``s2.post``); the prior variance where the prior has infinite degrees of freedom."""
    s2, df, s2_prior = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (s2, df, s2_prior)))
    if np.isinf(df_prior):
        return s2_prior.copy()
    return (df_prior * s2_prior + df * s2) / (df_prior + df)


def moderated_t(effect: Any, s2_post: Any, stdev_unscaled: Any) -> np.ndarray:
    """``t = logFC / (s_post sqrt(v))``."""
    return np.asarray(effect, dtype=float) / (np.sqrt(np.asarray(s2_post, dtype=float)) * np.asarray(stdev_unscaled))


def log_odds(t: Any, df: Any, ratio: Any, proportion: float = 0.01, *, normal: bool = False) -> np.ndarray:
    """B (log-odds) from t, its degrees of freedom and ``r = (v + v0) / v``; ``normal``: the prior has infinite ones."""
    t2, df, r = (np.asarray(x, dtype=float) for x in (np.square(t), df, ratio))
    with np.errstate(invalid="ignore", over="ignore"):
        kernel = t2 * (1.0 - 1.0 / r) / 2.0 if normal else (1.0 + df) / 2.0 * np.log((t2 + df) / (t2 / r + df))
    return np.asarray(special.logit(proportion) - np.log(r) / 2.0 + kernel)


# -- a table's own ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """A column of a table as a formula of others.

    Parameters
    ----------
    formula
        In words and symbols.
    uses
        The columns that enter.
    exact
        Nothing is estimated: what it misses was rounded away. Else a number (or a curve) is fitted to training genes.
    predict
        Boolean array of training genes -> the value of every gene (NaN where the formula has none).
    """

    formula: str
    uses: tuple[str, ...]
    exact: bool
    predict: Callable[[np.ndarray], np.ndarray]


def closed_form(
    frame: pd.DataFrame, target: str, facts: Mapping[str, Any] | None = None, kind: str = "t"
) -> ClosedForm | None:
    """The formula that ties ``target`` to other columns of a DE table, as far as they say what it needs.

    Parameters
    ----------
    frame
        In limma's names.
    target
        The column.
    facts
        What was recovered from the table (``DETable.check().facts``): ``df``, ``var_ratio``, ``proportion``, ``lfc``.
    kind
        Kind of the table: ``"t"``, ``"F"`` or ``"treat"``.

    Returns
    -------
    ClosedForm, or None where no formula ties it to what is there.
    """
    made = {"logFC": _fold_change, "B": _b, "t": _t, "P.Value": _p, "adj.P.Val": _adjusted, "SE": _error}.get(target)
    have = {
        str(name): frame[name].to_numpy(float) for name in frame.columns if str(name) in _NUMBERS and name != target
    }
    return None if made is None or kind == "F" else made(have, frame, dict(facts or {}) | {"kind": kind})


_NUMBERS = {"logFC", "CI.L", "CI.R", "t", "P.Value", "adj.P.Val", "B", "df", "SE"}
_Have = Mapping[str, np.ndarray]
_Facts = Mapping[str, Any]


def _fixed(formula: str, uses: tuple[str, ...], values: np.ndarray) -> ClosedForm:
    return ClosedForm(formula, uses, True, lambda train: values)


def _fold_change(have: _Have, frame: pd.DataFrame, facts: _Facts) -> ClosedForm | None:
    if {"CI.L", "CI.R"} <= set(have):
        return _fixed("logFC = (CI.L + CI.R) / 2", ("CI.L", "CI.R"), (have["CI.L"] + have["CI.R"]) / 2)
    if "t" not in have:
        return None
    t, lfc = have["t"], float(facts.get("lfc", 0.0)) if facts["kind"] == "treat" else 0.0
    shift = np.sign(t) * lfc
    of = "logFC" if not lfc else f"logFC - sign(t) {lfc:.4g}"
    if facts["kind"] == "treat" and not lfc:
        return None
    if "SE" in have:
        return _fixed(f"{of} = t SE", ("t", "SE"), t * have["SE"] + shift)
    y = frame["logFC"].to_numpy(float) - shift

    def one_error(train: np.ndarray) -> np.ndarray:
        known = train & np.isfinite(t) & np.isfinite(y)
        total = float((t[known] ** 2).sum())
        return t * (float((t[known] * y[known]).sum()) / total if total > 0 else 0.0) + shift

    words = (
        f"{of} = t s sqrt(v); s, each gene's own standard deviation, is not in the table: one s sqrt(v) for all, fitted"
    )
    return ClosedForm(words, ("t",), False, one_error)


def _size_of_t(have: _Have, facts: _Facts) -> tuple[np.ndarray, str, tuple[str, ...]] | None:
    """|t| from what there is: t; fold change and error; P.Value and the df."""
    if "t" in have:
        return np.abs(have["t"]), "t", ("t",)
    if {"logFC", "SE"} <= set(have):
        return np.abs(have["logFC"]) / have["SE"], "logFC / SE", ("logFC", "SE")
    df = _df(have, facts)
    if df is not None and "P.Value" in have:
        return _quantile(have["P.Value"], df), "the t of P.Value", ("P.Value",)
    return None


def _df(have: _Have, facts: _Facts) -> np.ndarray | float | None:
    if "df" in have and np.isfinite(have["df"]).any():
        return have["df"]
    return float(facts["df"]) if "df" in facts and facts.get("statistic") in ("t", "z") else None


def _quantile(p: np.ndarray, df: Any) -> np.ndarray:
    """|t| that has this two-sided p-value; NaN where the p-value is too small for a double."""
    with np.errstate(all="ignore"):
        size = stats.t.isf(p / 2.0, df) if np.all(np.isfinite(df)) else stats.norm.isf(p / 2.0)
    return np.where(p > 0, size, np.nan)


def _b(have: _Have, frame: pd.DataFrame, facts: _Facts) -> ClosedForm | None:
    found = _size_of_t(have, facts)
    df = _df(have, facts)
    if found is not None and df is not None and np.isfinite(facts.get("var_ratio", np.nan)):
        size, name, uses = found
        r, p = float(facts["var_ratio"]), float(facts["proportion"])
        normal = not np.all(np.isfinite(df)) or bool(np.all(np.asarray(df) > _MANY))
        words = (
            f"B = logit(p) - log(r)/2 + (1 + df)/2 log((t^2 + df)/(t^2/r + df)) of {name}, with p = {p:.4g}, r = (v + v0)/v = "
            f"{r:.4g} and df = {'its own' if 'df' in have else format(float(np.max(df)), '.4g')}, recovered from the table"
        )
        return _fixed(words, uses, log_odds(size, df, r, p, normal=normal))
    if found is None and "P.Value" not in have:
        return None
    # with an r or df of each gene's own: B still rises with |t| where these differ little
    with np.errstate(divide="ignore"):
        size, name, uses = found or (-np.log(have["P.Value"]), "-log P.Value", ("P.Value",))
    b = frame["B"].to_numpy(float)
    size = np.where(np.isfinite(size), size, np.nan)

    def rising(train: np.ndarray) -> np.ndarray:
        from sklearn.isotonic import IsotonicRegression

        known = train & np.isfinite(size) & np.isfinite(b)
        out = np.full(len(b), np.nan)
        if known.any():
            fit = IsotonicRegression(out_of_bounds="clip").fit(size[known], b[known])
            out[np.isfinite(size)] = fit.predict(size[np.isfinite(size)])
        return out

    words = (
        f"B rises strictly with |t| where genes share v and df; r was not recovered: a rising curve of {name}, fitted"
    )
    return ClosedForm(words, uses, False, rising)


def _t(have: _Have, frame: pd.DataFrame, facts: _Facts) -> ClosedForm | None:
    if "logFC" not in have or facts["kind"] == "treat":
        return None
    if "SE" in have:
        return _fixed("t = logFC / SE", ("logFC", "SE"), have["logFC"] / have["SE"])
    df = _df(have, facts)
    if "P.Value" not in have or df is None:
        return None
    values = np.sign(have["logFC"]) * _quantile(have["P.Value"], df)
    return _fixed("t = sign(logFC) times the t quantile of P.Value", ("logFC", "P.Value"), values)


def _p(have: _Have, frame: pd.DataFrame, facts: _Facts) -> ClosedForm | None:
    found = _size_of_t({name: values for name, values in have.items() if name != "P.Value"}, facts)
    df = _df(have, facts)
    if found is None or df is None or facts["kind"] == "treat":
        return None
    size, name, uses = found
    p = two_sided_p(size, np.broadcast_to(np.asarray(df, dtype=float), size.shape))
    return _fixed(f"P.Value = the two tails of {name} on its degrees of freedom", uses, p)


def _adjusted(have: _Have, frame: pd.DataFrame, facts: _Facts) -> ClosedForm | None:
    if "P.Value" not in have or facts.get("adjust", "BH") != "BH" or facts.get("n_tests", len(frame)) != len(frame):
        return None
    return _fixed("adj.P.Val = Benjamini-Hochberg's of all P.Values", ("P.Value",), adjust_bh(have["P.Value"]))


def _error(have: _Have, frame: pd.DataFrame, facts: _Facts) -> ClosedForm | None:
    if not {"logFC", "t"} <= set(have) or facts["kind"] == "treat":
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(have["t"] != 0, np.abs(have["logFC"] / have["t"]), np.nan)
    return _fixed("SE = logFC / t", ("logFC", "t"), values)


# -- noise --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Ceiling:
    """What the best possible prediction of a fold change reaches, given how uncertain the fold changes are.

    Parameters
    ----------
    error
        Expected squared error of each gene's fold change (NaN: not told); None where the table does not tell it.
    words
        Where it comes from, or why there is none.
    """

    error: np.ndarray | None
    words: str

    def of(self, values: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
        """R2 and mean squared error of a perfect prediction of the true effects of these genes (boolean); NaN: none.

        The mean squared error is over the genes whose error is told. Below 0 the noise exceeds the spread.
        """
        if self.error is None:
            return np.nan, np.nan
        known = rows & np.isfinite(self.error)
        spread = float(np.var(values[rows])) if rows.any() else 0.0
        if not known.any() or not spread > 0:
            return np.nan, np.nan
        mse = float(np.mean(self.error[known]))
        return 1.0 - mse / spread, mse


def noise_ceiling(frame: pd.DataFrame, target: str, facts: Mapping[str, Any] | None = None, kind: str = "t") -> Ceiling:
    """The noise ceiling of a target: for logFC ``1 - mean(SE^2) / var(logFC)``.

    SE is the column of that name, or ``|logFC / t|``, or the half width of the confidence interval over the quantile of t. A
    moderated SE is shrunken, and the mean of its square falls short of that of the true variance: under limma's own prior the
    expected variance of a gene is ``SE^2 df / (df - 2)``, which is used where the table is known to be moderated.
    """
    facts = dict(facts or {})
    if target == "B":
        return Ceiling(
            None, "There is none for B: its noise depends on the true effect, which the table does not tell."
        )
    if target != "logFC":
        return Ceiling(None, f"There is none for {target}: the table does not tell its noise.")
    se, words = _standard_error(frame, facts, kind)
    if se is None:
        return Ceiling(None, f"The table does not tell the standard error of logFC ({words}).")
    df = frame["df"].to_numpy(float) if "df" in frame.columns else facts.get("df", np.nan)
    moderated = str(facts.get("moderation", "")).startswith(("eBayes", "moderated", "robust"))
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(np.isfinite(df), df / (np.asarray(df, dtype=float) - 2.0), 1.0)
    if moderated and np.nanmin(df) > 2:
        note = "times df/(df - 2), since a moderated SE is shrunken"
        return Ceiling(se**2 * factor, f"1 - mean(SE^2) / var(logFC), SE = {words}; SE^2 {note}")
    return Ceiling(se**2, f"1 - mean(SE^2) / var(logFC), SE = {words}")


def _standard_error(frame: pd.DataFrame, facts: Mapping[str, Any], kind: str) -> tuple[np.ndarray | None, str]:
    if "SE" in frame.columns and frame["SE"].notna().any():
        return frame["SE"].to_numpy(float), "the column SE"
    if "t" in frame.columns and kind == "t" and facts.get("statistic", "t") in ("t", "z"):
        effect, t = frame["logFC"].to_numpy(float), frame["t"].to_numpy(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(t != 0, np.abs(effect / t), np.nan), "|logFC / t|"
    if {"CI.L", "CI.R"} <= set(frame.columns):
        df, level = float(facts.get("df", np.inf)), float(facts.get("ci_level", 0.95))
        quantile = stats.t.isf((1 - level) / 2, df) if np.isfinite(df) else stats.norm.isf((1 - level) / 2)
        wide = (frame["CI.R"] - frame["CI.L"]).to_numpy(float)
        on = f"t on {df:.4g} df" if np.isfinite(df) else "the normal distribution (the df are not told)"
        return wide / 2.0 / quantile, f"half the confidence interval over the quantile of {on}"
    if "t" in frame.columns:
        return None, "its t is not logFC / SE, and it has neither SE nor a confidence interval"
    return None, "it has neither SE, nor t, nor a confidence interval"
