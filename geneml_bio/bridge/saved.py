"""Fitted models in files, without pickle.

A file is a zip archive: ``header.json`` (what the model is, how good it was, versions, and the digest of every other
member), ``pipeline.skops`` (the scikit-learn parts, by skops) and ``boosters/N.json`` (XGBoost's own format). The archive's
comment is the digest of all before it, so that damage is seen before anything is unpacked. Nothing is ever extracted to
disk, and no code is run but that of types which are on a list.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import __version__
from ..core.errors import DataWarning, InputError, ModelFileError, StorageError
from ..core.fitted import Fitted
from . import frozen
from .export import whole

FORMAT, VERSION = "geneml-bio model", 1
HEADER, PIPELINE = "header.json", "pipeline.skops"
MAX_FILE = 1 << 31  # bytes of a file
MAX_UNPACKED = 1 << 32  # and of what it holds
_SUSPICIOUS = (1 << 28, 100)  # bytes, and how many times the packed size: more than models pack to
MAX_MEMBERS = 10_000
_MEMBER = re.compile(r"header\.json|pipeline\.skops|boosters/\d{1,5}\.json")
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_TOLERANCE = 1e-6  # between predictions of the model that was saved and of the one that is loaded
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_FRAMES = ("performance", "history")
_ARRAYS = ("medians", "low", "high")


# -- writing -----------------------------------------------------------------------------------------------------------


def save(fitted: Fitted, path: Path) -> Path:
    """Write a fitted model, see that it can be read back, and only then put it at ``path``.

    Raises
    ------
    StorageError
        If a part of the model cannot be stored without pickle.
    InputError
        If the file cannot be written.
    """
    data = packed(fitted)
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise InputError(f"{path} cannot be written: {why}.")
    with whole(path, path.suffix) as file:
        file.write_bytes(data)
    return path


def packed(fitted: Fitted) -> bytes:
    """The bytes of the file; read back, they are seen to predict the same."""
    parts, foreign = frozen.freeze(fitted.pipeline)
    members = {PIPELINE: parts.pipeline} | {f"boosters/{i}.json": raw for i, raw in enumerate(parts.boosters)}
    header = {
        "format": FORMAT,
        "format_version": VERSION,
        "saved_with": __version__,
        "model": _about(fitted),
        "needs_trust": foreign,
        "probe": _stored(fitted.probe()),
        "members": {name: {"sha256": _sha(raw), "size": len(raw)} for name, raw in members.items()},
    }
    text = json.dumps(header, indent=1, allow_nan=False).encode("ascii")
    data = _zipped({HEADER: text} | members)
    try:
        unpacked(data, "the model", trusted=foreign)
    except ModelFileError as error:
        raise StorageError(f"This model cannot be stored without pickle: {error}") from error
    return data


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST), raw, zipfile.ZIP_DEFLATED)
        archive.comment = b"sha256:" + b"0" * 64
    data = buffer.getvalue()
    body = data[:-64]
    return body + _sha(body).encode()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _about(fitted: Fitted) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for field in fields(Fitted):
        if field.name != "pipeline":
            value = getattr(fitted, field.name)
            out[field.name] = _stored(value, field.name)
    return out


def _stored(value: Any, where: str = "") -> Any:
    """A value in what JSON has: NaN and infinity as None, frames as columns and rows."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.generic):
        return _stored(value.item(), where)
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, pd.DataFrame):
        rows = [
            [_stored(cell, where) for cell in row] for row in value.astype(object).itertuples(index=False, name=None)
        ]
        return {"columns": list(map(str, value.columns)), "rows": rows}
    if isinstance(value, Mapping):
        return {str(name): _stored(item, f"{where}[{name!r}]") for name, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple | pd.Index):
        items = value.tolist() if isinstance(value, np.ndarray) else value
        return [_stored(item, where) for item in items]
    raise StorageError(f"{where} holds a {type(value).__name__}, which cannot be stored; text, numbers and frames can.")


# -- reading -----------------------------------------------------------------------------------------------------------


def load(path: Path, *, trusted: Iterable[str | type] = ()) -> Fitted:
    """Read a fitted model.

    Raises
    ------
    ModelFileError
        If the file holds none, is damaged, or holds types that are neither on our list nor in ``trusted``.
    """
    names = _names(trusted)
    try:
        if path.stat().st_size > MAX_FILE:
            raise ModelFileError(f"{path} has {path.stat().st_size:,} bytes; a model has fewer than {MAX_FILE:,}.")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    return unpacked(data, str(path), trusted=names)


def _names(trusted: Iterable[str | type]) -> list[str]:
    if isinstance(trusted, str | bytes | bool) or not isinstance(trusted, Iterable):
        raise InputError(f"trusted is a list of names of types, such as ['my.module.Cls']; got {trusted!r}.")
    out = [name if isinstance(name, str) else f"{name.__module__}.{name.__qualname__}" for name in trusted]
    return out


