"""Files as they come -> bytes: unpacked within bounds, told apart by their content, foreign formats named with the way out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ..core.errors import TableError, near

Kind = Literal["text", "excel", "zip", "r", "h5ad"]

LARGEST = 1 << 30  # bytes of a file, or of what it unpacks to
_BOMB = 64 << 20  # from here on, what unpacks to more than 200 times its size is no table
_HEAD = 1 << 16
_CHUNK = 1 << 20
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "xz"}
_SAVE = "open it there and save the sheet as CSV (UTF-8) or .xlsx"
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF; copy the table into a spreadsheet and save it as CSV"),
    (b"{\\rtf", "a rich-text document; copy the table into a spreadsheet and save it as CSV"),
    (b"PAR1", "a Parquet file; pass it as a frame: gb.read.toptable(pd.read_parquet(path))"),
    (b"ARROW1", "a Feather/Arrow file; pass it as a frame: gb.read.toptable(pd.read_feather(path))"),
    (b"FEA1", "an old Feather file; pass it as a frame: gb.read.toptable(pd.read_feather(path))"),
    (b"ORC", "an ORC file; pass it as a frame: gb.read.toptable(pd.read_orc(path))"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard; unpack it first (zstd -d)"),
    (b"\x04\x22\x4d\x18", "packed with LZ4; unpack it first (lz4 -d)"),
    (b"\x1f\x9d", "packed with compress; unpack it first (gunzip)"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x93NUMPY", "a NumPy array; a table has column names"),
    (b"SQLite format 3", "an SQLite database; pass the table as a frame: pd.read_sql"),
    (b"$FL2", "an SPSS file; pass it as a frame: pd.read_spss"),
    (b"<stata_dta>", "a Stata file; pass it as a frame: pd.read_stata"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with git lfs pull"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\x7fELF", "a program"),
    (b"BAM\x01", "a BAM file"),
    (b"MIME-Version:", f"a web page saved from a browser or by a program under a table's name; {_SAVE}"),
)
_PICKLES = tuple(b"\x80" + bytes([version]) for version in (2, 3, 4, 5))
_R_MAGIC = tuple(
    [f"RD{form}{version}\n".encode() for form in "XAB" for version in (2, 3)]
    + [
        b"X\n\x00\x00\x00\x02",
        b"X\n\x00\x00\x00\x03",
        b"A\n2\n",
        b"A\n3\n",
        b"B\n\x02\x00\x00\x00",
        b"B\n\x03\x00\x00\x00",
    ]
)
# what a zip container is, by a member
_CONTAINERS = (
    ("xl/workbook.bin", f"a binary Excel workbook (.xlsb); {_SAVE}"),
    ("word/document.xml", "a Word document; copy the table into a spreadsheet and save it as CSV"),
    ("ppt/presentation.xml", "a PowerPoint file"),
    ("Index/Document.iwa", f"an Apple Numbers or Pages file; {_SAVE}"),
    ("content.xml", f"an OpenDocument file (.ods, .odt); {_SAVE}"),
)


def kind_of(path: Path) -> Kind:
    """What a file is, by its content once unpacked: text, excel (.xlsx), zip (of tables), r or h5ad.

    Raises
    ------
    TableError
        For everything else: what it is, and the way out.
    """
    data = b"".join(_unpacked(_existing(path), path.name, whole=False))
    if data.startswith(b"PK\x03\x04"):
        return _kind_of_zip(unpack(path)[0], path.name)
    kind = kind_of_bytes(data, path.name)
    if kind == "h5ad":
        _check_anndata(_existing(path))
    return kind


def kind_of_bytes(data: bytes, name: str) -> Kind:
    """As :func:`kind_of`, of unpacked bytes."""
    head = data[:_HEAD]
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(data, name)
    if head.startswith(_R_MAGIC):
        return "r"
    if head.startswith(b"\x89HDF"):
        return "h5ad"
    foreign = _foreign(head)
    if foreign:
        raise TableError(f"{name} is {foreign}. It cannot be read as a table.")
    return "text"


def read_bytes(path: Path) -> bytes:
    """The bytes of a text table, unpacked (gzip, bz2, xz, or a zip that holds one file); a TableError for what is not text."""
    data, _ = unpack(path)
    kind = kind_of_bytes(data, path.name)
    if kind == "zip":
        inside = list(members(data, path.name))
        if len(inside) > 1:
            shown = ", ".join(name for name, _ in inside[:8])
            raise TableError(f"{path.name} holds {len(inside)} files ({shown}); unpack it and name one.")
        name, data = inside[0]
        kind = kind_of_bytes(data, name)
    if kind != "text":
        what = {
            "excel": "an Excel workbook",
            "r": "an R object or workspace",
            "h5ad": "an HDF5 file",
            "zip": "a zip in a zip",
        }
        raise TableError(f"{path.name} is {what[kind]}, not a text table.")
    return data


def unpack(path: Path) -> tuple[bytes, str]:
    """Bytes of a file without its compression, and the name of that (``"gzip"``, or ``""``)."""
    path = _existing(path)
    try:
        with path.open("rb") as stream:
            packed = _packing(stream.read(8))
    except OSError as error:
        raise _unreadable(path, error) from error
    data = b"".join(_unpacked(path, path.name))
    inner = _packing(data)
    if packed and inner:  # packed twice: a .csv.gz that a browser or a server packed again
        data = b"".join(_bounded(io.BytesIO(data), inner, len(data), path.name))
        packed = f"{packed}, {inner}"
    return data, packed


def members(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Files of a zip archive, unpacked, without folders and what macOS and Windows add."""
    total = 0
    with _opened(data, name) as archive:
        for info in _infos(archive):
            if info.flag_bits & 1:
                raise TableError(f"{name} is a zip archive with a password; unpack it first.")
            try:
                with archive.open(info) as stream:
                    content = b"".join(_chunks(stream, max(1, info.compress_size), f"{info.filename} in {name}"))
            except _DAMAGE as error:
                raise _damaged(name, error) from error
            inner = _packing(content)
            if inner:
                content = b"".join(_bounded(io.BytesIO(content), inner, len(content), name))
            total += len(content)
            if total > LARGEST:
                raise _too_large(name, f"files of more than {total / 2**20:,.0f} MiB")
            yield info.filename, content


