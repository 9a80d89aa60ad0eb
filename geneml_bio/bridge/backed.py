"""Expression data that stay in their file: read by rows."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ..core.errors import ColumnNotFoundError, InputError, near


@dataclass(frozen=True, eq=False)
class BackedSource:
    """Samples x genes that are read by rows, and what is known of both.

    Parameters
    ----------
    X
        What gives rows when sliced: an array, a sparse matrix, a dataset of h5py, zarr or anndata, a dask array.
    obs, var
        Frames of samples and genes.
    identity
        What tells this matrix from another one: for results that are kept.
    closing
        Open files.
    """

    X: Any
    obs: pd.DataFrame
    var: pd.DataFrame
    identity: dict[str, Any]
    closing: list[Any] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """Samples, genes."""
        return int(self.X.shape[0]), int(self.X.shape[1])

    @property
    def dtype(self) -> np.dtype:
        """Of the values as they are read: floats stay what they are, others become float64."""
        kind = np.dtype(self.X.dtype)
        return kind if kind in (np.float32, np.float64) else np.dtype(np.float64)

    def read(self, start: int, stop: int) -> Any:
        """Rows, as a dense array or CSR (columns in order, each once)."""
        try:
            part = self.X[start:stop]
            if hasattr(part, "compute"):
                part = part.compute()
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            raise InputError(f"Rows {start:,} to {stop:,} cannot be read ({error}); is the file damaged?") from error
        if sparse.issparse(part):
            part = sparse.csr_matrix(part)
            _check_places(part, start, stop)
            part.sum_duplicates()
            return part if part.dtype == self.dtype else part.astype(self.dtype)
        part = np.asarray(part)
        return part if part.dtype == self.dtype else part.astype(self.dtype)

    def take(self, rows: np.ndarray, chunk_size: int) -> Any:
        """Some rows (increasing positions), in memory."""
        parts = []
        for start in range(0, self.shape[0], chunk_size):
            stop = min(start + chunk_size, self.shape[0])
            mine = rows[(rows >= start) & (rows < stop)] - start
            if len(mine):
                parts.append(self.read(start, stop)[mine])
        return sparse.vstack(parts, format="csr") if sparse.issparse(parts[0]) else np.vstack(parts)

    def content(self) -> int:
        """Checksum of the values: of all where they are in memory, else of 20 blocks of rows (a file also says when it was changed)."""
        n, here = self.shape[0], isinstance(self.X, np.ndarray) or sparse.issparse(self.X)
        step = 1000 if here else 100
        total = 0
        for start in range(0, n, step) if here else np.unique(np.linspace(0, max(n - step, 0), 20).astype(int)):
            part = self.read(int(start), min(int(start) + step, n))
            for values in (part.data, part.indices, part.indptr) if sparse.issparse(part) else (part,):
                total = zlib.crc32(np.ascontiguousarray(values).data, total)
        return total

    def check_unchanged(self) -> None:
        """Refuse to go on where the file is another one than when it was opened.

        Raises
        ------
        InputError
        """
        path = self.identity.get("path", self.identity.get("file"))
        if path is None:
            return
        now = _stamp(Path(path))
        if any(self.identity[name] != value for name, value in now.items()):
            raise InputError(
                f"{path} was changed while it was read, so that nothing found can be trusted. Leave it alone, and call again: work on the "
                "file as it was is not taken up."
            )

    def remote(self) -> RowsOfPath | None:
        """What reads the same rows on another machine that sees the path; None where there is no path."""
        if "path" not in self.identity:
            return None
        return RowsOfPath(self.identity["path"], self.identity["layer"], self.identity["size"])

    def close(self) -> None:
        """Close what was opened here."""
        for file in self.closing:
            file.close()


@dataclass(frozen=True)
class RowsOfPath:
    """Rows of the matrix at a path, which is opened when they are asked for."""

    path: str
    layer: str | None
    size: int

    def read(self, start: int, stop: int) -> Any:
        """Rows, as :meth:`BackedSource.read` gives them."""
        root, closing = _opened(Path(self.path))
        none = pd.DataFrame()
        source = BackedSource(_dataset(_place(root, self.layer), self.path, self.layer), none, none, {}, closing)
        try:
            return source.read(start, stop)
        finally:
            source.close()

    def seen(self) -> bool:
        """Whether it is there, on the machine where this is asked."""
        try:
            return Path(self.path).stat().st_size == self.size or Path(self.path).is_dir()
        except OSError:
            return False


def _check_places(X: sparse.csr_matrix, start: int, stop: int) -> None:
    """Refuse what scipy would follow out of its memory."""
    ends = np.diff(X.indptr)
    if (X.nnz and (X.indices.min() < 0 or X.indices.max() >= X.shape[1])) or (ends < 0).any():
        raise InputError(f"Rows {start:,} to {stop:,} hold values of columns that there are not; is the file damaged?")


def open_source(source: Any, layer: str | None) -> BackedSource:
    """Open what :func:`geneml_bio.tl.stream` takes.

    Parameters
    ----------
    source
        Path of an ``.h5ad`` or ``.zarr``; or an AnnData, backed, lazy or in memory.
    layer
        In place of ``X``.

    Raises
    ------
    InputError
        If it is none of these, or a sparse matrix is stored by columns.
    ColumnNotFoundError
        If there is no such layer.
    """
    if isinstance(source, str | os.PathLike):
        return _from_path(Path(source), layer)
    if isinstance(source, AnnData):
        return _from_anndata(source, layer)
    raise InputError(
        f"A {type(source).__name__} cannot be streamed: pass the path of an .h5ad or .zarr, or an AnnData (backed, lazy or in memory)."
    )


def _from_path(path: Path, layer: str | None) -> BackedSource:
    if not path.exists():
        raise InputError(f"There is no {path}.")
    from anndata.io import read_elem

    root, closing = _opened(path)
    if "obs" not in root or "var" not in root:
        raise InputError(f"{path} holds no AnnData (it has {sorted(root)[:6]}).")
    identity = {"path": str(path.resolve()), "layer": layer, **_stamp(path)}
    matrix = _dataset(_place(root, layer), str(path), layer)
    return BackedSource(matrix, read_elem(root["obs"]), read_elem(root["var"]), identity, closing)


def _stamp(path: Path) -> dict[str, int]:
    """Size of a file, or of all in a folder, and when it was last changed."""
    stats = [file.stat() for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return {"modified": max((s.st_mtime_ns for s in stats), default=0), "size": sum(s.st_size for s in stats)}


def _opened(path: Path) -> tuple[Any, list[Any]]:
    """The root of a file or folder, and what is to be closed."""
    if path.is_dir():
        import zarr

        try:
            return zarr.open_group(str(path), mode="r"), []
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is no .zarr that can be opened: {error}.") from error
    import h5py

    try:
        root = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is no .h5ad that can be opened: {error}.") from error
    return root, [root]


def _place(root: Any, layer: str | None) -> Any:
    if layer is not None:
        return _layer(root.get("layers", {}), layer)
    if "X" not in root or root["X"].attrs.get("encoding-type") == "null":  # as some versions of anndata write None
        raise InputError("The file holds no X; name a layer= that holds the expression values.")
    return root["X"]


def _from_anndata(adata: AnnData, layer: str | None) -> BackedSource:
    X = adata.X if layer is None else _layer(adata.layers, layer)
    if X is None:
        raise InputError("adata.X is None; name a layer= that holds the expression values.")
    obs, var = (frame.to_memory() if hasattr(frame, "to_memory") else frame for frame in (adata.obs, adata.var))
    if sparse.issparse(X):
        X = sparse.csr_matrix(X)
    stamp = {"file": str(adata.filename), **_stamp(Path(adata.filename))} if adata.filename else {}
    return BackedSource(_dataset(X, "this AnnData", layer), obs, var, {"layer": layer, **stamp})


def _layer(layers: Any, name: str) -> Any:
    known = [key for key in layers if key is not None]
    if name not in known:
        raise ColumnNotFoundError(f"No layer {name!r}.{near(name, known)}")
    return layers[name]


def _dataset(place: Any, name: str, layer: str | None) -> Any:
    """What gives rows when it is sliced."""
    attributes = getattr(place, "attrs", {})
    kind = str(attributes.get("encoding-type", "")) if hasattr(attributes, "get") else ""
    if kind in ("csr_matrix", "csc_matrix"):
        from anndata.io import sparse_dataset

        place = sparse_dataset(place)
    if kind == "csc_matrix" or getattr(place, "format", "") == "csc":
        what = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
        raise InputError(
            f"The matrix of {name} is stored by columns (CSC), so that reading rows means reading all of it each time. Store it by "
            f"rows once: {what} = {what}.tocsr(), and write it again."
        )
    dtype = getattr(place, "dtype", None)
    if len(getattr(place, "shape", None) or ()) != 2 or dtype is None:
        raise InputError(
            f"The matrix of {name} is stored in a form that cannot be read by rows ({kind or type(place).__name__})."
        )
    if not (np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating) or np.dtype(dtype).kind == "b"):
        raise InputError(f"The matrix of {name} holds {dtype} values; numbers are expected.")
    return place
