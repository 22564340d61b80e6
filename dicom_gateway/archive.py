"""A small archive: a storage SCP that writes what it gets as Part 10 files, and commits to keep it.

For demonstrations (``neuroscan archive DIR --port N``) and as the peer of tests, which make it fail on demand. It keeps
files and an index of their UIDs; it has no query, no retrieval and no retention.
"""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from dicom_gateway.deliver.answers import call_as_commitment_scp
from dicom_gateway.deliver.commitment import (
    CLASS_INSTANCE_CONFLICT,
    NO_SUCH_OBJECT,
    CommitmentReport,
    Reporter,
    assess,
    parse_report,
)
from dicom_gateway.deliver.scu import REQUEST_COMMITMENT, Peer
from dicom_gateway.ingest.tls import server_context
from neuroscan_core.config import TlsConfig
from neuroscan_core.domain.errors import ConfigurationError, DestinationUnreachable, UnreadableObject
from neuroscan_core.lifetime import Runs
from neuroscan_core.log import get_logger

log = get_logger(__name__)

# PS3.4 table B.2-1 and PS3.7 annex C.
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
INVALID_ARGUMENT = 0x0115
NO_SUCH_ACTION = 0x0123

ACCEPTED = frozenset(
    {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    | {str(Verification), str(StorageCommitmentPushModel)}
)
POLL_S = 0.05  # how soon `stop` is noticed
FOLDER_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID")


class CommitmentMode(str, Enum):
    """How the archive reports on storage commitment."""

    SAME_ASSOCIATION = "same-association"
    NEW_ASSOCIATION = "new-association"
    NEVER = "never"


@dataclass
class Faults:
    """What goes wrong on purpose; may be changed while the archive runs.

    Parameters
    ----------
    refuse_status : int
        Answer C-STORE with this status instead of storing; 0: store.
    refuse_next : int
        How many times; -1: always.
    delay : threading.Event or None
        C-STORE is answered only after this event.
    abort_next : int
        How many associations to abort in the middle of a C-STORE.
    commitment : CommitmentMode
    failure_reason : int
        Report every object as failed with this reason; 0: tell the truth.
    """

    refuse_status: int = 0
    refuse_next: int = -1
    delay: threading.Event | None = None
    abort_next: int = 0
    commitment: CommitmentMode = CommitmentMode.SAME_ASSOCIATION
    failure_reason: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, name: str) -> bool:
        """Use up one of a counted fault; whether there was one left."""
        with self.lock:
            left: int = getattr(self, name)
            if left > 0:
                setattr(self, name, left - 1)
            return left != 0