def check_workbook(data: bytes, name: str) -> None:
    """Refuse a workbook that unpacks beyond all bounds, or whose XML declares entities."""
    with _opened(data, name) as archive:
        infos = archive.infolist()
        size = sum(info.file_size for info in infos)
        if size > LARGEST // 2 or (size > _BOMB and size > 400 * len(data)):
            raise _too_large(name, f"{size / 2**20:,.0f} MiB")
        for info in infos:
            if info.filename.endswith((".xml", ".rels")):
                try:
                    with archive.open(info) as stream:
                        head = stream.read(4096).replace(b"\x00", b"")
                except _DAMAGE as error:
                    raise _damaged(name, error) from error
                if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
                    raise TableError(f"{name} holds XML that declares entities, which no spreadsheet program writes.")


# -- opening -----------------------------------------------------------------------------------------------------------

_DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def _existing(path: Path) -> Path:
    """The path, if it is a file that can be read within bounds."""
    text = str(path)
    if text.startswith("~"):
        path = path.expanduser()
    try:
        info = path.stat()
    except FileNotFoundError as error:
        if text.lower().startswith(("http:/", "https:/", "ftp:/", "s3:/")):
            raise TableError(f"{text!r} is an address; download the file and name it.") from error
        raise TableError(f"There is no file {text!r}.{beside(path)}") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(info.st_mode):
        raise TableError(f"{text!r} is a folder; name a file in it.{beside(path / 'x')}")
    if not stat.S_ISREG(info.st_mode):
        raise TableError(f"{text!r} is no regular file (a pipe or a device); save it to a file first.")
    if info.st_size > LARGEST:
        raise _too_large(path.name, f"{info.st_size / 2**20:,.0f} MiB")
    return path


def beside(path: Path) -> str:
    """Names of files in the same folder, near ones first."""
    try:
        names = sorted(p.name for p, _ in zip(path.parent.iterdir(), range(5000), strict=False) if p.is_file())
    except (OSError, ValueError):
        return f" There is no folder {str(path.parent)!r} either."
    return near(path.name, names) if names else " Its folder is empty."


def _packing(head: bytes) -> str:
    return next((name for magic, name in _PACKED.items() if head.startswith(magic)), "")


