"""Folders that one process at a time works in."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from ..core.errors import CheckpointInUseError, DataWarning

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_FAR = 1 << 20  # where Windows locks a byte, which nobody else can then read


class Lock:
    """A file that is held as long as this is open; it says by whom.

    The lock is the system's, and so goes with the process, however that ends (with its machine, on file systems that several share).
    The file stays, and means nothing when it is not locked.

    Parameters
    ----------
    file
        Made if it is not there.

    Raises
    ------
    CheckpointInUseError
        If another process, or another call of this one, holds it.
    """

    def __init__(self, file: Path) -> None:
        self._held = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(self._held)
        except OSError as error:
            if error.errno in _TAKEN:
                os.close(self._held)
                raise CheckpointInUseError(_by(file)) from None
            message = f"{file.parent} is on a file system without locks ({error.strerror}): make sure that no other call works in it."
            warnings.warn(message, DataWarning, stacklevel=4)
        note = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(self._held, 0)
        os.write(self._held, json.dumps(note).encode())

    def close(self) -> None:
        """Let go of it."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def _take(descriptor: int) -> None:
    """Lock an open file, or raise OSError."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _by(file: Path) -> str:
    """Who holds it, and what to do."""
    note = _note(file)
    who = f"process {note['pid']} on {note['host']}" if note else "another process"
    if note and (note["pid"], note["host"]) == (os.getpid(), socket.gethostname()):
        who = "another call of this process"
    since = f", since {note['since']}" if note else ""
    return (
        f"The same work is being done in {file.parent} by {who}{since}. Wait until it ends, and call again to take what it made; or end "
        "it, and call again to go on where it was; or name another folder, checkpoint=."
    )


def _note(file: Path) -> dict[str, Any] | None:
    for _ in range(10):
        try:
            note = json.loads(file.read_text())
        except (OSError, ValueError):  # not written yet
            time.sleep(0.05)
        else:
            return note if isinstance(note, dict) and {"pid", "host", "since"} <= note.keys() else None
    return None
