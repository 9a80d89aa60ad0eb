"""Every name under which results are stored in an AnnData object (docs/keys.md is the reader's version)."""

from __future__ import annotations

import re

from ..core.errors import StorageError

DE_COLUMNS = ("logFC", "AveExpr", "t", "F", "LR", "P.Value", "adj.P.Val", "B", "CI.L", "CI.R", "SE", "df")

MADE_BY = "geneml_bio"  # in the params of a ranking in scanpy's form that is ours

# columns of the frames that are stored by gene
GENE_COLUMNS = frozenset(
    {
        *DE_COLUMNS,
        "rank",
        "class",
        "shap",
        "shap_rank",
        "direction",
        "rho",
        "n_models",
        "n_agree",
        "used",
        "screened",
        "sd",
        "rank_low",
        "rank_high",
        "agreement",
        "selection_frequency",
    }
)

_BAD = re.compile(r"[/%\x00-\x1f\x7f]")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")


def escape(name: str) -> str:
    """A class or model name as part of a key or column, without what h5ad and zarr refuse: ``/`` becomes ``%2F``.

    A leading dot, ``_index`` and the empty name (``%``) are escaped too.
    """
    name = str(name)
    if name in ("", "_index"):
        return "%" if not name else "%5Findex"
    escaped = _BAD.sub(lambda hit: f"%{ord(hit.group()):02X}", name)
    return f"%2E{escaped[1:]}" if escaped.startswith(".") else escaped


def unescape(name: str) -> str:
    """The name behind :func:`escape`."""
    if name == "%":
        return ""
    return _ESCAPED.sub(lambda hit: chr(int(hit.group(1), 16)), name)


def check_key(key: object, argument: str = "key_added") -> str:
    """Refuse a name of results that cannot be stored; ``argument``: what the caller calls it."""
    if not isinstance(key, str) or not key.strip() or _BAD.search(key) or key.startswith((".", "_")):
        raise StorageError(
            f"{argument} must be a non-empty string without '/', '%' or control characters and not start with '.' or '_'; "
            f"got {key!r}. Try something like 'classify'."
        )
    return key


def de_column(key: str, name: str) -> str:
    """``.var`` column of a DE statistic."""
    return f"{key}_{name}"


def pred(key: str) -> str:
    """``.obs`` column: the out-of-fold predicted class or value (mean over repeats)."""
    return f"{key}_pred"


def oof(key: str) -> str:
    """``.obsm`` frame: the out-of-fold probability per class, or the prediction (mean over repeats)."""
    return f"{key}_oof"


def side(key: str) -> str:
    """``.obs`` column (of genes: ``.var``): ``train`` or ``test``, where a test set was held out."""
    return f"{key}_set"


def gene_prediction(key: str) -> str:
    """``.var`` column: what the best model of genes predicted for each, without having seen it."""
    return f"{key}_prediction"


def selected(key: str) -> str:
    """``.var`` column: share of folds whose screen chose the gene."""
    return f"{key}_selected"


def empirical(key: str, name: str) -> str:
    """``.var`` column: ``p`` or ``q`` of a gene against permuted targets."""
    return f"{key}_empirical_{name}"


def shap(key: str) -> str:
    """``.layers`` (two classes, regression), ``.var``, ``.varm`` and ``.uns`` name of SHAP results."""
    return f"{key}_shap"


def shap_layer(key: str, output: str, n_outputs: int) -> str:
    """``.layers`` name: one layer, or one per class when there are more than two."""
    return shap(key) if n_outputs == 1 else f"{key}_shap_{escape(output)}"


def group(key: str) -> str:
    """``.var`` column: the correlation group of a gene, ``""`` for none."""
    return f"{key}_group"


def stands_behind(key: str) -> str:
    """``.var`` column: the strongest used gene that a gene is correlated with; with ``_r`` at its end, how much."""
    return f"{key}_stands_behind"


def groups(key: str) -> str:
    """``.uns`` dict: correlation groups and replacements."""
    return f"{key}_groups"


def sets(key: str) -> str:
    """``.uns`` dict: SHAP of gene sets."""
    return f"{key}_sets"


def learning_curve(key: str) -> str:
    """``.uns`` dict: scores by number of training samples."""
    return f"{key}_learning_curve"


def knockoff_w(key: str) -> str:
    """``.var`` column: how much more the model of the knockoff filter uses a gene than its copy."""
    return f"{key}_W"


def knockoff_q(key: str) -> str:
    """``.var`` column: the smallest false discovery rate at which the knockoff filter calls the gene."""
    return f"{key}_q"
