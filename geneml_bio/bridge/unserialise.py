"""R's serialisation -> values as plain data. Nothing is evaluated, whatever the bytes hold.

The format is that of R Internals, section 1.8, versions 2 and 3, as XDR, native binary or text. It is read here rather than
with rdata because files come from strangers: a vector that claims more than the file holds, a chain of a million pairs
and a promise without a value each end in an error that says so, in bounded time and memory. Functions, calls, promises and
byte code are stepped over: of these only the type is kept.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..core.errors import TableError
from .r_budget import TEXT, spend
from .r_values import NA_INTEGER, NULL, RValue, number_text

_MAX_WEIGHT = 20_000_000  # texts; a value weighs more, as it takes more memory
_VALUE = 8
_MAX_SEEN = 1 << 20  # texts that are kept to be shared
_MAX_DEPTH = 800
_MAX_WORDS = 1 << 26  # bytes of the text form
_AT_A_TIME = 1 << 18  # words

_NAMES = {
    2: "pairlist", 3: "closure", 5: "promise", 6: "language", 7: "special", 8: "builtin", 9: "char", 10: "logical",
    13: "integer", 14: "double", 15: "complex", 16: "character", 17: "...", 19: "list", 20: "expression", 21: "bytecode",
    22: "externalptr", 23: "weakref", 24: "raw", 25: "S4",
}  # fmt: skip
_DTYPES = {10: "i4", 13: "i4", 14: "f8", 15: "c16"}
_CONSTANT = {254: "NULL", 0: "NULL", 242: "environment", 241: "environment", 253: "environment", 250: "environment",
             252: "unbound", 251: "missing"}  # fmt: skip
_PAIRS = {2, 3, 5, 6, 17}
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_PLAIN = {b"n": b"\n", b"t": b"\t", b"v": b"\v", b"b": b"\b", b"r": b"\r", b"f": b"\f", b"a": b"\a"}
_NA_REAL = np.array([0x7FF00000000007A2], "u8").view("f8")[0]


class Unreadable(TableError):
    """Not R's serialisation, or cut, or damaged."""


class OnlyR(Unreadable):
    """R's serialisation, but of what only R can read."""


