"""Saved models taken apart, changed and put together again with digests that are right."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sealed(data: bytes) -> bytes:
    """A file with the digest that it should have."""
    body = data[:-64]
    return body + hashlib.sha256(body).hexdigest().encode()


def rebuilt(data: bytes, change) -> bytes:
    """The file with its members changed by a function, all digests put right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members.pop("header.json"))
    change(header, members)
    header["members"] = {n: {"sha256": hashlib.sha256(m).hexdigest(), "size": len(m)} for n, m in members.items()}
    return zipped({"header.json": json.dumps(header).encode()} | members)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
        archive.comment = b"sha256:" + b"0" * 64
    return sealed(buffer.getvalue())
