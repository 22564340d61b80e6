"""Writing result files so that a power cut leaves either the whole file or none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from neuroscan_core.domain.errors import DiskFull, StorageError


def make_folder(folder: Path) -> None:
    """Create a folder and make its name durable; does nothing where it exists.

    Raises
    ------
    StorageError
    """
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)
    except OSError as exc:
        raise _translated(exc, folder) from exc


def write_durably(path: Path, content: bytes) -> None:
    """Write under a temporary name, sync, rename, sync the folder.

    Raises
    ------
    DiskFull, StorageError
        The file is not there; what was there before under its name still is.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise _translated(exc, path) from exc


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _translated(exc: OSError, path: Path) -> StorageError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"No space is left for {path.name}.", remedy="Free space; the result is made again.")
    return StorageError(f"{path.name} cannot be written: {exc.strerror}.", remedy="Check the results folder.")