def _unpacked(path: Path, name: str, whole: bool = True) -> Iterator[bytes]:
    """Chunks of a file without its compression; the first one only unless ``whole``."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            packed = _packing(stream.read(8))
            stream.seek(0)
            for chunk in _bounded(stream, packed, size, name) if packed else _chunks(stream, size, name):
                inner = _packing(chunk) if packed and not whole else ""
                if inner:  # packed twice: the head of the head
                    yield _head_of(chunk, inner, name)
                else:
                    yield chunk
                if not whole:
                    return
    except OSError as error:
        raise _unreadable(path, error) from error


def _head_of(chunk: bytes, packed: str, name: str) -> bytes:
    """What the beginning of a packed file unpacks to, as far as it goes."""
    if packed == "gzip":
        try:
            return zlib.decompressobj(31).decompress(chunk, _HEAD)
        except zlib.error as error:
            raise _damaged(name, error) from error
    return next(_bounded(io.BytesIO(chunk), packed, len(chunk), name), b"")


def _bounded(stream: io.BufferedIOBase, packed: str, size: int, name: str) -> Iterator[bytes]:
    """Unpacked chunks of a stream."""
    try:
        if packed == "gzip":
            yield from _chunks(gzip.GzipFile(fileobj=stream), size, name)
        elif packed == "bz2":
            yield from _chunks(bz2.BZ2File(stream), size, name)
        else:
            yield from _limited(_xz(stream), size, name)
    except _DAMAGE as error:
        if isinstance(error, TableError):
            raise
        raise _damaged(name, error) from error


def _xz(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """As LZMAFile does, but with bounded memory: a header may ask for gigabytes."""
    left = b""
    while True:
        unpacker = lzma.LZMADecompressor(memlimit=1 << 29)
        while not unpacker.eof:
            if not left and unpacker.needs_input:
                left = stream.read(_CHUNK)
                if not left:
                    raise EOFError("it ends before its end")
            chunk, left = unpacker.decompress(left, _CHUNK), b""
            if chunk:
                yield chunk
        left = unpacker.unused_data.lstrip(b"\x00") or stream.read(_CHUNK).lstrip(b"\x00")
        if not left:
            return


def _chunks(stream: Any, size: int, name: str) -> Iterator[bytes]:
    return _limited(iter(lambda: stream.read(_CHUNK), b""), size, name)


def _limited(chunks: Iterator[bytes], size: int, name: str) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > LARGEST or (total > _BOMB and total > 200 * size):
            raise _too_large(name, f"{size:,} bytes that unpack to more than {total // 2**20:,} MiB")
        yield chunk


def _too_large(name: str, size: str) -> TableError:
    return TableError(
        f"{name} is too large for a table of genes ({size}; {LARGEST / 2**20:,.0f} MiB at most). Cut out the rows and columns "
        "that are needed, or read it yourself and pass a DataFrame."
    )


def _unreadable(path: Path, error: Exception) -> TableError:
    return TableError(f"{str(path)!r} cannot be opened: {getattr(error, 'strerror', None) or error}.")


def _damaged(name: str, error: Exception) -> TableError:
    return TableError(f"{name} is packed but damaged or cut short ({error}); fetch it again.")


def _check_anndata(path: Path) -> None:
    """Refuse an HDF5 file that holds no AnnData."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            inside = list(file)[:8]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise TableError(
            f"{path.name} is packed, or a damaged HDF5 file ({error}); unpack it or fetch it again."
        ) from error
    if not {"obs", "var"} <= set(inside):
        raise TableError(
            f"{path.name} is an HDF5 file that holds {', '.join(inside) or 'nothing'}, and no AnnData (obs, var); read it with "
            "the program's own reader and pass a DataFrame."
        )


# -- telling apart -----------------------------------------------------------------------------------------------------


def _foreign(head: bytes) -> str:
    """What a file is that is not text; empty for text."""
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            return what
    if head.startswith(_PICKLES):
        return "a Python pickle, which can run code when it is opened; save the table as CSV instead"
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        if "EncryptedPackage".encode("utf-16-le") in head:
            return "an Excel workbook with a password; remove the password in Excel and save it again"
        return f"an old Excel workbook (.xls) or Word document; {_SAVE}"
    if len(head) >= tarfile.BLOCKSIZE and head[257:262] == b"ustar":
        return "a tar archive; unpack it (tar -xf) and name a file in it"
    plain = head[:4096].replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()
    if b"urn:schemas-microsoft-com:office:spreadsheet" in plain:
        return f"an Excel 2003 XML spreadsheet; {_SAVE}"
    if plain.startswith((b"<!doctype html", b"<html", b"<table", b"<head", b"<body", b"<meta", b"<?xml", b"<!--")):
        return f"an HTML or XML page, whatever its name says (a web page instead of a download?); if a spreadsheet opens it, {_SAVE}"
    if plain.startswith((b'{"', b"[{", b"[[", b"{\n", b"{\r\n")):
        return "a JSON file; pass it as a frame: gb.read.toptable(pd.read_json(path))"
    return ""


def _opened(data: bytes, name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def _infos(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [
        info
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX/")
        and info.filename.rsplit("/", 1)[-1] not in (".DS_Store", "Thumbs.db", "desktop.ini")
        and not info.filename.rsplit("/", 1)[-1].startswith("._")
    ]


def _kind_of_zip(data: bytes, name: str) -> Kind:
    with _opened(data, name) as archive:
        names = archive.namelist()
        infos = _infos(archive)
    if "xl/workbook.xml" in names:
        return "excel"
    for member, what in _CONTAINERS:
        if member in names:
            raise TableError(f"{name} is {what}. It cannot be read as a table.")
    if not infos:
        raise TableError(f"{name} is an empty zip archive.")
    if all(info.filename.endswith(".npy") for info in infos):
        raise TableError(f"{name} is a NumPy archive (.npz); a table has column names.")
    if len(infos) > 200:
        raise TableError(f"{name} is a zip archive of {len(infos)} files; unpack it and name one.")
    return "zip"
