"""One object through ingest: validate, write, journal, hand on. Knows nothing of associations and PDUs.

The order is the promise: the file is written and has its name; its contents, its name and the journal's row become
durable, all three at the same time, for each is a wait for the disk; then the sink gets it, and only then does the
caller answer 0x0000. A power cut can leave a file without a row or a row without its file, neither acknowledged;
`Spool.recover` removes both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from dicom_gateway.ingest import statuses
from dicom_gateway.ingest.contexts import STORAGE_CLASSES
from dicom_gateway.ingest.header import ObjectHeader, Readable, is_uid, read_header
from dicom_gateway.ingest.incoming import IncomingFile
from dicom_gateway.ingest.part10 import file_meta
from dicom_gateway.ingest.sink import IngestSink, StoredObject
from dicom_gateway.ingest.spool import Spool, storage_errors
from dicom_gateway.ingest.syncer import Syncer
from dicom_gateway.journal import Admission, InstanceRecord, Journal
from neuroscan_core import crashpoints
from neuroscan_core.config import GatewayConfig
from neuroscan_core.domain.errors import NeuroScanError, StorageError, UnreadableObject
from neuroscan_core.log import get_logger

log = get_logger(__name__)

SPILL_BYTES: Final = 32 << 20
"""Objects up to this size stay in memory until they are handed on; larger ones go to disk as they arrive."""
_SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4.2"
_IMAGE_CLASSES = frozenset(STORAGE_CLASSES) - {_SPECTROSCOPY}


class Refused(NeuroScanError):
    """An object is not taken.

    Parameters
    ----------
    status : int
        One of `statuses`.
    reason : str
        For the log and, cut to 64 characters, the Error Comment. Holds no patient data.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class StoreRequest:
    """What a C-STORE request says about its data set."""

    association: str
    calling_ae: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


class Reception:
    """One data set while it arrives: in memory, beyond `SPILL_BYTES` on disk, beyond the limit nowhere.

    Parameters
    ----------
    spool : Spool
    request : StoreRequest
    max_bytes : int
        Larger data sets are counted, not kept.
    """

    def __init__(self, spool: Spool, request: StoreRequest, max_bytes: int) -> None:
        self.request = request
        self.refusal: Refused | None = None
        self.size = 0
        self.file: IncomingFile | None = None
        self.data = bytearray()
        self._spool, self._max_bytes = spool, max_bytes

    def append(self, fragment: memoryview) -> None:
        """Take the next part of the data set."""
        self.size += len(fragment)
        if self.refusal is not None:
            return
        if self.size > self._max_bytes:
            self.refuse(Refused(statuses.OUT_OF_RESOURCES, f"The object is larger than {self._max_bytes} bytes."))
            return
        self.data += fragment
        if len(self.data) > SPILL_BYTES:
            self._spill()

    def refuse(self, refusal: Refused) -> None:
        """Keep nothing more of it; the rest of its bytes are only counted."""
        self.refusal = refusal
        self.close()

    def _spill(self) -> None:
        try:
            if self.file is None:
                self.file = self._spool.create()
                request = self.request
                self._spool.write(self.file, [_meta(request)])
            self._spool.write(self.file, [self.data])
        except StorageError as exc:
            self.refuse(Refused(statuses.OUT_OF_RESOURCES, str(exc)))
        self.data = bytearray()

    def close(self) -> None:
        """Let go of memory and file."""
        self.data = bytearray()
        if self.file is not None:
            self.file.close()
            self.file = None


