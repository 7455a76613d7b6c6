"""Claims on files, so that several drivers of a batch share one folder without doing work twice."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HEARTBEAT_S = 60.0  # between two signs of life of a claim
STALE_S = 600.0  # without one, a claim on another machine is void


@contextmanager
def claim(target: Path) -> Iterator[str]:
    """Claim the file `target` for this process; yield an empty string, or who has claimed it.

    The claim is a hidden file beside it, which is removed afterwards. That of a process that no longer
    runs, or of another machine without a sign of life for ten minutes, is taken over.
    """
    path = _path_of(target)
    if not _create(path):
        owner = _owner(path)
        if owner or not _take_over(path):
            yield owner or "another process"
            return
    released = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, released), daemon=True)
    heart.start()
    try:
        yield ""
    finally:
        released.set()
        heart.join()
        path.unlink(missing_ok=True)


def is_claimed(target: Path) -> bool:
    """Whether there is a claim on the file `target`, be it void or not."""
    return _path_of(target).exists()


def _path_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.claim")


def _create(path: Path) -> bool:
    """Create the file of a claim, and return whether it did not exist."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{socket.gethostname()} {os.getpid()}")
    return True


def _owner(path: Path) -> str:
    """Who holds a claim, or an empty string if nobody does any more."""
    try:
        host, _, pid = path.read_text("utf-8").partition(" ")
        age = time.time() - path.stat().st_mtime
    except OSError:
        return ""
    if host == socket.gethostname() and pid.isdecimal():
        return f"process {pid}" if _runs(int(pid)) else ""
    return f"process {pid} on {host}" if age < STALE_S else ""


def _runs(pid: int) -> bool:
    """Whether a process runs; one that was killed can stay in the list until its parent looks."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _take_over(path: Path) -> bool:
    """Replace a void claim, and return whether no other process was faster."""
    lock = path.with_name(f"{path.name}.lock")
    if not _create(lock):  # another process is at it, unless it died there
        if not _owner(lock):
            lock.unlink(missing_ok=True)
        return False
    try:
        if path.exists() and _owner(path):
            return False
        path.unlink(missing_ok=True)
        return _create(path)
    finally:
        lock.unlink(missing_ok=True)


def _beat(path: Path, released: threading.Event) -> None:
    while not released.wait(HEARTBEAT_S):
        try:
            os.utime(path)
        except OSError:
            return
