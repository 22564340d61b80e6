"""The audit trail of the viewer: who did what, when, as JSON lines in a file of its own. No patient data.

The journal of the gateway has an audit trail of its own; the viewer never touches that.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.log import get_logger

log = get_logger(__name__)

FILE_NAME = "audit.log"
MAX_FILE_BYTES = 8 << 20
NUM_OLD_FILES = 4


class AuditTrail:
    """Appends entries; thread-safe.

    Parameters
    ----------
    directory : Path or None
        Folder of the file, made where missing; None: entries go to the log alone.
    clock : callable
        Unix time in seconds.
    max_file_bytes : int
        A file of this size gives way to a new one; the last `NUM_OLD_FILES` are kept.

    Raises
    ------
    ConfigurationError
        The file cannot be written.
    """

    def __init__(
        self, directory: Path | None, *, clock: Callable[[], float] = time.time, max_file_bytes: int = MAX_FILE_BYTES
    ) -> None:
        self._path = directory / FILE_NAME if directory else None
        self._clock, self._max_file_bytes = clock, max_file_bytes
        self._lock = threading.Lock()
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._append(self._path, b"")
            except OSError as exc:
                raise ConfigurationError(
                    f"The audit trail {self._path} cannot be written: {exc.strerror}.",
                    remedy="Check viewer.directory, its rights and the disk.",
                ) from exc

    def note(self, action: str, *, session: str = "", address: str = "", case: str = "", **detail: Any) -> None:
        """Write an entry.

        Parameters
        ----------
        action : str
            E.g. ``login``, ``identity-shown``, ``download``.
        session : str
            Mark of the session, see `Session`.
        address : str
            Of the browser.
        case : str
            Opaque id of the case.
        **detail
            JSON-ready; never patient data.
        """
        at = datetime.fromtimestamp(self._clock(), timezone.utc).isoformat(timespec="milliseconds")
        entry = {"at": at, "action": action, "session": session, "address": address, "case": case, **detail}
        kept = {key: value for key, value in entry.items() if value not in ("", None)}
        log.info("audit", **{key: value for key, value in kept.items() if key != "at"})
        if self._path is None:
            return
        with self._lock:
            try:
                self._append(self._path, (json.dumps(kept) + "\n").encode())
            except OSError as exc:
                log.error("the audit trail cannot be written", error=exc.strerror, action=action)

    def _append(self, path: Path, line: bytes) -> None:
        if path.exists() and path.stat().st_size + len(line) > self._max_file_bytes:
            self._rotate(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def _rotate(self, path: Path) -> None:
        for number in range(NUM_OLD_FILES - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))
