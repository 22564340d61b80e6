"""Send folders of DICOM files as a scanner would: C-STORE, transfer syntaxes as they are, at a given pace.

Behind ``neuroscan send DIR HOST PORT``, the demonstration and the benchmarks. One attempt per object; delivery with
retries is in `deliver`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicom_gateway.blocking_scu import BlockingStoreScu
from dicom_gateway.deliver.scu import MAX_CONTEXTS, Peer
from dicom_gateway.deliver.store import StoredObject, Verdict, explain, judge, read_stored_object
from neuroscan_core.config import TlsConfig
from neuroscan_core.domain.errors import ConfigurationError, NeuroScanError, UnreadableObject


@dataclass(frozen=True)
class SendProgress:
    """How far a sending is.

    Parameters
    ----------
    num_done : int
        Objects that were sent or failed.
    num_bytes : int
        Of files that were sent.
    elapsed_s : float
        Since the first object.
    """

    num_done: int
    num_total: int
    num_failed: int
    num_bytes: int
    elapsed_s: float


@dataclass(frozen=True)
class SendReport:
    """What a sending did.

    Parameters
    ----------
    num_sent, num_bytes : int
        Objects that the peer took, and the size of their files.
    failures : tuple of (Path, str)
        Files that it did not take, with the reason as a sentence.
    skipped : tuple of Path
        Files of the folder that are not DICOM Part 10.
    elapsed_s : float
        From the first C-STORE to the last response.
    store_s : tuple of float
        Duration of each C-STORE that succeeded.
    last_response_at_s : float
        Unix time of the last response.
    """

    num_sent: int
    num_bytes: int
    failures: tuple[tuple[Path, str], ...]
    skipped: tuple[Path, ...]
    elapsed_s: float
    store_s: tuple[float, ...]
    last_response_at_s: float


def find_objects(folder: Path) -> tuple[list[StoredObject], list[Path]]:
    """Part 10 files in a folder (or one file), in order of their paths, and the files that are something else.

    Raises
    ------
    ConfigurationError
        There is no such folder, or no DICOM in it.
    """
    if not folder.exists():
        raise ConfigurationError(f"{folder} does not exist.", remedy="Check the path.")
    paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    objects, skipped = [], []
    for path in paths:
        try:
            objects.append(read_stored_object(path))
        except UnreadableObject:
            skipped.append(path)
    if not objects:
        raise ConfigurationError(f"There is no DICOM Part 10 file in {folder}.", remedy="Check the path.")
    return objects, skipped


@dataclass(frozen=True)
class Pace:
    """When each object is due.

    Parameters
    ----------
    images_per_s : float or None
        None: at once.
    started_s : float
        When the first one is due.
    """

    images_per_s: float | None
    started_s: float

    def wait_s(self, index: int, now_s: float) -> float:
        """Seconds until object `index` is due; 0 where it is late."""
        if self.images_per_s is None:
            return 0.0
        return max(0.0, self.started_s + index / self.images_per_s - now_s)


@dataclass
class _Ledger:
    """What all associations share."""

    objects: Sequence[StoredObject]
    progress: Callable[[SendProgress], None] | None
    started_s: float
    next_index: int = 0
    num_sent: int = 0
    num_bytes: int = 0
    failures: list[tuple[Path, str]] = field(default_factory=list)
    store_s: list[float] = field(default_factory=list)
    last_response_at_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> tuple[int, StoredObject] | None:
        """The next object to send."""
        with self.lock:
            if self.next_index >= len(self.objects):
                return None
            self.next_index += 1
            return self.next_index - 1, self.objects[self.next_index - 1]

    def sent(self, item: StoredObject, duration_s: float) -> None:
        with self.lock:
            self.num_sent += 1
            self.num_bytes += item.size
            self.store_s.append(duration_s)
            self._report()

    def failed(self, item: StoredObject, why: str) -> None:
        with self.lock:
            self.failures.append((item.path, why))
            self._report()

    def _report(self) -> None:
        self.last_response_at_s = time.time()
        if self.progress is not None:
            num_failed = len(self.failures)
            self.progress(
                SendProgress(
                    self.num_sent + num_failed,
                    len(self.objects),
                    num_failed,
                    self.num_bytes,
                    time.monotonic() - self.started_s,
                )
            )


def send_folder(
    folder: Path,
    host: str,
    port: int,
    *,
    ae_title: str = "ANY-SCP",
    calling_ae_title: str = "NEUROSCAN-SEND",
    images_per_s: float | None = None,
    num_associations: int = 1,
    tls: TlsConfig | None = None,
    timeout_s: float = 30.0,
    progress: Callable[[SendProgress], None] | None = None,
    stop: threading.Event | None = None,
) -> SendReport:
    """Send all objects of a folder.

    Parameters
    ----------
    images_per_s : float, optional
        Pace of all associations together; None: as fast as the peer takes them.
    num_associations : int
        Associations at once; they share the objects.
    progress : callable, optional
        Called after each object, one call at a time, from the sending threads.
    stop : threading.Event, optional
        Ends the sending early when set.

    Raises
    ------
    ConfigurationError
        Nothing to send.
    DestinationUnreachable
        No association could be opened.
    """
    objects, skipped = find_objects(folder)
    peer = Peer(f"{host}:{port}", host, port, ae_title, calling_ae_title, timeout_s, tls)
    report = send_objects(
        objects,
        peer,
        images_per_s=images_per_s,
        num_associations=num_associations,
        progress=progress,
        stop=stop,
    )
    return replace(report, skipped=tuple(skipped))


def send_objects(
    objects: Sequence[StoredObject],
    peer: Peer,
    *,
    images_per_s: float | None = None,
    num_associations: int = 1,
    progress: Callable[[SendProgress], None] | None = None,
    stop: threading.Event | None = None,
) -> SendReport:
    """Send these objects, in this order; see `send_folder`."""
    contexts = _contexts(objects)
    # Opened here: a peer that cannot be reached is an error of the call, not of each object.
    first = BlockingStoreScu(peer, contexts)
    ledger = _Ledger(objects, progress, time.monotonic())
    pace = Pace(images_per_s, ledger.started_s)
    stopping = stop or threading.Event()
    associations = max(1, min(num_associations, len(objects)))
    threads = [
        threading.Thread(
            target=_send_share,
            args=(ledger, peer, contexts, first if k == 0 else None, pace, stopping),
            name=f"send-{k}",
            daemon=True,
        )
        for k in range(associations)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.monotonic() - ledger.started_s
    return SendReport(
        ledger.num_sent,
        ledger.num_bytes,
        tuple(ledger.failures),
        (),
        elapsed_s,
        tuple(ledger.store_s),
        ledger.last_response_at_s,
    )


def _contexts(objects: Iterable[StoredObject]) -> list[tuple[str, str]]:
    contexts = list(dict.fromkeys(item.context for item in objects))
    if len(contexts) > MAX_CONTEXTS:
        raise ConfigurationError(
            f"{len(contexts)} combinations of SOP class and transfer syntax do not fit into one association.",
            remedy="Send fewer kinds of objects at once.",
        )
    return contexts


def _send_share(
    ledger: _Ledger,
    peer: Peer,
    contexts: Sequence[tuple[str, str]],
    scu: BlockingStoreScu | None,
    pace: Pace,
    stopping: threading.Event,
) -> None:
    """One association: take objects until there are none; reopen it where it broke."""
    try:
        while not stopping.is_set() and (taken := ledger.take()) is not None:
            index, item = taken
            stopping.wait(pace.wait_s(index, time.monotonic()))
            try:
                if scu is None or not scu.is_open:
                    scu = BlockingStoreScu(peer, contexts)
                _send_one(ledger, scu, item)
            except NeuroScanError as exc:
                ledger.failed(item, str(exc))
    finally:
        if scu is not None:
            scu.close()


def _send_one(ledger: _Ledger, scu: BlockingStoreScu, item: StoredObject) -> None:
    started_s = time.monotonic()
    status, _ = scu.store(item)
    if judge(status) is Verdict.STORED:
        ledger.sent(item, time.monotonic() - started_s)
    else:
        ledger.failed(item, explain(status))
