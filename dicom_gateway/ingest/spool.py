"""The spool: received objects as Part 10 files below one folder.

::

    spool/series/<SeriesInstanceUID>/<SOPInstanceUID>.dcm   objects that the journal knows
    spool/incoming/                                         files being written; nothing here outlives a start
    spool/conflicts/                                        objects whose UID was taken by other contents

A file counts only through its row in the journal. One without a row was never acknowledged.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from dicom_gateway.ingest.incoming import IncomingFile
from dicom_gateway.journal import InstanceRecord, Journal
from neuroscan_core.domain.errors import DiskFull, StorageError
from neuroscan_core.log import get_logger

log = get_logger(__name__)

FREE_SPACE_AGE_S = 1.0
Buffer = bytes | bytearray | memoryview


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class Spool:
    """Keep received objects.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    disk_free : callable
        Free bytes of the disk that a folder is on.
    monotonic : callable
        Seconds; the free space is asked for once a second at most.

    Raises
    ------
    StorageError
        The folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        disk_free: Callable[[Path], int] = _free_bytes,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._root = str(folder)
        self._series, self._incoming, self._conflicts = (folder / name for name in ("series", "incoming", "conflicts"))
        self._disk_free, self._monotonic = disk_free, monotonic
        self._durable_folders: set[str] = set()
        self._free_bytes, self._free_bytes_until_s = 0, float("-inf")
        try:
            for path in (self._series, self._incoming, self._conflicts):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StorageError(f"Cannot make the spool {folder}: {exc}.", remedy="Check path and rights.") from exc

    def path_of(self, record: InstanceRecord) -> Path:
        """Where the Part 10 file of a record is."""
        return self.folder / record.path

    def free_bytes(self) -> int:
        """Free space of the disk, at most a second old."""
        now_s = self._monotonic()
        if now_s >= self._free_bytes_until_s:
            self._free_bytes = self._disk_free(self.folder)
            self._free_bytes_until_s = now_s + FREE_SPACE_AGE_S
        return self._free_bytes

    def create(self) -> IncomingFile:
        """A file to write into, without a name as yet.

        Raises
        ------
        DiskFull, StorageError
            The disk does not take it.
        """
        with storage_errors("create a file in"):
            return IncomingFile(self._incoming)

    def write(self, file: IncomingFile, parts: Sequence[Buffer]) -> None:
        """Append to an incoming file.

        Raises
        ------
        DiskFull, StorageError
            The disk does not take it.
        """
        with storage_errors("write to"):
            file.write(parts)

    def place(self, file: IncomingFile, series_uid: str, sop_uid: str) -> str:
        """Give an incoming file its place, which is not durable before `syncs` are done.

        Returns
        -------
        str
            The path below the spool folder, for the journal.

        Raises
        ------
        DiskFull, StorageError
            The disk does not take it.
        """
        with storage_errors("keep a file in"):
            return self._link(file, series_uid, sop_uid)

    def syncs(self, file: IncomingFile, relative_path: str) -> tuple[Callable[[], None], Callable[[], None]]:
        """What makes a placed file durable: its contents and its name. They may run at the same time."""
        folder = f"{self._root}/{relative_path.rpartition('/')[0]}"
        return file.sync, lambda: _sync_folder(folder)

    def _link(self, file: IncomingFile, series_uid: str, sop_uid: str) -> str:
        # Text, not Path objects: their making was a tenth of the time for an object.
        for attempt in count():
            path = f"series/{series_uid}/{sop_uid}{f'-{attempt}' if attempt else ''}.dcm"
            try:
                self._ensure_durable(series_uid)
                try:
                    file.link(f"{self._root}/{path}")
                except FileNotFoundError:  # purged since
                    self._durable_folders.discard(series_uid)
                    self._ensure_durable(series_uid)
                    file.link(f"{self._root}/{path}")
                return path
            except FileExistsError:
                pass  # another association brings the same object, or it is known: the journal decides
        raise AssertionError("unreachable")

    def _ensure_durable(self, series_uid: str) -> None:
        if series_uid in self._durable_folders:
            return
        (self._series / series_uid).mkdir(exist_ok=True)
        _sync_folder(self._series)
        self._durable_folders.add(series_uid)

    def keep_one(self, relative_path: str, record: InstanceRecord) -> None:
        """Of a placed, durable file and a known one with the same contents keep one, whole and durable.

        The known one may still be on its way to the disk on another association, or be damaged.
        """
        if relative_path == record.path:  # the known one was gone
            return
        known = self.path_of(record)
        with storage_errors("keep a file in"):
            if self.is_intact(record):
                _sync_file(known)
                self.discard(relative_path)
            else:
                (self.folder / relative_path).replace(known)
            _sync_folder(known.parent)

    def is_intact(self, record: InstanceRecord) -> bool:
        """Whether the file of a record is there with the contents that were received."""
        try:
            contents = memoryview(self.path_of(record).read_bytes())
        except FileNotFoundError:
            return False
        data = contents[-record.size :]
        return len(data) == record.size and hashlib.sha256(data).hexdigest() == record.digest

    def set_aside(self, file: IncomingFile, sop_uid: str, digest: str) -> Path:
        """Put a file whose UID is taken by other contents into `conflicts`."""
        path = self._conflicts / f"{sop_uid}.{digest[:16]}.dcm"
        with storage_errors("keep a file in"), suppress(FileExistsError):  # the same contents came before
            file.link(path)
        return path

    def discard(self, relative_path: str) -> None:
        """Remove a kept file that the journal does not know."""
        (self.folder / relative_path).unlink(missing_ok=True)

    def recover(self, journal: Journal) -> int:
        """Remove what a crash left: unfinished files, files without a row in the journal, rows without their file.

        None was acknowledged: file and row are made durable at the same time, and the response waits for both. Rows
        that were handed on are past that. To be called before objects are received.

        Returns
        -------
        int
            Files and rows removed.
        """
        removed = 0
        for record in journal.unassembled():
            if not self.is_intact(record):
                journal.withdraw(record.sop_uid)
                removed += 1
        for path in self._incoming.iterdir():
            path.unlink()
            removed += 1
        for folder in self._series.iterdir():
            records = journal.instances(folder.name)
            known = {record.path for record in records}
            for path in folder.iterdir():
                if path.relative_to(self.folder).as_posix() not in known:
                    path.unlink()
                    removed += 1
            self._report_missing(records)
            if not known:
                folder.rmdir()
        if removed:
            log.warning("removed spooled objects that were never acknowledged", num_objects=removed)
        return removed

    def _report_missing(self, records: Sequence[InstanceRecord]) -> None:
        for record in records:
            if not self.path_of(record).is_file():
                log.error("an acknowledged object is gone from the spool", sop=record.sop_uid, series=record.series_uid)


class storage_errors:  # noqa: N801 - reads as a statement: with storage_errors("write to"):
    """Map errors of the operating system to `StorageError`, those of a full disk to `DiskFull`."""

    _FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        reason = f"Cannot {self._doing} the spool: {error.strerror or error}."
        if error.errno in self._FULL:
            raise DiskFull(reason, remedy="Free space on its disk.") from error
        raise StorageError(reason, remedy="Check the disk and the rights of the folder.") from error


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path | str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