def unpacked(data: bytes, name: str, *, trusted: Iterable[str] = ()) -> Fitted:
    """The fitted model in the bytes of a file; ``name`` is for messages."""
    _check_whole(data, name)
    notes: list[str] = []
    try:
        members = _members(data)
        header = json.loads(members.pop(HEADER))
        if header["format"] != FORMAT:
            raise ModelFileError(f"it says that it is {header['format']!r}.")
        if header["format_version"] != VERSION:
            raise ModelFileError(
                f"it has version {header['format_version']!r} of the format, written by geneml_bio {header['saved_with']}; "
                f"this is geneml_bio {__version__}, which reads version {VERSION}. Install the one that wrote it."
            )
        stated = {member: (facts["sha256"], facts["size"]) for member, facts in header["members"].items()}
        if stated != {member: (_sha(raw), len(raw)) for member, raw in members.items()}:
            raise ModelFileError("its members are not those that its header lists.")
        boosters = [members[f"boosters/{i}.json"] for i in range(len(members) - 1)]
        about = _restored(header["model"])
        notes = _other_versions(about["versions"], bool(boosters))
        pipeline = frozen.thaw(frozen.Parts(members[PIPELINE], boosters), trusted)
        fitted = Fitted(pipeline=pipeline, **about)
        _predicts_the_same(fitted, np.array(header["probe"], dtype=float))
    except Exception as error:
        said = str(error) if isinstance(error, ModelFileError) else f"{type(error).__name__}: {error}"[:300]
        versions = (
            f" The file is of other versions: {'; '.join(notes)}. Load it with those, or fit it anew." if notes else ""
        )
        raise ModelFileError(f"{name} holds no model that can be loaded: {said.rstrip('.')}.{versions}") from error
    if notes:
        warnings.warn(
            f"{name}: {'; '.join(notes)}. Its check predictions are the same here.", DataWarning, stacklevel=4
        )
    return fitted


def _check_whole(data: bytes, name: str) -> None:
    """Refuse what is no file of ours, by its first bytes, and what is damaged, by its last; nothing is unpacked."""
    if data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05" and len(data) > 1:
        raise ModelFileError(
            f"{name} is a pickle (or of joblib): it can run any code when it is opened, so it is never opened here. Ask for a "
            "file written by FittedModel.save, or fit the model anew with gb.tl.fit."
        )
    if data[:4] != b"PK\x03\x04":
        kinds = {
            b"\x89HDF": "an HDF5 file; gb.load reads models, anndata.read_h5ad reads data",
            b"\x1f\x8b": "a gzip file",
        }
        kind = next((what for magic, what in kinds.items() if data.startswith(magic)), "something else")
        raise ModelFileError(f"{name} is no file written by FittedModel.save: {kind if data else 'it is empty'}.")
    comment = data[-71:]
    if not _DIGEST.fullmatch(comment) or _sha(data[:-64]).encode() != comment[7:]:
        raise ModelFileError(
            f"{name} is damaged, or was not written by FittedModel.save: its digest does not fit what it holds. Copy it again."
        )


def _members(data: bytes) -> dict[str, bytes]:
    out = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed = archive.infolist()
        names = [member.filename for member in listed]
        odd = [name for name in names if not _MEMBER.fullmatch(name)]
        if odd or len(set(names)) < len(names) or not {HEADER, PIPELINE} <= set(names):
            raise ModelFileError(f"its members are not those of a model ({', '.join(map(repr, (odd or names)[:3]))}).")
        size = sum(member.file_size for member in listed)
        if len(names) > MAX_MEMBERS or size > MAX_UNPACKED or size > max(_SUSPICIOUS[0], _SUSPICIOUS[1] * len(data)):
            raise ModelFileError("it would unpack to more than a model can need.")
        for member in listed:
            with archive.open(member) as stream:
                raw = stream.read(member.file_size + 1)
            if len(raw) != member.file_size:
                raise ModelFileError(f"{member.filename} is not as long as it says.")
            out[member.filename] = raw
    return out


def _restored(stored: Mapping[str, Any]) -> dict[str, Any]:
    about = dict(stored)
    about |= {name: tuple(stored[name]) for name in ("features", "classes", "seen")}
    for name in _ARRAYS:
        about[name] = np.array(stored[name], dtype=float)
    for name in _FRAMES:
        if stored[name] is not None:
            about[name] = _frame(stored[name])
    unknown = set(about) ^ ({field.name for field in fields(Fitted)} - {"pipeline"})
    if unknown:
        raise ModelFileError(f"its header has other fields than a model: {sorted(unknown)}.")
    return about


def _frame(stored: Mapping[str, Any]) -> pd.DataFrame:
    columns = {}
    for i, name in enumerate(stored["columns"]):
        values = [row[i] for row in stored["rows"]]
        known = [value for value in values if value is not None]
        numbers = not any(isinstance(value, str | bool) for value in known) and len(known) < len(values)
        columns[name] = pd.Series(values, dtype=float if numbers else None)  # None is a number that was NaN
    return pd.DataFrame(columns)


def _other_versions(then: Mapping[str, str], boosted: bool) -> list[str]:
    """What of the packages that a model depends on is of another version than in the file."""
    import sklearn

    now = {"scikit-learn": sklearn.__version__}
    if boosted:
        import xgboost

        now["xgboost"] = xgboost.__version__
    return [
        f"fitted with {name} {then[name]}, this is {version}"
        for name, version in now.items()
        if name in then and then[name].split(".")[:2] != version.split(".")[:2]
    ]


def _predicts_the_same(fitted: Fitted, expected: np.ndarray) -> None:
    got = fitted.probe()
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    if got.shape == expected.shape and np.allclose(got, expected, rtol=0, atol=_TOLERANCE * size, equal_nan=True):
        return
    gap = float(np.abs(got - expected).max()) if got.shape == expected.shape else np.inf
    raise ModelFileError(f"it predicts otherwise here than where it was saved (by up to {gap:.2g}).")