class Reader:
    """R's serialisation in binary: each call of ``item`` takes one value off the front."""

    item_size = 4  # of what is least for a value

    def __init__(self, data: bytes, at: int, order: str) -> None:
        self.data, self.at, self.order = data, at, order
        self.byteorder: Any = "big" if order == ">" else "little"
        self.end = len(data)
        self.version, self.encoding = 0, "utf-8"
        self.known: list[RValue] = []
        self.seen: dict[tuple[bytes, int], str] = {}
        self.weight = self.promises = 0

    # -- the lowest layer ----------------------------------------------------------------------------------------------

    def integer(self) -> int:
        """The next integer."""
        at = self.at
        if at + 4 > self.end:
            raise Unreadable(f"it is cut at byte {at}. Fetch it again.")
        self.at = at + 4
        return int.from_bytes(self.data[at : at + 4], self.byteorder, signed=True)

    def block(self, n: int) -> bytes:
        """The next ``n`` bytes."""
        at = self.at
        if n < 0 or at + n > self.end:
            raise Unreadable(f"it is cut or damaged: {n} bytes are announced at byte {at}, {self.end - at} are left.")
        self.at = at + n
        return self.data[at : at + n]

    def raw(self, n: int) -> bytes:
        """The bytes of a raw vector."""
        return self.block(n)

    def array(self, dtype: str, n: int) -> np.ndarray:
        """Numbers in the machine's order; without a copy where the file has them so."""
        size = int(dtype[1:])
        if n < 0 or self.at + n * size > self.end:
            raise Unreadable(
                f"it is cut or damaged: {n} values are announced at byte {self.at}, {self.end - self.at} bytes are left."
            )
        values, self.at = np.frombuffer(self.data, self.order + dtype, n, self.at), self.at + n * size
        return values.astype(dtype, copy=False)

    def room(self, n: int, what: str, least: int = 1) -> None:
        """Refuse ``n`` values, each ``least`` times ``item_size`` or more, where less is left."""
        if n * least * self.item_size > self.end - self.at:
            raise Unreadable(f"it is cut or damaged: {what} of {n} is announced at byte {self.at}.")

    def weigh(self, n: int) -> None:
        """Count what takes memory."""
        self.weight += n
        if self.weight > _MAX_WEIGHT:
            raise Unreadable("its objects are too many; save only the table or the matrix.")

    # -- the parts of a value ------------------------------------------------------------------------------------------

    def header(self) -> str:
        """The version of the format is taken; the version of R that wrote it is returned."""
        start = self.at
        self.version = self.integer()
        if self.version not in (2, 3) and self.order == "<":  # native binary of a big-endian machine
            self.at, self.order, self.byteorder = start, ">", "big"
            self.version = self.integer()
        if self.version not in (2, 3):
            raise Unreadable(
                f"R's serialisation version {self.version} is not known here, only 2 and 3. Save it anew in R."
            )
        r = self.integer()
        self.integer()
        if self.version == 3:
            native = self.block(self.length()).decode("ascii", "replace")
            self.encoding = "cp1252" if "1252" in native or "8859-1" in native.upper().replace("ISO", "") else "utf-8"
        return f"{r >> 16}.{r >> 8 & 255}.{r & 255}"

    def length(self) -> int:
        """The length of a vector."""
        n = self.integer()
        if n == -1:  # a long vector
            n = (self.integer() << 32) + (self.integer() & 0xFFFFFFFF)
        if n < 0:
            raise Unreadable(f"it is damaged: a length of {n} at byte {self.at}.")
        return n

    def char(self, flags: int) -> str | None:
        """One text; None is NA."""
        n = self.integer()
        if n == -1:
            return None
        raw, levels = self.block(n), flags >> 12 & 0xFFFF
        key = (raw, levels & 14)
        found = self.seen.get(key)
        if found is None:
            if levels & 4:
                found = _western(raw)
            else:
                try:
                    found = raw.decode("utf-8" if levels & 8 else self.encoding)
                except UnicodeDecodeError:
                    found = _western(raw)
            if n < 100 and len(self.seen) < _MAX_SEEN:
                self.seen[key] = found
        return found

    def strings(self, depth: int) -> list[str | None]:
        """The elements of a text vector."""
        out: list[str | None] = []
        n = self.length()
        self.room(n, "a text vector", 2)
        self.weigh(n)
        for _ in range(n):
            flags = self.integer()
            if flags & 255 != 9:
                raise Unreadable(f"it is damaged: a text vector holds type {flags & 255} at byte {self.at}.")
            out.append(self.char(flags))
            if flags & 512:
                self.attributes(depth)
        return out

    def attributes(self, depth: int) -> dict[str, RValue]:
        """A pairlist of attributes, by name."""
        found = self.item(depth)
        return {tag or "": item for tag, item in found.value} if found.type == "pairlist" else {}

    # -- a value -------------------------------------------------------------------------------------------------------

    def item(self, depth: int, flags: int | None = None) -> RValue:
        """The next value."""
        flags = self.integer() if flags is None else flags
        kind = flags & 255
        if kind in _CONSTANT:
            self.weigh(_VALUE)
            return NULL if _CONSTANT[kind] == "NULL" else RValue(_CONSTANT[kind])
        self.weigh(_VALUE)
        if depth > _MAX_DEPTH:
            raise Unreadable("its objects are nested too deeply; save only the table or the matrix.")
        if kind == 255:
            return self.known[(flags >> 8 or self.integer()) - 1]
        if kind in _PAIRS:
            return self.pairs(flags, depth + 1)
        if kind in (1, 4, 22, 23, 247, 248, 249):
            return self.reference(kind, flags, depth + 1)
        if kind == 238:
            return self.compact(depth + 1)
        out = RValue(_NAMES.get(kind, ""))
        if kind in _DTYPES:
            out.value = self.array(_DTYPES[kind], self.length())
        elif kind == 16:
            out.value = self.strings(depth + 1)
        elif kind in (19, 20):
            n = self.length()
            self.room(n, "a list")
            self.weigh(n)
            out.value = [self.item(depth + 1) for _ in range(n)]
        elif kind == 9:
            out.value = self.char(flags)
        elif kind == 24:
            out.value = self.raw(self.length())
        elif kind in (7, 8):
            out.value = self.block(self.length()).decode("latin-1")
        elif kind == 21:
            self.bytecode(depth + 1)
        elif kind != 25:
            raise Unreadable(f"it is damaged, or holds what R of a later day writes (type {kind} at byte {self.at}).")
        if flags & 512:
            out.attributes = self.attributes(depth + 1)
        return out

    def pairs(self, flags: int, depth: int) -> RValue:
        """A pairlist, or what is stored like one; followed along its tail without recursion."""
        first = flags & 255
        out, cells, tail = RValue(_NAMES[first]), [], NULL
        while flags & 255 in _PAIRS:
            self.weigh(_VALUE)
            own = self.attributes(depth) if flags & 512 else {}
            out.attributes = out.attributes or own
            tag = self.item(depth) if flags & 1024 else NULL
            cells.append((tag.value if tag.type == "symbol" else None, self.item(depth)))
            flags = self.integer()
        tail = self.item(depth, flags)
        if first == 2:
            out.value = cells
            if tail.type != "NULL":
                out.value = [*cells, (None, tail)]
        elif first == 5:
            if cells[0][1].type != "unbound":  # a promise that was kept: its value is data
                return cells[0][1]
            self.promises += 1
        return out

    def reference(self, kind: int, flags: int, depth: int) -> RValue:
        """Values that later ones can point back to."""
        out = RValue({1: "symbol", 22: "externalptr", 23: "weakref"}.get(kind, "environment"))
        if kind == 1:
            out.value = self.item(depth).value
            self.known.append(out)
            return out
        self.known.append(out)
        if kind == 4:
            self.integer()
            self.item(depth)  # the enclosing environment
            frame, table, own = self.item(depth), self.item(depth), self.item(depth)
            chains = [frame, *(table.value or [] if table.type == "list" else [])]
            out.value = {tag: item for chain in chains if chain.type == "pairlist" for tag, item in chain.value}
            out.attributes = {tag or "": item for tag, item in own.value} if own.type == "pairlist" else {}
            return out
        if kind in (247, 248, 249):
            self.integer()
            self.strings(depth)
        elif kind == 22:
            self.item(depth)
            self.item(depth)
        if flags & 512:
            out.attributes = self.attributes(depth)
        return out

    def compact(self, depth: int) -> RValue:
        """An alternative representation (ALTREP), expanded."""
        info, state, own = self.item(depth), self.item(depth), self.item(depth)
        name = str(info.value[0][1].value) if info.type == "pairlist" else ""
        if name in ("compact_intseq", "compact_realseq"):
            n, first, step = (float(x) for x in state.value)
            whole = name == "compact_intseq"
            spend(n, "numbers of a sequence")
            if not abs(first) + n * abs(step) < (2.0**31 + 1 if whole else np.inf):
                raise Unreadable(f"it is damaged: a sequence from {first:g} by {step:g} is none of R's.")
            values = first + step * np.arange(int(n))
            out = RValue("integer", values.astype("i4")) if whole else RValue("double", values)
        elif name == "deferred_string":
            held = state.value[0][1] if state.type == "pairlist" else state
            scipen = int(state.value[1][1].value[0]) if state.type == "pairlist" and len(state.value) > 1 else 0
            spend(len(held.value), "numbers as text", TEXT if held.type == "integer" else 4 * TEXT)
            gaps = held.value == NA_INTEGER if held.type == "integer" else None
            text = [str(v) if gaps is not None else number_text(v, scipen) for v in held.value.tolist()]
            out = RValue("character", [None if gaps is not None and gaps[i] else v for i, v in enumerate(text)])
        elif name.startswith("wrap_"):
            inner = state.value[0] if state.type == "list" else state.value[0][1]
            out = RValue(inner.type, inner.value, dict(inner.attributes))
        else:
            raise OnlyR(f"it holds a vector of the kind {name!r}, which only the package that made it can read.")
        if own.type == "pairlist":
            out.attributes = {tag or "": item for tag, item in own.value}
        return out

    def bytecode(self, depth: int, outer: bool = True) -> None:
        """Compiled code: stepped over."""
        if outer:
            self.integer()
        self.item(depth)
        for _ in range(self.length()):
            self.bytecode_constant(self.integer(), depth + 1)

    def bytecode_constant(self, kind: int, depth: int) -> None:
        """A constant of compiled code: stepped over."""
        if depth > _MAX_DEPTH:
            raise Unreadable("its objects are nested too deeply; save only the table or the matrix.")
        if kind == 21:
            return self.bytecode(depth, outer=False)
        while kind in (2, 6, 239, 240, 244):
            self.weigh(_VALUE)
            if kind == 244:
                self.integer()
                kind = self.integer()
            if kind in (239, 240):
                self.item(depth)
            self.item(depth)  # the tag
            self.bytecode_constant(self.integer(), depth + 1)
            kind = self.integer()
        if kind == 243:
            self.integer()
        else:
            # inside a call other constants are announced by their type and then written whole
            self.item(depth)
        return None


