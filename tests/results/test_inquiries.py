"""What viewers may ask of a finished series, and what of it is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from dicom_gateway.assembly.payload import encode_payload
from dicom_gateway.inquiries import Inquiries
from dicom_gateway.journal import Journal, ResultRecord
from dicom_gateway.results import ResultWriter, SourceHeaders
from neuroscan_core.config import GatewayConfig, ResultsConfig, SegFormat
from neuroscan_core.domain.errors import RequestRefused, UnreadableObject
from neuroscan_core.domain.events import SegmentationReady
from neuroscan_core.domain.requests import GetIdentity, GetResultObject, GetSegmentation, ListResults
from neuroscan_core.pipeline.measure import finish_segmentation

from .series import MODEL, card, classic_series

NOW_S = 1_800_000_000.0


class Archive:
    """Journal and results of one series."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder, self.journal, self.series = folder, journal, classic_series()
        self.asked_for: list[str] = []
        headers = SourceHeaders(lambda _: self.series.datasets)
        self._writer = ResultWriter(
            ResultsConfig(), GatewayConfig(), folder, headers, clock=lambda: NOW_S, registry=CollectorRegistry()
        )
        self.inquiries = Inquiries(
            journal, folder, {card().name: card()}, completed_study=_no_study, headers=self._headers,
            clock=lambda: NOW_S,
        )  # fmt: skip
        with journal._transaction() as connection:
            connection.execute(
                "INSERT INTO series (series_uid, study_uid, state, model, opened_at_s, last_received_at_s)"
                " VALUES (?, '1.9', 'segmented', ?, 0, 0)",
                (self.series.uid, card().name),
            )
        self._num_events = 0

    def _headers(self, uid: str) -> list:
        self.asked_for.append(uid)
        return self.series.datasets if uid == self.series.uid else []

    def finish(
        self,
        version: int = 1,
        labels_kji: np.ndarray | None = None,
        formats: tuple[SegFormat, ...] = (SegFormat.BINARY,),
    ) -> list[ResultRecord]:
        """A result of a version, written and in the journal."""
        completed = self.series.completed(version)
        with self.journal._transaction() as connection:
            connection.execute(
                "INSERT INTO events (series_uid, sequence, kind, payload) VALUES (?,?,?,?)",
                (self.series.uid, self._num_events, "SeriesCompleted", encode_payload(completed)),
            )
        self._num_events += 1
        labels = self.series.labels() if labels_kji is None else labels_kji
        found = finish_segmentation(labels, self.series.geometry, self.series.manifest, card())
        result = SegmentationReady(self.series.uid, version, found, MODEL)
        records = self._writer.write(completed, result, card(), formats)
        self.journal.add_results(self.series.uid, records, [], now_s=NOW_S)
        return records

    def segmentation(self, version: int = 0) -> SegmentationReady:
        return self.inquiries.segmentation(GetSegmentation(self.series.uid, version)).result


def _no_study(_: object) -> None:
    raise AssertionError("it is no study")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    (tmp_path / "results").mkdir()
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        yield Archive(tmp_path / "results", journal)


def test_results_are_listed_while_their_files_are_there(archive: Archive) -> None:
    seg, report = archive.finish()
    listed = archive.inquiries.list_results(ListResults(archive.series.uid)).results
    assert [(one.modality, one.version, one.sop_instance_uid, one.model) for one in listed] == [
        ("SEG", 1, seg.sop_uid, card().name), ("SR", 1, report.sop_uid, card().name),
    ]  # fmt: skip
    (archive.folder / seg.path).unlink()
    assert [one.modality for one in archive.inquiries.list_results(ListResults(archive.series.uid)).results] == ["SR"]
    assert archive.inquiries.list_results(ListResults("9.9")).results == ()


def test_object_is_that_of_the_archive_and_its_download_is_noted(archive: Archive) -> None:
    seg, _ = archive.finish()
    reply = archive.inquiries.result_object(GetResultObject(seg.sop_uid))
    assert reply.object_bytes.tobytes() == (archive.folder / seg.path).read_bytes()
    assert (NOW_S, "downloaded", seg.sop_uid, "SEG") in archive.journal.audit_trail()
    (archive.folder / seg.path).unlink()
    for uid in (seg.sop_uid, "9.9", "../../etc/passwd"):
        with pytest.raises(RequestRefused):
            archive.inquiries.result_object(GetResultObject(uid))


def test_newest_segmentation_or_the_version_that_was_asked_for(archive: Archive) -> None:
    archive.finish(1)
    changed_kji = archive.series.labels()
    changed_kji[changed_kji == 2] = 0
    archive.finish(2, changed_kji)
    assert archive.segmentation().version == 2
    np.testing.assert_array_equal(archive.segmentation().segmentation.labels_kji, changed_kji)
    np.testing.assert_array_equal(archive.segmentation(1).segmentation.labels_kji, archive.series.labels())
    with pytest.raises(RequestRefused):
        archive.segmentation(3)


@pytest.mark.parametrize("formats", [(SegFormat.LABELMAP,), (SegFormat.FRACTIONAL, SegFormat.BINARY)])
def test_segmentation_is_read_whatever_its_encoding(archive: Archive, formats: tuple[SegFormat, ...]) -> None:
    archive.finish(formats=formats)
    np.testing.assert_array_equal(archive.segmentation().segmentation.labels_kji, archive.series.labels())


def test_nothing_found_is_a_segmentation_too(archive: Archive) -> None:
    archive.finish(labels_kji=np.zeros_like(archive.series.labels()))
    assert archive.segmentation().segmentation.is_empty
    assert archive.segmentation().model.name == card().name


@pytest.mark.parametrize(
    "spoil",
    [
        lambda archive, seg: (archive.folder / seg.path).unlink(),
        lambda archive, seg: (archive.folder / seg.path).write_bytes(b"no DICOM"),
        lambda archive, seg: archive.journal.forget_instances(archive.series.uid),
    ],
)
def test_segmentation_that_is_gone_or_damaged_is_refused(
    archive: Archive, spoil: Callable[[Archive, ResultRecord], None]
) -> None:
    seg, _ = archive.finish()
    spoil(archive, seg)
    with pytest.raises((RequestRefused, UnreadableObject)):
        archive.segmentation()


def test_identity_is_read_from_the_images_and_noted(archive: Archive) -> None:
    header = archive.series.datasets[0]
    said = archive.inquiries.identity(GetIdentity(archive.series.uid))
    assert (said.patient_name, said.patient_id) == (str(header.PatientName), str(header.PatientID))
    assert (NOW_S, "identity-shown", archive.series.uid, "") in archive.journal.audit_trail()
    with pytest.raises(RequestRefused):
        archive.inquiries.identity(GetIdentity("9.9"))
    assert [action for _, action, _, _ in archive.journal.audit_trail()] == ["identity-shown"], "only what was told"


def test_unknown_series_has_no_segmentation(archive: Archive) -> None:
    with pytest.raises(RequestRefused):
        archive.inquiries.segmentation(GetSegmentation("9.9"))
    with pytest.raises(RequestRefused):
        archive.segmentation()
