"""A journal with results, a clock that stands still, and the delivery around them."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from prometheus_client import CollectorRegistry
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from dicom_gateway.deliver import Delivery, queue_for
from dicom_gateway.journal import DeliveryRecord, InstanceRecord, Journal, ResultRecord, SeriesRecord, SeriesState
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.events import Event, ResultDelivered

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
SR = "1.2.840.10008.5.1.4.1.1.88.34"
MR = "1.2.840.10008.5.1.4.1.1.4"
PATIENCE_S = 30.0


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def eventually(holds: Callable[[], Any], *, what: str = "the condition") -> None:
    """Wait until `holds`; fail after a generous time."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError(f"{what} did not come true")


def write_object(
    path: Path, sop_class_uid: str = SEG, sop_instance_uid: str | None = None, *, rle: bool = False, side: int = 16
) -> str:
    """Write a small object with 8-bit pixels; returns its SOP Instance UID."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class_uid, sop_instance_uid or generate_uid(prefix=None)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.1", f"2.25.2{abs(hash(path.name)) % 1000}"
    ds.PatientID, ds.PatientName, ds.Modality = "phantom", "", "SEG"
    if sop_class_uid != SR:
        ds.Rows = ds.Columns = side
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation = 7, 0
        ds.PixelData = bytes(range(256)) * (side * side // 256)
        ds["PixelData"].VR = "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if rle:
        ds.compress(RLELossless, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return str(ds.SOPInstanceUID)


class World:
    """State folder, journal and clock; `configure` destinations, `add` results, then `deliver`."""

    def __init__(self, folder: Path) -> None:
        self.config = NodeConfig(state_dir=folder)
        self.config.spool_dir.mkdir(parents=True)
        self.config.results_dir.mkdir()
        self.journal = Journal(self.config.journal_path)
        self.clock = Clock()
        self.published: queue.Queue[Event] = queue.Queue()
        self._deliveries: list[Delivery] = []

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for delivery in self._deliveries:
            delivery.stop(drain_s=0.0)
        self.journal.close()

    def configure(self, port: int, **changes: Any) -> None:
        """One destination named ``pacs`` on loopback."""
        destination = {"name": "pacs", "host": "127.0.0.1", "port": port, "timeout_s": 10, "backoff_s": 1, **changes}
        self.destinations([destination])

    def destinations(self, destinations: list[dict[str, Any]], **sections: Any) -> None:
        raw = {"state_dir": self.config.state_dir, "destinations": destinations, **sections}
        self.config = NodeConfig.model_validate(raw)

    def delivery(self) -> Delivery:
        """A delivery over this journal; its threads are not started."""
        delivery = Delivery(
            self.config, self.journal, self.published.put, clock=self.clock, registry=CollectorRegistry(),
            random=random.Random(0),
        )  # fmt: skip
        self._deliveries.append(delivery)
        return delivery

    def add_series(self, series_uid: str, state: SeriesState = SeriesState.SEGMENTED, num_slices: int = 2) -> None:
        """A received series with files in the spool."""
        for k in range(num_slices):
            path = f"{series_uid}/{k}.dcm"
            sop_uid = write_object(self.config.spool_dir / path, MR)
            self.receive(sop_uid, series_uid, path)
        self.journal.record(series_uid, state=state, version=1, num_slices=num_slices)

    def receive(self, sop_uid: str, series_uid: str, path: str) -> None:
        """Journal an object that lies in the spool."""
        syntax, now_s = str(ExplicitVRLittleEndian), self.clock()
        self.journal.add_instance(
            InstanceRecord(sop_uid, series_uid, "2.25.1", MR, syntax, path, 1, "digest", "association", now_s)
        )

    def add(
        self,
        kind: str = "SEG",
        sop_class_uid: str = SEG,
        *,
        series_uid: str = "2.25.77",
        version: int = 1,
        rle: bool = False,
        summary: str = "",
        state: SeriesState = SeriesState.SEGMENTED,
    ) -> str:
        """A result on disk and in the journal, queued for all destinations; returns its SOP Instance UID."""
        if self.journal.series(series_uid) is None:
            self.add_series(series_uid, state)
        path = f"{series_uid}/{generate_uid(prefix=None)}.dcm"
        sop_uid = write_object(self.config.results_dir / path, sop_class_uid, rle=rle)
        result = ResultRecord(sop_uid, series_uid, version, kind, sop_class_uid, path, summary, self.clock())
        self.journal.add_results(
            series_uid, [result], queue_for([result], self.config.destinations), now_s=self.clock()
        )
        return sop_uid

    def row(self, sop_uid: str) -> DeliveryRecord:
        """The delivery of a result (to the only destination)."""
        return next(d for d in self.journal.deliveries() if d.sop_uid == sop_uid)

    def series(self, series_uid: str = "2.25.77") -> SeriesRecord:
        record = self.journal.series(series_uid)
        assert record is not None
        return record

    def next_published(self) -> ResultDelivered:
        event = self.published.get(timeout=PATIENCE_S)
        assert isinstance(event, ResultDelivered)
        return event
