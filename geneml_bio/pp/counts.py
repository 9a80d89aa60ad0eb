"""Counts: cells summed by donor, and log counts per million as edgeR's."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from ..bridge import keys
from ..bridge.anndata import attach, storable, storable_frame
from ..bridge.extract import as_names, check_writable, column
from ..core.errors import ColumnNotFoundError, DataWarning, InputError, StorageError, near

if TYPE_CHECKING:
    from anndata import AnnData

_BLOCK = 20_000  # cells read at a time: what is backed by a file is never in memory whole
_HIGHEST_LOG = 30.0  # log2 of counts stays below
_WIDE = 1 << 30  # bytes of a dense result beyond which its size is told
_FEW = 5  # names in a message


def pseudobulk(
    adata: AnnData,
    *,
    by: str | Iterable[str],
    layer: str | None = None,
    mode: Literal["sum", "mean"] = "sum",
    min_cells: int = 10,
) -> AnnData:
    """Sum (or average) the cells of each donor, so that donors become the samples.

    Cells of one donor are not independent: a study of 6 donors has 6 samples a side or fewer, however many cells it has.
    Sums of counts by donor are what :func:`logcpm`, limma and edgeR expect.

    Parameters
    ----------
    adata
        Cells x genes, dense or sparse, in memory or backed by a file; it is not changed. CSR is never made dense.
    by
        ``.obs`` column of donors, or several columns (donor and condition, donor and cell type): each combination that
        occurs becomes a sample.
    layer
        Layer to use in place of ``X``. For sums it has to hold counts.
    mode
        ``"sum"`` (of counts) or ``"mean"`` (of values on any scale).
    min_cells
        Samples of fewer cells are dropped, with a warning that names them.

    Returns
    -------
    A new AnnData, samples x genes: ``.X`` (float64; CSR where the cells were sparse, else dense), ``.obs`` = the columns of
    ``by``, ``n_cells`` and every other column that has one value within each sample, ``.var`` as it was, and
    ``.uns["pseudobulk"]`` = ``by layer mode min_cells``, ``varying`` (columns left out, for they vary within a sample),
    ``dropped`` (``sample n_cells`` of those too small). Names are the values joined by ``_``; where two samples would have
    one name, the later one gets a number.

    Raises
    ------
    ColumnNotFoundError
        If a column or the layer is not there.
    InputError
        If values to be summed are logs or negative, or no sample has enough cells.
    """
    names = as_names(by, "by")
    _check_pseudobulk(adata, names, mode, min_cells)
    code, table = _samples(adata, names)
    n_cells = np.bincount(code[code >= 0], minlength=len(table))
    large = n_cells >= min_cells
    label = _joined(table)
    dropped = pd.DataFrame({"sample": label[~large], "n_cells": n_cells[~large]})
    _tell_dropped(dropped, int((code < 0).sum()), large, min_cells, names)
    code = np.where(code >= 0, np.where(large, np.cumsum(large) - 1, -1)[code], -1)

    total = _summed(_values(adata, layer), code, int(large.sum()), mode)
    size = n_cells[large]
    if mode == "mean":
        total = sparse.csr_matrix(sparse.diags(1 / size) @ total) if sparse.issparse(total) else total / size[:, None]
    obs, varying = _constant(adata.obs, names, code)
    obs["n_cells"] = size
    obs.index = pd.Index(label[large])
    about: dict[str, Any] = {"by": names, "layer": layer, "mode": mode, "min_cells": int(min_cells)}
    about["varying"] = varying or None
    about["dropped"] = storable_frame(dropped, "dropped") if len(dropped) else None
    from anndata import AnnData

    return AnnData(total, obs=obs, var=adata.var.copy(), uns={"pseudobulk": storable(about, "uns['pseudobulk']")})


def _check_pseudobulk(adata: AnnData, names: list[str], mode: str, min_cells: int) -> None:
    from anndata import AnnData

    if not isinstance(adata, AnnData):
        raise InputError(f"Expected an AnnData object, got {type(adata).__name__}.")
    if not names or len(set(names)) < len(names):
        raise InputError(f"by= takes the name of a column of adata.obs, or several different ones; got {names}.")
    if "n_cells" in names:
        raise InputError("by= cannot hold 'n_cells', which is the name of a column of the result; rename the column.")
    if mode not in ("sum", "mean"):
        raise InputError(f"mode must be 'sum' or 'mean', got {mode!r}.")
    if isinstance(min_cells, bool) or not isinstance(min_cells, int | np.integer) or min_cells < 1:
        raise InputError(f"min_cells must be a whole number of at least 1, got {min_cells!r}.")


def _samples(adata: AnnData, names: list[str]) -> tuple[np.ndarray, pd.DataFrame]:
    """The sample of each cell (-1: a value is missing), and the values of each sample, in order."""
    columns = pd.DataFrame({name: column(adata, name, "by").to_numpy() for name in names})
    for name in names:
        if isinstance(adata.obs[name].dtype, pd.CategoricalDtype):
            columns[name] = pd.Categorical(adata.obs[name])
    groups = columns.groupby(names, observed=True, sort=True, dropna=True)
    code = groups.ngroup().fillna(-1).to_numpy().astype(np.int64)
    first = _first(code)
    return code, columns.iloc[first].reset_index(drop=True)


def _first(code: np.ndarray) -> np.ndarray:
    """Position of the first cell of each sample."""
    found, where = np.unique(code, return_index=True)
    return where[found >= 0]


def _joined(table: pd.DataFrame) -> np.ndarray:
    """Names of samples, numbered where two would be the same."""
    text = table.astype(object).astype(str).agg("_".join, axis=1) if len(table) else pd.Series(dtype=object)
    out: list[str] = []
    taken = set(text)
    seen: set[str] = set()
    for name in text:
        new, i = name, 1
        while new in seen or (i > 1 and new in taken):
            new, i = f"{name}-{i}", i + 1
        seen.add(new)
        out.append(new)
    return np.array(out, dtype=object)


def _tell_dropped(dropped: pd.DataFrame, n_missing: int, large: np.ndarray, min_cells: int, names: list[str]) -> None:
    if not large.any():
        most = int(dropped["n_cells"].max()) if len(dropped) else 0
        raise InputError(
            f"No sample of {' x '.join(names)} has {min_cells} cells (the largest has {most}); use a smaller min_cells."
        )
    if n_missing:
        message = (
            f"{n_missing} cells have no value in {' or '.join(names)} and belong to no sample; they were left out."
        )
        warnings.warn(message, DataWarning, stacklevel=3)
    if len(dropped):
        shown = ", ".join(f"{s} ({n})" for s, n in dropped.head(_FEW).itertuples(index=False))
        message = (
            f"{len(dropped)} of {len(large)} samples have fewer than {min_cells} cells and were dropped: "
            f"{shown}{', ...' if len(dropped) > _FEW else ''}."
        )
        warnings.warn(message, DataWarning, stacklevel=3)


def _values(adata: AnnData, layer: str | None) -> Any:
    if layer is not None and layer not in adata.layers:
        raise ColumnNotFoundError(f"No layer {layer!r}.{near(layer, [k for k in adata.layers if k is not None])}")
    X = adata.X if layer is None else adata.layers[layer]
    if X is None:
        raise InputError("adata.X is None; name a layer= that holds the values.")
    return X.tocsr() if sparse.issparse(X) and X.format != "csr" else X


def _summed(X: Any, code: np.ndarray, n: int, mode: str) -> Any:
    """Sum of the cells of each sample, block by block: the indicator of samples times the cells."""
    total: Any = None
    low, high, whole = np.inf, -np.inf, True
    for start in range(0, len(code), _BLOCK):
        block = X[start : start + _BLOCK]
        stored = block.data if sparse.issparse(block) else np.asarray(block)
        _check_numbers(stored)
        if stored.size:
            low, high = min(low, float(stored.min())), max(high, float(stored.max()))
            whole = whole and bool((stored == np.rint(stored)).all())
        rows = np.flatnonzero(code[start : start + _BLOCK] >= 0)
        of = code[start : start + _BLOCK][rows]
        pick = sparse.csr_matrix((np.ones(len(rows)), (of, rows)), shape=(n, block.shape[0]))
        part = pick @ block
        total = part if total is None else total + part
    if mode == "sum":
        _check_summable(low, high, whole)
    return sparse.csr_matrix(total) if sparse.issparse(total) else np.asarray(total, dtype=np.float64)


def _check_numbers(stored: np.ndarray) -> None:
    if not (np.issubdtype(stored.dtype, np.number) or stored.dtype == bool):
        raise InputError(f"The matrix holds {stored.dtype} values; numbers are expected.")
    bad = int((~np.isfinite(stored)).sum())
    if bad:
        raise InputError(f"The matrix holds {bad} values that are missing or infinite; counts are expected.")


def _check_summable(low: float, high: float, whole: bool) -> None:
    fix = "Name the layer= of counts (adata.layers['counts'], adata.raw.to_adata()), or use mode='mean'."
    if low < 0:
        raise InputError(f"Values go down to {low:.4g}: they are no counts, and their sums mean nothing. {fix}")
    if not whole and high <= _HIGHEST_LOG:
        raise InputError(
            f"Values are no whole numbers and reach {high:.4g} at most: they look like logs, and sums of logs are no logs "
            f"of sums. {fix} Corrected counts that are this small can be rounded first."
        )
    if not whole:
        message = f"The values summed are no whole numbers (up to {high:.4g}): normalised counts? Limma and edgeR expect counts."
        warnings.warn(message, DataWarning, stacklevel=4)


def _constant(obs: pd.DataFrame, names: list[str], code: np.ndarray) -> tuple[pd.DataFrame, list[str]]:
    """The columns with one value in each sample, and the names of the others."""
    first = _first(code)
    used = code >= 0
    out, varying = {}, []
    for i, name in enumerate(map(str, obs.columns)):
        values = obs.iloc[:, i]
        try:
            level = pd.factorize(values)[0]
        except TypeError:  # lists and the like
            varying.append(name)
            continue
        if name in names or (level[used] == level[first][code[used]]).all():
            kept = values.iloc[first].reset_index(drop=True)
            out[name] = kept.cat.remove_unused_categories() if isinstance(kept.dtype, pd.CategoricalDtype) else kept
        else:
            varying.append(name)
    return pd.DataFrame(out), varying


def logcpm(
    adata: AnnData,
    *,
    layer: str | None = None,
    prior_count: float = 2.0,
    mean_lib_size: float | None = None,
    sparse_result: bool = False,
    key_added: str = "logcpm",
) -> None:
    """Log2 counts per million, as ``edgeR::cpm(log=TRUE)`` gives them.

    ``log2((count + p) / (library size + 2 p) * 1e6)``, where ``p`` is ``prior_count`` times the library size over the mean
    library size. Each sample is transformed by itself but for that one number, the mean library size of the study. It knows
    nothing of a target, yet new samples have to be transformed with the same one: it is recorded, and taken as
    ``mean_lib_size=``.

    Parameters
    ----------
    adata
        Counts, samples (or cells) x genes.
    layer
        Layer of counts, in place of ``X``.
    prior_count
        Added to each count, on average; larger values calm the logs of small counts.
    mean_lib_size
        The mean library size to use: None for that of these samples (edgeR's), or, for new samples of a study,
        ``study.uns["logcpm"]["mean_lib_size"]``.
    sparse_result
        A count of 0 becomes the same value in every sample, ``zero``, so the result is dense. With True that value is
        subtracted and the result is CSR: differences, models and logFC are the same, averages are lower by ``zero``.
    key_added
        Name of the results.

    Returns
    -------
    None; in ``adata``: ``.layers[key_added]`` and ``.uns[key_added]`` = ``prior_count mean_lib_size zero shifted layer``.

    Raises
    ------
    ColumnNotFoundError, InputError, StorageError, ViewError
        Values that are no counts, a sample without counts, a name that is taken.

    References
    ----------
    R: ``edgeR::cpm(y, log = TRUE, prior.count = 2)``.
    """
    check_writable(adata)
    key = keys.check_key(key_added)
    _check_taken(adata, key)
    for name, value in (("prior_count", prior_count), ("mean_lib_size", mean_lib_size)):
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not (name == "mean_lib_size" and value is None) and not (number and 0 < float(value) < np.inf):  # type: ignore[arg-type]
            raise InputError(f"{name} must be a number above 0, got {value!r}.")
    X = _values(adata, layer)
    size = _library_sizes(X, adata.obs_names)
    mean = float(size.mean()) if mean_lib_size is None else float(mean_lib_size)
    prior = float(prior_count) / mean  # a sample's prior count, as a share of its library
    zero = float(np.log2(prior * 1e6 / (1 + 2 * prior)))
    if not sparse_result and sparse.issparse(X) and X.shape[0] * X.shape[1] * 8 > _WIDE:
        message = (
            f"The result is dense ({X.shape[0] * X.shape[1] * 8 / 2**30:.1f} GiB), for the log of a count of 0 is not 0. "
            "With sparse_result=True it stays sparse."
        )
        warnings.warn(message, DataWarning, stacklevel=2)
    about = {
        "prior_count": float(prior_count),
        "mean_lib_size": mean,
        "zero": zero,
        "shifted": bool(sparse_result),
        "layer": layer,
    }
    values = _logs(X, size, prior, zero, sparse_result)
    attach(adata, [("layers", key, values), ("uns", key, storable(about, f"uns[{key!r}]"))])


def _check_taken(adata: AnnData, key: str) -> None:
    about = adata.uns.get(key)
    ours = isinstance(about, dict) and "mean_lib_size" in about
    if (key in adata.layers or about is not None) and not ours:
        raise StorageError(
            f"adata holds something called {key!r} that logcpm has not made and would destroy; use another key_added."
        )


def _library_sizes(X: Any, samples: pd.Index) -> np.ndarray:
    if not (sparse.issparse(X) or isinstance(X, np.ndarray)):
        raise InputError(
            f"The matrix is a {type(X).__name__}; load it into memory as a numpy array or a scipy sparse matrix."
        )
    stored = X.data if sparse.issparse(X) else X
    _check_numbers(stored)
    if stored.size:
        low, high = float(stored.min()), float(stored.max())
        whole = high > _HIGHEST_LOG or bool((stored == np.rint(stored)).all())
        if low < 0 or not whole:
            what = f"go down to {low:.4g}" if low < 0 else f"are no whole numbers and reach {high:.4g} at most"
            raise InputError(f"Values {what}: they are no counts (logs already?). Name the layer= of counts.")
    size = np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()
    empty = list(samples[size == 0])
    if empty:
        shown = ", ".join(map(str, empty[:_FEW]))
        raise InputError(
            f"{len(empty)} of {len(size)} samples have no counts at all ({shown}{', ...' if len(empty) > _FEW else ''}); drop them first."
        )
    return size


def _logs(X: Any, size: np.ndarray, prior: float, zero: float, sparse_result: bool) -> Any:
    """``log2((count / size + prior) / (1 + 2 prior) * 1e6)``, less its value for a count of 0 where zeros are to stay zeros."""
    if not sparse_result:
        out = X.toarray().astype(np.float64) if sparse.issparse(X) else np.array(X, dtype=np.float64)
        out /= size[:, None]
        out += prior
        out *= 1e6 / (1 + 2 * prior)
        return np.log2(out, out=out)
    csr = sparse.csr_matrix(X, dtype=np.float64, copy=True)
    csr.sum_duplicates()
    csr.data /= np.repeat(size, np.diff(csr.indptr))
    csr.data = np.log2(csr.data / prior + 1)
    return csr