class TextReader(Reader):
    """R's serialisation as text (``ascii = TRUE``): words between white space, split as they are asked for."""

    item_size = 2  # a digit and a space

    def __init__(self, data: bytes) -> None:
        super().__init__(b"", 0, ">")
        if len(data) > _MAX_WORDS:
            raise Unreadable(
                f"it has {len(data)} bytes of R's text form, more than is read. Save it as saveRDS does unless told otherwise."
            )
        self.rest, self.end = data, len(data) + 1
        self.words: list[bytes] = []  # the next ones, the first at the end

    def word(self) -> bytes:
        """The next word."""
        if not self.words:
            self.words = self.rest.split(None, _AT_A_TIME)
            self.rest = self.words.pop() if len(self.words) > _AT_A_TIME else b""
            self.words.reverse()
            if not self.words:
                raise Unreadable(f"it is cut at byte {self.at}. Fetch it again.")
        word = self.words.pop()
        self.at += len(word) + 1
        return word

    def integer(self) -> int:
        """The next integer."""
        word = self.word()
        return NA_INTEGER if word == b"NA" else int(word)

    def block(self, n: int) -> bytes:
        """The next text, ``n`` bytes of it."""
        return _unescape(self.word(), n) if n else b""

    def raw(self, n: int) -> bytes:
        """The bytes of a raw vector."""
        self.room(n, "a raw vector")
        return bytes(int(self.word(), 16) for _ in range(n))

    def array(self, dtype: str, n: int) -> np.ndarray:
        """Numbers."""
        count = 2 * n if dtype == "c16" else n
        if n < 0 or count * self.item_size > self.end - self.at:
            raise Unreadable(f"it is cut or damaged: {n} values are announced at byte {self.at}.")
        if dtype == "i4":
            return np.fromiter((self.integer() for _ in range(count)), "i4", count)
        return np.fromiter((_real(self.word()) for _ in range(count)), "f8", count).view(dtype)


def _real(word: bytes) -> float:
    if word == b"NA":
        return float(_NA_REAL)
    return float.fromhex(word.decode()) if b"0x" in word else float(word)


def _unescape(word: bytes, n: int) -> bytes:
    """Text as R writes it in words: octal numbers and C's escapes."""
    if b"\\" in word:
        word = _ESCAPE.sub(
            lambda hit: bytes([int(hit[1], 8) & 255]) if hit[1].isdigit() else _PLAIN.get(hit[1], hit[1]), word
        )
    if len(word) != n:
        raise Unreadable(f"it is damaged: a text of {n} bytes has {len(word)}.")
    return word


def _western(raw: bytes) -> str:
    """Text in what R calls latin1: Windows' western set, which names the bytes that Latin-1 leaves empty."""
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