class Intake:
    """Take objects into spool and journal.

    Parameters
    ----------
    config : GatewayConfig
    syncer : Syncer
        Runs what waits for the disk while the journal is written.
    clock : callable
        Unix time in seconds.
    registry : CollectorRegistry
        Gets the metrics of ingest.
    """

    def __init__(
        self,
        config: GatewayConfig,
        spool: Spool,
        journal: Journal,
        sink: IngestSink,
        *,
        syncer: Syncer,
        clock: Callable[[], float],
        registry: CollectorRegistry,
    ) -> None:
        self._syncer = syncer
        self._config, self._spool, self._journal, self._sink, self._clock = config, spool, journal, sink, clock
        objects = Counter("neuroscan_ingest_objects", "C-STORE requests answered", ["status"], registry=registry)
        self._answered = {status: objects.labels(f"0x{status:04X}") for status in statuses.MEANINGS}
        self._bytes = Counter("neuroscan_ingest_bytes", "Bytes of data sets made durable", registry=registry)
        self._seconds = Histogram(
            "neuroscan_ingest_store_seconds", "From the last byte of an object to its being durable", registry=registry
        )

    def begin(self, request: StoreRequest, context_class_uid: str) -> Reception:
        """Prepare for a data set. One that is refused already is still received, for DIMSE has no way to stop it."""
        reception = Reception(self._spool, request, self._config.limits.max_object_bytes)
        if request.sop_class_uid != context_class_uid:
            reception.refuse(Refused(statuses.SOP_CLASS_NOT_SUPPORTED, "The SOP class is not that of the context."))
        elif not is_uid(request.sop_instance_uid):
            reception.refuse(Refused(statuses.INVALID_SOP_INSTANCE, "The SOP Instance UID is no UID."))
        elif self._spool.free_bytes() < self._config.min_free_bytes:
            reception.refuse(Refused(statuses.OUT_OF_RESOURCES, "The disk is nearly full."))
        return reception

    def finish(self, reception: Reception) -> tuple[int, str]:
        """Make a whole data set durable and hand it on.

        Returns
        -------
        (int, str)
            The DIMSE status and, where it is a failure, the reason.
        """
        try:
            if reception.refusal is not None:
                raise reception.refusal
            with self._seconds.time():
                self._store(reception)
        except Refused as refusal:
            return self._refuse(reception.request, refusal)
        except StorageError as exc:
            return self._refuse(reception.request, Refused(statuses.OUT_OF_RESOURCES, str(exc)))
        finally:
            reception.close()
        self._answered[statuses.SUCCESS].inc()
        return statuses.SUCCESS, ""

    def _refuse(self, request: StoreRequest, refusal: Refused) -> tuple[int, str]:
        self._answered[refusal.status].inc()
        log.warning(
            "object refused", status=f"0x{refusal.status:04X}", reason=refusal.reason, association=request.association,
            sop=request.sop_instance_uid[:64],
        )  # fmt: skip
        return refusal.status, refusal.reason

    # ------------------------------------------------------------------------------------------------------- storing

    def _store(self, reception: Reception) -> None:
        if reception.file is None:
            self._store_from_memory(reception)
            return
        if reception.data:
            self._spool.write(reception.file, [reception.data])
        meta_size = len(_meta(reception.request))
        with reception.file.map() as contents, memoryview(contents) as whole, whole[meta_size:] as data:
            header, digest = self._validate(reception.request, data), hashlib.sha256(data).hexdigest()
        self._keep(reception.request, reception.file, header, digest, reception.size, None)

    def _store_from_memory(self, reception: Reception) -> None:
        data = reception.data
        header = self._validate(reception.request, data)
        digest = hashlib.sha256(data).hexdigest()
        crashpoints.reach("ingest.before-write")
        with self._spool.create() as file:
            self._spool.write(file, [_meta(reception.request), data])
            self._keep(reception.request, file, header, digest, len(data), memoryview(data).toreadonly())

    def _validate(self, request: StoreRequest, data: Readable) -> ObjectHeader:
        try:
            header = read_header(
                data, request.transfer_syntax_uid, max_inflated_bytes=self._config.limits.max_object_bytes
            )
        except UnreadableObject as exc:
            raise Refused(statuses.CANNOT_UNDERSTAND, exc.message) from exc
        _check_identity(request, header)
        return header

    def _keep(
        self,
        request: StoreRequest,
        file: IncomingFile,
        header: ObjectHeader,
        digest: str,
        size: int,
        encoded: memoryview | None,
    ) -> None:
        path = self._spool.place(file, header.series_instance_uid, header.sop_instance_uid)
        crashpoints.reach("ingest.after-write")
        record = InstanceRecord(
            sop_uid=header.sop_instance_uid, series_uid=header.series_instance_uid, study_uid=header.study_instance_uid,
            sop_class_uid=header.sop_class_uid, transfer_syntax_uid=request.transfer_syntax_uid, path=path, size=size,
            digest=digest, association=request.association, received_at_s=self._clock(),
        )  # fmt: skip
        admission = self._make_durable(record, file)
        if admission is Admission.NEW:
            crashpoints.reach("ingest.after-journal")
            self._bytes.inc(size)
            self._sink.stored(StoredObject(record, self._spool.path_of(record), encoded))
        elif admission is Admission.SAME:
            self._keep_first(record)
        else:
            self._set_aside(record, file)

    def _make_durable(self, record: InstanceRecord, file: IncomingFile) -> Admission:
        syncs = self._syncer.submit(self._spool.syncs(file, record.path))
        admission: Admission | None = None
        try:
            with storage_errors("sync"):
                try:
                    admission = self._journal.add_instance(record)
                finally:
                    syncs.wait()
        except StorageError:
            if admission is Admission.NEW:
                self._journal.withdraw(record.sop_uid)
            self._spool.discard(record.path)
            raise
        return admission

    def _keep_first(self, record: InstanceRecord) -> None:
        first = self._journal.instance(record.sop_uid)
        assert first is not None, "the journal has just said that it knows it"
        self._spool.keep_one(record.path, first)

    def _set_aside(self, record: InstanceRecord, file: IncomingFile) -> None:
        aside = self._spool.set_aside(file, record.sop_uid, record.digest)
        self._spool.discard(record.path)
        self._journal.audit(self._clock(), "ingest.conflict", record.sop_uid, f"set aside as {aside.name}")
        # PS3.5 9: one UID names one object. The sender has broken that rule; no other status of C-STORE says so.
        raise Refused(statuses.INVALID_SOP_INSTANCE, "This SOP Instance UID was stored with other contents.")


def _meta(request: StoreRequest) -> bytes:
    return file_meta(request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax_uid, request.calling_ae)


def _check_identity(request: StoreRequest, header: ObjectHeader) -> None:
    if not header.sop_class_uid or not header.sop_instance_uid:
        raise Refused(statuses.CANNOT_UNDERSTAND, "SOP Class or Instance UID is missing.")
    if header.sop_class_uid != request.sop_class_uid or header.sop_instance_uid != request.sop_instance_uid:
        raise Refused(statuses.DATA_SET_MISMATCH, "SOP class or instance differ between request and data set.")
    if not is_uid(header.study_instance_uid) or not is_uid(header.series_instance_uid):
        raise Refused(statuses.CANNOT_UNDERSTAND, "Study or Series Instance UID is missing or no UID.")
    if header.sop_class_uid in _IMAGE_CLASSES and not header.has_pixels:
        raise Refused(statuses.CANNOT_UNDERSTAND, "The image has no Pixel Data, or ends before it.")