class Archive(Runs):
    """A storage SCP that keeps files in a folder.

    Parameters
    ----------
    folder : Path
        Created where absent; files are ``study/series/instance.dcm``.
    port : int
        0: a free one.
    tls : TlsConfig, optional
        DICOM TLS.
    peers : mapping of str to (str, int)
        AE title -> host and port, for reports on a new association.
    on_store : callable, optional
        Called with the SOP Instance UID and the path after each object is durable.

    Raises
    ------
    ConfigurationError
        The address cannot be used, or a TLS file is wrong.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ae_title: str = "ARCHIVE",
        tls: TlsConfig | None = None,
        faults: Faults | None = None,
        peers: Mapping[str, tuple[str, int]] | None = None,
        on_store: Callable[[str, Path], None] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ae_title = folder, ae_title
        self.faults = faults or Faults()
        self.peers = dict(peers or {})
        self._host, self._port, self._tls, self._on_store = host, port, tls, on_store
        self._index = FolderIndex(folder)
        self._counts_lock = threading.Lock()
        self.num_stored = self.num_associations = 0
        self._server: ThreadedAssociationServer | None = None
        self._reporter: Reporter | None = None

    # ------------------------------------------------------------------------------------------------- life cycle

    @property
    def port(self) -> int:
        """Port on which it listens; stays the same over stop and start."""
        return self._port

    def start(self) -> None:
        """Listen."""
        ae = AE(ae_title=self.ae_title)
        ae.maximum_pdu_size = 262144
        ae.add_supported_context(Verification)
        try:
            server = ae.make_server(
                (self._host, self._port),
                evt_handlers=self._handlers(),
                ssl_context=server_context(self._tls) if self._tls is not None else None,
            )
        except OSError as exc:
            raise ConfigurationError(
                f"The archive cannot listen on {self._host}:{self._port}: {exc.strerror}.",
                remedy="Choose another port.",
            ) from exc
        self._server, self._port = server, server.server_address[1]
        self._thread = threading.Thread(
            target=server.serve_forever, args=(POLL_S,), name=f"archive-{self._port}", daemon=True
        )
        self._thread.start()
        self._reporter = Reporter(self._call, name=f"archive-reports-{self._port}")
        self._reporter.start()
        log.info("archive is ready", host=self._host, port=self._port, ae_title=self.ae_title)

    def stop(self) -> None:
        """Stop listening and drop associations; files stay. `start` listens on the same port again."""
        if self._reporter is not None:
            self._reporter.stop()
            self._reporter = None
        if self._server is not None:
            for assoc in self._server.active_associations:
                assoc.abort()
            # Not the server's own `shutdown`, which wants to have been started by `AE.start_server`.
            socketserver.BaseServer.shutdown(self._server)
            self._server.server_close()
            self._server = None

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_CONN_OPEN, _send_at_once),
            (evt.EVT_REQUESTED, _accept_what_is_offered),
            (evt.EVT_ESTABLISHED, self._count_association),
            (evt.EVT_DATA_RECV, self._maybe_abort),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._commit),
        ]

    def _count_association(self, _: evt.Event) -> None:
        with self._counts_lock:
            self.num_associations += 1

    # ----------------------------------------------------------------------------------------------------- storage

    def path_of(self, sop_instance_uid: str) -> Path | None:
        """File of an object, if it is kept."""
        entry = self._index.get(sop_instance_uid)
        return entry.path if entry is not None else None

    @property
    def sop_instance_uids(self) -> set[str]:
        """All that is kept."""
        return self._index.uids()

    def _maybe_abort(self, event: evt.Event) -> None:
        """Abort after the first P-DATA-TF PDU of an object, before the rest has come."""
        is_data = event.data[:1] == b"\x04"
        if is_data and self.faults.abort_next and self.faults.take("abort_next"):
            event.assoc.abort()

    def _store(self, event: evt.Event) -> int:
        if self.faults.delay is not None:
            self.faults.delay.wait(30.0)
        if self.faults.refuse_status and self.faults.take("refuse_next"):
            return self.faults.refuse_status
        request: Any = event.request
        try:
            path = self._write(event.encoded_dataset(), str(request.AffectedSOPInstanceUID))
        except UnreadableObject as exc:
            log.warning("an object cannot be read", error=str(exc))
            return CANNOT_UNDERSTAND
        except OSError:
            log.exception("an object cannot be written")
            return OUT_OF_RESOURCES
        self._index.add(str(request.AffectedSOPInstanceUID), str(request.AffectedSOPClassUID), path)
        with self._counts_lock:
            self.num_stored += 1
        if self._on_store is not None:
            self._on_store(str(request.AffectedSOPInstanceUID), path)
        return SUCCESS

    def _write(self, encoded: bytes, sop_instance_uid: str) -> Path:
        """Make the bytes as received durable; the same UID replaces the file."""
        try:
            ds = dcmread(
                BytesIO(encoded), stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"]
            )
            names = [str(ds.get(keyword, "") or "unknown") for keyword in ("StudyInstanceUID", "SeriesInstanceUID")]
        except (InvalidDicomError, ValueError, EOFError, NotImplementedError) as exc:
            raise UnreadableObject(f"The data set does not parse: {exc}") from exc
        parts = [*names, sop_instance_uid]
        if any(set(part) - set("0123456789.unkow") or part.strip(".") == "" for part in parts):
            raise UnreadableObject("A UID has characters that UIDs do not have.")
        path = self.folder.joinpath(*names, f"{sop_instance_uid}.dcm")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{threading.get_ident()}.part")
        with partial.open("wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        return path

    # -------------------------------------------------------------------------------------------------- commitment

    def failure(self, sop_class_uid: str, sop_instance_uid: str) -> int | None:
        """See `dicom_gateway.deliver.commitment.Holdings`."""
        if self.faults.failure_reason:
            return self.faults.failure_reason
        entry = self._index.get(sop_instance_uid)
        if entry is None or not entry.path.exists():
            return NO_SUCH_OBJECT
        return None if entry.sop_class_uid == sop_class_uid else CLASS_INSTANCE_CONFLICT

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        if event.action_type != REQUEST_COMMITMENT:
            return NO_SUCH_ACTION, None
        try:
            report = assess(parse_report(event.action_information), self)
        except UnreadableObject as exc:
            log.warning("a storage commitment request cannot be read", error=str(exc))
            return INVALID_ARGUMENT, None
        self._report(event.assoc, report)
        return SUCCESS, None

    def _report(self, assoc: Association, report: CommitmentReport) -> None:
        mode, reporter = self.faults.commitment, self._reporter
        if mode is CommitmentMode.NEVER or reporter is None:
            return
        is_new = mode is CommitmentMode.NEW_ASSOCIATION
        reporter.send(assoc, str(assoc.requestor.ae_title).strip(), report, on_new_association=is_new)

    def _call(self, caller: str) -> Association:
        if caller not in self.peers:
            raise DestinationUnreachable(f"The archive has no address for {caller}.")
        host, port = self.peers[caller]
        return call_as_commitment_scp(Peer(caller, host, port, caller, self.ae_title, 10.0, self._tls))


@dataclass(frozen=True)
class _Entry:
    sop_class_uid: str
    path: Path


class FolderIndex:
    """Which objects lie in a folder, by SOP Instance UID. Any thread may call."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        for path in sorted(folder.rglob("*.dcm")):
            if path.name.startswith("."):
                continue
            try:
                meta = read_file_meta_info(path)
                self.add(str(meta.MediaStorageSOPInstanceUID), str(meta.MediaStorageSOPClassUID), path)
            except (InvalidDicomError, AttributeError, OSError, EOFError):
                log.warning("a file in the archive cannot be read", file=path.name)

    def add(self, sop_instance_uid: str, sop_class_uid: str, path: Path) -> None:
        """Note an object."""
        with self._lock:
            self._entries[sop_instance_uid] = _Entry(sop_class_uid, path)

    def get(self, sop_instance_uid: str) -> _Entry | None:
        """Look an object up."""
        with self._lock:
            return self._entries.get(sop_instance_uid)

    def uids(self) -> set[str]:
        """All SOP Instance UIDs."""
        with self._lock:
            return set(self._entries)


def _accept_what_is_offered(event: evt.Event) -> None:
    """Support every storage class and transfer syntax that the requestor names.

    pynetdicom copies the whole list of supported contexts for each association: all classes times all syntaxes would
    cost 100 ms.
    """
    request = event.assoc.requestor.primitive
    assert request is not None, "EVT_REQUESTED comes after the request"
    syntaxes: dict[str, dict[str, None]] = {}
    for context in request.presentation_context_definition_list:
        if str(context.abstract_syntax) in ACCEPTED:
            named = (str(syntax) for syntax in context.transfer_syntax if syntax in AllTransferSyntaxes)
            syntaxes.setdefault(str(context.abstract_syntax), {}).update(dict.fromkeys(named))
    event.assoc.acceptor.supported_contexts = [
        build_context(abstract_syntax, list(named)) for abstract_syntax, named in syntaxes.items() if named
    ]


def _send_at_once(event: evt.Event) -> None:
    """Responses are small; Nagle's algorithm would hold them back for 40 ms."""
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
