"""``.rds`` and ``.RData`` files -> R values as plain data, without R."""

from __future__ import annotations

import bz2
import lzma
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import TableError
from .r_budget import bounded
from .r_values import RValue
from .unserialise import OnlyR, Reader, TextReader, Unreadable

MAX_UNPACKED = 1 << 32  # bytes
_SUSPICIOUS = (1 << 28, 300)  # bytes, and how many times the packed size: more than data of studies pack to
_WINDOW = 1 << 16  # bytes unpacked at a time: what follows a member is copied by the unpackers
_MEMBERS = 1000  # of a packed file; more only where they are of some size


@dataclass(frozen=True)
class RFile:
    """What a file holds: one object (``.rds``), or several by name (``.RData``)."""

    objects: dict[str, RValue]
    is_workspace: bool
    r_version: str
    about: dict[str, Any]
    promises: int = 0  # values that R would compute when they are asked for


def read(path: Path) -> RFile:
    """Read an ``.rds`` or ``.RData`` file."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}.") from error
    return parse(packed, path.name)


def is_workspace(path: Path) -> bool:
    """Whether a file is an ``.RData``, whatever its name is."""
    return _has_names(unpack(path.read_bytes(), path.name)[0])


def _has_names(data: bytes) -> bool:
    return data[:2] == b"RD" and data[2:3] in (b"X", b"A", b"B") and data[3:4] in (b"1", b"2", b"3")


def parse(packed: bytes, name: str) -> RFile:
    """Read R's serialisation from bytes, packed or not; ``name`` is for messages.

    Raises
    ------
    TableError
        If it is something else, cut, damaged, or unpacks to more than can be right.
    """
    data, compression = unpack(packed, name)
    magic, workspace = data[:5], _has_names(data)
    if workspace and magic[2:4] in (b"X1", b"A1", b"B1"):
        raise Unreadable(f"{name}: an .RData file of a kind that R before 1.4 wrote. Load it in R and save it anew.")
    start = (6 if magic[4:5] == b"\r" else 5) if workspace else 0
    form = data[start : start + 2]
    try:
        if form in (b"A\n", b"A\r"):
            reader: Reader = TextReader(data[start + 2 :])
        elif form in (b"X\n", b"B\n"):
            reader = Reader(data, start + 2, ">" if form == b"X\n" else "<")
        else:
            raise Unreadable(
                f"{name} is not an R file (.rds or .RData): it begins with {bytes(data[:12])!r}. saveRDS(object, 'file.rds') "
                "in R writes one."
            )
        with bounded():
            version = reader.header()
            root = reader.item(0)
    except TableError as error:
        raise error if name in str(error) else type(error)(f"{name}: {error}") from error
    except MemoryError as error:
        raise Unreadable(f"{name}: its objects do not fit into memory; save only the table or the matrix.") from error
    except RecursionError as error:
        raise Unreadable(f"{name}: its objects are nested too deeply; save only the table or the matrix.") from error
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise Unreadable(
            f"{name} is damaged: {type(error).__name__} at byte {reader.at}. Save it again in R."
        ) from error
    about: dict[str, Any] = {
        "compression": compression,
        "serialisation": f"version {reader.version}, {form[:1].decode()}",
    }
    if workspace:
        if root.type not in ("pairlist", "NULL"):
            raise Unreadable(f"{name} is damaged: an .RData file holds named objects, this one a {root.type}.")
        return RFile({tag or "": item for tag, item in root.value or []}, True, version, about, reader.promises)
    return RFile({"": root}, False, version, about, reader.promises)


def unpack(packed: bytes, name: str) -> tuple[bytes, str]:
    """Undo gzip, bzip2 or xz (also one within another), within bounds."""
    how, size = "", len(packed)
    for _ in range(3):
        if packed[:2] == b"\x1f\x8b":
            packed, how = _inflate(packed, name, lambda: zlib.decompressobj(31), size), how + "gzip"
        elif packed[:3] == b"BZh":
            packed, how = _inflate(packed, name, bz2.BZ2Decompressor, size), how + "bzip2"
        elif packed[:6] == b"\xfd7zXZ\x00":
            packed, how = _inflate(packed, name, _lzma, size), how + "xz"
        elif packed[:4] == b"\x28\xb5\x2f\xfd":
            raise OnlyR(f"{name} is packed with zstd; in R: saveRDS(readRDS('{name}'), 'again.rds', compress='gzip').")
        else:
            break
    return packed, how


def _lzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=1 << 30)


def _inflate(packed: bytes, name: str, start: Any, size: int) -> bytes:
    """The members of a packed file; ``size`` is that of the file, also where this was packed within another."""
    out: list[bytes] = []
    at = total = members = 0
    try:
        while at < len(packed):
            members += 1
            if members > _MEMBERS and members << 10 > at:
                raise Unreadable(f"{name} is packed in more than {_MEMBERS} pieces of next to nothing. Fetch it again.")
            engine, feed = start(), b""
            while not engine.eof:
                if not feed and getattr(engine, "needs_input", True):
                    feed = packed[at : at + _WINDOW]
                    at += len(feed)
                ended = not feed and at >= len(packed)
                piece = engine.decompress(feed, 1 << 24)
                feed = getattr(engine, "unconsumed_tail", b"")
                if not piece and ended and not engine.eof:
                    raise Unreadable(
                        f"{name} is cut: what is packed in it ends early ({total} bytes came out). Fetch it again."
                    )
                out += [piece] if piece else []
                total += len(piece)
                if total > MAX_UNPACKED or (total > _SUSPICIOUS[0] and total > _SUSPICIOUS[1] * size):
                    raise Unreadable(
                        f"{name} has {size} bytes and unpacks to more than {total}, more than is read. If you trust "
                        "it, save only the table or the matrix in R, with saveRDS(x, 'file.rds', compress=FALSE)."
                    )
            at -= len(engine.unused_data)
            while packed[at : at + 1] == b"\0":  # padding
                ahead = packed[at : at + _WINDOW]
                at += len(ahead) - len(ahead.lstrip(b"\0"))
        return b"".join(out)
    except MemoryError as error:
        raise Unreadable(f"{name} does not fit into memory: more than {total} bytes are packed in it.") from error
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as error:
        if isinstance(error, TableError):
            raise
        if not out:
            raise Unreadable(f"{name} is damaged: it cannot be unpacked ({error}). Fetch it again.") from error
        raise Unreadable(f"{name} is damaged after {total} unpacked bytes ({error}). Fetch it again.") from error
