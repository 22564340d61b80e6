"""A file that has no name until it is whole: what `Spool` writes objects through."""

from __future__ import annotations

import errno
import mmap
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from neuroscan_core.lifetime import Closes

_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


class IncomingFile(Closes):
    """An open file in `folder`, removed when closed without a link.

    It is unnamed (``O_TMPFILE``) where the file system can do that, so that a crash leaves nothing; else it has a
    temporary name.

    Parameters
    ----------
    folder : Path
        On the file system that the final place is on.

    Raises
    ------
    OSError
        The file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.size = 0
        self._temporary: Path | None = None
        try:
            self._descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o640)
        except OSError as exc:
            if exc.errno not in _NO_UNNAMED_FILES:
                raise
            self._temporary = folder / f"{uuid.uuid4().hex}.part"
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
            self._descriptor = os.open(self._temporary, flags, 0o640)

    def write(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        """Append buffers in one call where the kernel takes them whole."""
        written = os.writev(self._descriptor, parts)
        self.size += written
        for part in parts:
            if written >= len(part):
                written -= len(part)
                continue
            self._write_rest(memoryview(part)[written:])
            written = 0

    def _write_rest(self, rest: memoryview) -> None:
        while rest:
            written = os.write(self._descriptor, rest)
            self.size += written
            rest = rest[written:]

    def map(self) -> mmap.mmap:
        """The contents so far, read only."""
        return mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)

    def link(self, path: Path | str) -> None:
        """Give the file a name, beside the temporary one it may have."""
        if self._temporary is not None:
            os.link(self._temporary, path)
        else:
            # A directory descriptor makes Python use linkat, which follows the symbolic link in /proc (open(2)).
            os.link(f"/proc/self/fd/{self._descriptor}", path, src_dir_fd=self._descriptor)

    def sync(self) -> None:
        """Make the contents durable."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close, and remove the temporary name; what was linked stays."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
