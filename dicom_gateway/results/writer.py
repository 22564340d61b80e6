"""Results of a series as files and journal records: SEG first, then report and overlays.

Every call can be repeated: identifiers, dates and bytes follow from the series, the model and the masks alone. The
caller commits the SEG's records before it asks for the rest, so that delivery starts at once.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from prometheus_client import CollectorRegistry, Histogram
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage

from dicom_gateway.journal import ResultRecord
from dicom_gateway.results import provenance, secondary_capture, seg, seg_bytes, sr, storing
from dicom_gateway.results.headers import SourceHeaders
from dicom_gateway.results.preparation import Preparations, PreparedSeries
from dicom_gateway.results.segments import Segment, segments_of
from dicom_gateway.results.sources import CompanionSeries, SourceSlice, source_slices
from dicom_gateway.results.sr_groups import ReportContent, SegReference
from dicom_gateway.results.translation import foreign_errors
from dicom_gateway.results.uids import ResultIdentity, also_made_from, manifest_digest
from dicom_gateway.results.warming import warm_up
from neuroscan_core.config import GatewayConfig, ResultsConfig, SegFormat
from neuroscan_core.domain.events import SegmentationReady, SeriesCompleted
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.volume import FrameKey

PLAIN = ("", SegFormat.BINARY.value)  # variants that a summary need not name
Pixels = Callable[[FrameKey], npt.NDArray[np.float32]]


class ResultWriter:
    """Makes DICOM objects of segmentations.

    Parameters
    ----------
    config : ResultsConfig
    gateway : GatewayConfig
    results_dir : Path
        Files are written into one folder per source series below it.
    headers : SourceHeaders
    clock : callable
        Unix time in seconds; for records only, never in objects.
    registry : CollectorRegistry
    """

    def __init__(
        self,
        config: ResultsConfig,
        gateway: GatewayConfig,
        results_dir: Path,
        headers: SourceHeaders,
        *,
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry,
    ) -> None:
        self._config, self._gateway, self._results_dir = config, gateway, results_dir
        self._headers, self._clock = headers, clock
        self._preparations = Preparations(headers)
        warm_up()
        self._write_s = Histogram(
            "neuroscan_result_write_seconds", "Making and storing the results of a kind", ["kind"],
            buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5), registry=registry,
        )  # fmt: skip

    def prepare(self, series_uid: str) -> None:
        """Do work ahead for an open series, at most some 30 ms; call now and then while slices arrive."""
        if self._preparations.advance(series_uid):
            storing.make_folder(self._results_dir / series_uid)

    def write(
        self,
        completed: SeriesCompleted,
        result: SegmentationReady,
        card: ModelCard,
        formats: Sequence[SegFormat] = (SegFormat.BINARY,),
        pixels: Pixels | None = None,
        companions: Sequence[CompanionSeries] = (),
    ) -> list[ResultRecord]:
        """Write everything the configuration asks for; see `write_seg` and `write_rest`."""
        return self.write_seg(completed, result, card, formats, companions) + self.write_rest(
            completed, result, card, pixels, companions
        )

    def write_seg(
        self,
        completed: SeriesCompleted,
        result: SegmentationReady,
        card: ModelCard,
        formats: Sequence[SegFormat] = (SegFormat.BINARY,),
        companions: Sequence[CompanionSeries] = (),
    ) -> list[ResultRecord]:
        """Write one SEG per encoding, each a series of its own; none where nothing was found.

        Parameters
        ----------
        companions : sequence of CompanionSeries
            Other series of the study that the result was made from, always in the same order.

        Returns
        -------
        list of ResultRecord
            Their files are durable.

        Raises
        ------
        UnreadableObject
            The source lacks what a SEG needs.
        InvalidBundle
            The masks hold values that the card does not list.
        DiskFull, StorageError
            A file cannot be written.
        """
        if not self._config.seg or result.segmentation.is_empty:
            return []
        with self._write_s.labels("SEG").time():
            job = _Job(self._headers, self._preparations, completed, result, card, companions)
            return [self._write_one_seg(job, encoding) for encoding in dict.fromkeys(formats)]

    def write_rest(
        self,
        completed: SeriesCompleted,
        result: SegmentationReady,
        card: ModelCard,
        pixels: Pixels | None = None,
        companions: Sequence[CompanionSeries] = (),
    ) -> list[ResultRecord]:
        """Write the report and, where asked for and where `pixels` are given, the overlays.

        The report refers to the SEG that `write_seg` wrote: the first of BINARY, LABELMAP and FRACTIONAL that is there.

        Parameters
        ----------
        pixels : callable, optional
            Gives the rescaled pixels of a slice, shape (rows, columns).
        companions : sequence of CompanionSeries
            The same as for `write_seg`.

        Raises
        ------
        UnreadableObject, InvalidBundle, DiskFull, StorageError
            As `write_seg`.
        """
        job = _Job(self._headers, self._preparations, completed, result, card, companions)
        records: list[ResultRecord] = []
        if self._config.sr:
            with self._write_s.labels("SR").time():
                records.append(self._write_report(job))
        if self._config.secondary_capture and pixels is not None and job.segments:
            with self._write_s.labels("SC").time():
                records += self._write_overlays(job, pixels)
        self._preparations.forget(completed.series_instance_uid)
        return records

    def _write_one_seg(self, job: _Job, encoding: SegFormat) -> ResultRecord:
        content = seg.SegContent(
            identity=job.identity,
            slices=job.slices,
            segments=job.segments,
            spacing_mm=job.result.segmentation.geometry.spacing_mm,
            at_s=job.completed.last_received_at_s,
            series_number=self._config.seg_series_number + seg.SERIES_NUMBER_OFFSETS[encoding],
            series_description=self._describe(job, "SEG"),
            device_name=self._gateway.ae_title,
            omit_empty_frames=self._config.omit_empty_frames,
            companions=job.companions,
        )
        with foreign_errors("The segmentation object cannot be built from the headers of the series"):
            if encoding is SegFormat.BINARY:
                parts = {k: job.prepared.parts_of(source) for k, source in enumerate(job.slices)}
                file = seg_bytes.binary_seg(content, job.prepared.take_shell(job.slices[0]), parts)
            else:
                file = part10(seg.segmentation(content, encoding))
        return self._store(job, file, "SEG", encoding.value, seg.sop_class_of(encoding))

    def _write_report(self, job: _Job) -> ResultRecord:
        content = ReportContent(
            identity=job.identity,
            slices=job.slices,
            segmentation=job.result.segmentation,
            card=job.card,
            seg=self._seg_reference(job),
            device_name=self._gateway.ae_title,
            at_s=job.completed.last_received_at_s,
            series_number=self._config.sr_series_number,
            series_description=self._describe(job, "SR"),
            companions=job.companions,
        )
        with foreign_errors("The report cannot be built from the headers of the series"):
            file = part10(sr.report(content))
        return self._store(job, file, "SR", "", ComprehensiveSRStorage)

    def _write_overlays(self, job: _Job, pixels: Pixels) -> list[ResultRecord]:
        content = secondary_capture.OverlayContent(
            identity=job.identity,
            slices=job.slices,
            segments=job.segments,
            at_s=job.completed.last_received_at_s,
            series_number=self._config.sc_series_number,
            series_description=self._describe(job, "overlay"),
        )
        images = [pixels(job.slices[k].key) for k in content.planes]
        records = []
        with foreign_errors("The overlays cannot be built from the headers of the series"):
            for number, picture in enumerate(secondary_capture.overlays(content, images), 1):
                file, sop_class = part10(picture), secondary_capture.SC_SOP_CLASS_UID
                records.append(self._store(job, file, "SC", "", sop_class, number))
        return records

    def _seg_reference(self, job: _Job) -> SegReference | None:
        for encoding in (SegFormat.BINARY, SegFormat.LABELMAP, SegFormat.FRACTIONAL):
            if job.segments and (self._results_dir / file_name(job.identity, "SEG", encoding.value)).is_file():
                return SegReference(
                    sop_class_uid=seg.sop_class_of(encoding),
                    sop_instance_uid=job.identity.instance_uid("SEG", encoding.value),
                    series_instance_uid=job.identity.series_uid("SEG", encoding.value),
                    segment_numbers={segment.label.value: segment.number for segment in job.segments},
                )
        return None

    def _describe(self, job: _Job, what: str) -> str:
        header, note = job.slices[0].header, self._config.institution_note
        what = f"study {what}" if job.companions else what
        return provenance.series_description(what, header, job.identity.version, note)

    def _store(
        self, job: _Job, file: bytes, kind: str, variant: str, sop_class_uid: str, number: int = 1
    ) -> ResultRecord:
        name = file_name(job.identity, kind, variant, number)
        path = self._results_dir / name
        storing.make_folder(path.parent)
        storing.write_durably(path, file)
        return ResultRecord(
            sop_uid=job.identity.instance_uid(kind, variant, number),
            series_uid=job.identity.series_instance_uid,
            version=job.identity.version,
            kind=kind,
            sop_class_uid=str(sop_class_uid),
            path=name,
            summary=sr.summary(job.result.segmentation, job.card) + (f" ({variant})" if variant not in PLAIN else ""),
            created_at_s=self._clock(),
        )


class _Job:
    """What all results of one segmentation share."""

    def __init__(
        self,
        headers: SourceHeaders,
        preparations: Preparations,
        completed: SeriesCompleted,
        result: SegmentationReady,
        card: ModelCard,
        companions: Sequence[CompanionSeries] = (),
    ) -> None:
        uid, segmentation = completed.series_instance_uid, result.segmentation
        assert result.version == completed.version, "the result belongs to another version of the series"
        assert segmentation.keys == completed.manifest, "the masks are not those of the manifest"
        self.completed, self.result, self.card = completed, result, card
        self.companions = companions
        triage = () if segmentation.triage is None else (segmentation.triage.model,)
        also = also_made_from((uid for companion in companions for uid in companion.objects), triage)
        digest = manifest_digest(completed.manifest)
        self.identity = ResultIdentity(uid, result.model, completed.version, digest, also)
        self.prepared: PreparedSeries = preparations.take(uid)
        self.slices: list[SourceSlice] = source_slices(
            headers.for_manifest(uid, completed.manifest),
            completed.manifest,
            segmentation.geometry,
            self.prepared.slices,
        )
        self.segments: list[Segment] = segments_of(segmentation.labels_kji, card)


def file_name(identity: ResultIdentity, kind: str, variant: str = "", number: int = 1) -> str:
    """Path of a result below the results folder."""
    tail = identity.instance_uid(kind, variant, number)[-12:]
    middle = f"{variant}-" if variant else ""
    return f"{identity.series_instance_uid}/v{identity.version}-{kind}-{middle}{tail}.dcm"


def encoding_of(record: ResultRecord) -> SegFormat | None:
    """Encoding of a SEG, from its record; None for other results."""
    words = Path(record.path).name.split("-")
    return SegFormat(words[2]) if record.kind == "SEG" else None


def part10(ds: Dataset) -> bytes:
    """Encode as a DICOM file."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()
