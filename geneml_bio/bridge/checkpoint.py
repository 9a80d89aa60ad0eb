"""Finished pieces of streamed work in a folder: arrays, and pipelines without pickle."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from ..core.errors import InputError
from ..core.workers import TemporaryFolder
from . import frozen
from .export import whole
from .locks import Lock

_PIPELINE = "pipeline"
_BLOCK = 1 << 24  # bytes read at a time
_DIGEST = 32  # bytes before the content of a file, by which damage is seen


class Checkpoint:
    """A folder of finished pieces, which work that was stopped finds again (:class:`geneml_bio.core.stream.Store`).

    Parameters
    ----------
    folder
        Where; None: a temporary folder, which goes when the work is done.
    about
        What the work is: another study, other arguments or other versions find nothing of it.
    trusted
        Names of types, besides scikit-learn's, that may be in pipelines read back: those of the caller's own models.

    Raises
    ------
    InputError
        If nothing can be written there.
    CheckpointInUseError
        If another call does the same work there now.
    """

    def __init__(self, folder: str | Path | None, about: Mapping[str, Any], trusted: Iterable[str] = ()) -> None:
        self._trusted = set(trusted)
        text = json.dumps(about, sort_keys=True, default=str)
        self._own, self._lock = None, None
        if folder is None:
            self._own = TemporaryFolder()
            folder = self._own.name
        elif not str(folder).strip():
            raise InputError(
                "checkpoint= is empty; name a folder ('.' is the one you are in), or give None to keep nothing."
            )
        self.path = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "about.json").write_text(text + "\n")
            self._lock = None if self._own else Lock(self.path / "lock")
        except OSError as error:
            raise InputError(f"checkpoint: nothing can be written to {folder}: {error}.") from error
        for pattern in (".*.piece", "xgboost*"):  # what was being written when a process was killed
            for file in self.path.glob(pattern):
                file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.path / f"{hashlib.sha256(name.encode()).hexdigest()[:20]}.piece"

    def get(self, name: str) -> dict[str, Any] | None:
        """What was put under a name; None where it is not there, or not whole."""
        try:
            data = self._file(name).read_bytes()
        except OSError:
            return None
        if _digest(name, data[_DIGEST:]) != data[:_DIGEST]:
            return None
        with np.load(io.BytesIO(data[_DIGEST:]), allow_pickle=False) as stored:
            found = {key: stored[key] for key in stored.files}
        if _PIPELINE in found:
            boosters = [found.pop(f"booster {i}").tobytes() for i in range(int(found.pop("boosters")))]
            types = [str(kind) for kind in found.pop("types")]
            if not all(kind.startswith(("sklearn.", "geneml_bio.")) or kind in self._trusted for kind in types):
                return None
            found[_PIPELINE] = frozen.thaw(frozen.Parts(found[_PIPELINE].tobytes(), boosters), types)
        return found

    def put(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep arrays and a fitted pipeline; a file that is there is whole."""
        arrays: dict[str, Any] = {}
        for key, what in value.items():
            if isinstance(what, BaseEstimator):
                parts, foreign = frozen.freeze(what)
                arrays[key] = np.frombuffer(parts.pipeline, dtype=np.uint8)
                arrays["boosters"], arrays["types"] = len(parts.boosters), np.array(foreign, dtype=str)
                arrays |= {f"booster {i}": np.frombuffer(raw, np.uint8) for i, raw in enumerate(parts.boosters)}
            else:
                arrays[key] = what
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        data = buffer.getvalue()
        with whole(self._file(name), ".piece") as file:
            file.write_bytes(_digest(name, data) + data)

    def fill(self, name: str, parts: Iterable[np.ndarray]) -> int:
        """Keep an array that comes by rows, in a file; its checksum."""
        total = 0
        path = self.path / f"{name}.bin"
        path.unlink(missing_ok=True)
        with path.open("wb") as out:
            for part in parts:
                values = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
                total = zlib.crc32(values.data, total)
                try:
                    out.write(values.data)
                except OSError as error:
                    raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
        return total

    def checksum(self, name: str) -> int | None:
        """Of such an array as it is now; None where it is not there."""
        total = 0
        try:
            with (self.path / f"{name}.bin").open("rb") as file:
                while block := file.read(_BLOCK):
                    total = zlib.crc32(block, total)
        except OSError:
            return None
        return total

    def drop(self, name: str) -> None:
        """Remove such an array, if it is there."""
        for path in (self._file(name), self.path / f"{name}.bin"):
            path.unlink(missing_ok=True)

    def reader(self, name: str, shape: tuple[int, int], dtype: np.dtype) -> RowsOfFile:
        """What gives rows of such an array where the same path is seen."""
        return RowsOfFile(str((self.path / f"{name}.bin").resolve()), shape, np.dtype(dtype).str)

    def signed(self) -> Callable[[], bool]:
        """What tells, on a machine, whether this folder is seen there: a note that was just written has to be read."""
        note = uuid.uuid4().hex
        (self.path / "note").write_text(note)
        return partial(_reads, str((self.path / "note").resolve()), note)

    def scratch(self) -> str:
        """Where XGBoost may put files, without their end."""
        return str(self.path / "xgboost")

    def close(self) -> None:
        """Let others work in the folder; remove a temporary one."""
        if self._lock is not None:
            self._lock.close()
        if self._own is not None:
            self._own.cleanup()


def _digest(name: str, data: bytes) -> bytes:
    """Of a piece under its name, so that a piece that got another one's place is seen as well."""
    return hashlib.sha256(name.encode() + b"\0" + data).digest()


@dataclass(frozen=True)
class RowsOfFile:
    """Rows of an array in a file, which is opened when they are asked for."""

    path: str
    shape: tuple[int, int]
    dtype: str

    def __getitem__(self, rows: slice) -> np.ndarray:
        try:
            return np.array(np.memmap(self.path, dtype=self.dtype, mode="r", shape=self.shape)[rows])
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path} cannot be read ({error}). Was it removed or changed, or not written whole, since the work began? Call again: "
                "what is finished is found, and the rest is done."
            ) from error


def _reads(path: str, note: str) -> bool:
    try:
        return Path(path).read_text() == note
    except OSError:
        return False
