"""A gateway's assembly on a real journal, with a clock that only the test turns."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicom_gateway.assembly import SeriesAssembler, SpooledObject
from dicom_gateway.journal import InstanceRecord, Journal, SeriesRecord
from dicom_gateway.reading import parse_object
from dicom_gateway.rules import RuleSet
from neuroscan_core.config import NodeConfig, RuleConfig, SeriesConfig
from neuroscan_core.domain.events import Event, SeriesEvent

PATIENCE_S = 60.0
ALL = (RuleConfig(name="all", model="some-model", priority=3),)


@pytest.fixture(scope="session")
def mr_data() -> Path:
    """Folder of real MR objects of several makers."""
    root = Path(os.environ.get("NEUROSCAN_SHARED", Path(__file__).parents[3] / "shared"))
    folder = root / "data" / "dicom_mr"
    if not folder.is_dir():
        pytest.skip(f"no real MR data at {folder}; NEUROSCAN_SHARED names another place")
    return folder


class FakeClock:
    """Unix time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def image(k: int, series: str = "1.2.1", **attributes: Any) -> bytes:
    """Encode a small axial image at z = 2 k; its pixels are k + 0, k + 1, ..."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, f"{series}.{k + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2", series, "1.9"
    ds.Modality, ds.ImageType, ds.SeriesDescription = "MR", ["ORIGINAL", "PRIMARY", "M"], "AX FLAIR"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 2 * k], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.SpacingBetweenSlices = [1, 1], 2, 2
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 4, 4, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.add_new("PixelData", "OW", (np.arange(16, dtype=np.uint16) + k).tobytes())
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    stream = BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@dataclass
class Bench:
    """One gateway's folder, over several lives of its process."""

    config: NodeConfig
    clock: FakeClock
    journal: Journal
    published: list[Event] = field(default_factory=list)
    headers: list[tuple[str, Dataset]] = field(default_factory=list)
    assembler: SeriesAssembler = field(init=False)
    registry: CollectorRegistry = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> SeriesAssembler:
        """Begin a new life of the process on the same journal."""
        self.registry = CollectorRegistry()
        self.assembler = SeriesAssembler(
            self.config, self.journal, self.publish, RuleSet(self.config.rules), clock=self.clock,
            registry=self.registry, on_header=lambda uid, ds: self.headers.append((uid, ds)),
        )  # fmt: skip
        return self.assembler

    def publish(self, event: Event) -> None:
        with self.lock:
            self.published.append(event)

    def keep(self, encoded: bytes, association: str = "a") -> SpooledObject:
        """Make an object durable as the receiver does."""
        header = parse_object(encoded).header
        sop_uid, series_uid = str(header.SOPInstanceUID), str(header.SeriesInstanceUID)
        path = self.config.spool_dir / f"{sop_uid}.dcm"
        path.write_bytes(encoded)
        record = InstanceRecord(
            sop_uid, series_uid, str(header.StudyInstanceUID), str(header.SOPClassUID),
            str(header.file_meta.TransferSyntaxUID), path.name, len(encoded), sop_uid, association, self.clock(),
        )  # fmt: skip
        self.journal.add_instance(record)
        return SpooledObject(record, path, encoded)

    def send(self, encoded: bytes, association: str = "a", *, in_memory: bool = True) -> None:
        """Store one object and have it assembled."""
        stored = self.keep(encoded, association)
        self.assembler.stored(stored if in_memory else SpooledObject(stored.record, stored.path))
        self.settle()

    def send_all(self, images: Sequence[bytes], association: str = "a") -> None:
        """Store objects one after the other."""
        for encoded in images:
            self.send(encoded, association)

    def close(self, association: str = "a", *, released: bool = True) -> None:
        """End an association and wait for what follows from it."""
        self.assembler.association_closed(association, released=released)
        self.settle()

    def wait(self, seconds: float) -> None:
        """Let time pass as the gateway's clock does: in ticks."""
        for _ in range(2):
            self.clock.now_s += seconds / 2
            self.assembler.tick(self.clock())
            self.settle()

    def settle(self) -> None:
        assert self.assembler.drain(PATIENCE_S)

    def events(self, series: str = "1.2.1") -> list[SeriesEvent]:
        """Published events of a series."""
        return [e for e in self.published if isinstance(e, SeriesEvent) and e.series_instance_uid == series]

    def kinds(self, series: str = "1.2.1") -> list[str]:
        """Names of the published events, without ``Series`` and ``Slice``."""
        return [
            type(event).__name__.replace("Series", "").replace("SliceReceived", "Slice")
            for event in self.events(series)
        ]

    def row(self, series: str = "1.2.1") -> SeriesRecord:
        """The series in the journal."""
        row = self.journal.series(series)
        assert row is not None
        return row


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Make a bench; everything is closed at the end."""
    benches: list[Bench] = []

    def make(*, rules: tuple[RuleConfig, ...] = ALL, folder: Path = tmp_path, **series: Any) -> Bench:
        config = NodeConfig(state_dir=folder, rules=rules, series=SeriesConfig(**{"min_slices": 3, **series}))
        config.spool_dir.mkdir(exist_ok=True)
        bench = Bench(config, FakeClock(), Journal(config.journal_path))
        bench.start()
        benches.append(bench)
        return bench

    yield make
    for bench in benches:
        bench.assembler.close()
        bench.journal.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A bench with the default policy, three slices at least."""
    return make_bench()


@pytest.fixture
def make_slice() -> Callable[..., bytes]:
    """`image` as a fixture."""
    return image
