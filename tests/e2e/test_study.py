"""Four series of a study through a running node: one result for all of them, beside what each gets for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from dicom_gateway.journal import RecordKind, SeriesRecord
from dicom_gateway.phantom_series import write_phantom_study
from neuroscan_core import crashpoints
from neuroscan_core.phantom import HeadPhantom, Weighting, head_phantom
from tests.e2e.conftest import storescu
from tests.e2e.node import RunningArchive, RunningNode, wait_for

MODELS = Path(__file__).parents[1] / "study" / "models"
RULES = [
    {"name": "FLAIR", "when": {"SeriesDescription": {"regex": "FLAIR"}}, "model": "mobilenetv2-unet-flair",
     "triage": "classifier-tiny"},
]  # fmt: skip
STUDY = {"name": "tumour", "model": "unet-tiny", "triage": "classifier-tiny", "wait_s": 6.0}


@dataclass(frozen=True)
class Study:
    """A study on disk."""

    paths: dict[Weighting, list[Path]]
    head: HeadPhantom

    def uid(self, weighting: Weighting) -> str:
        return str(pydicom.dcmread(self.paths[weighting][0], stop_before_pixels=True).SeriesInstanceUID)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    head = head_phantom(num_slices=24)
    return Study(write_phantom_study(tmp_path_factory.mktemp("study"), head), head)


@pytest.fixture
def study_node(tmp_path: Path, archive: RunningArchive) -> Iterator[RunningNode]:
    running = RunningNode(
        tmp_path, [archive.destination], rules=RULES, studies=[STUDY],
        segmenter={"models_dir": str(MODELS), "threads": 1},
    )  # fmt: skip
    yield running
    running.close()


def job_of(node: RunningNode) -> SeriesRecord | None:
    with node.journal() as journal:
        jobs = [row for row in journal.all_series() if row.kind is RecordKind.STUDY]
    assert len(jobs) <= 1
    return jobs[0] if jobs else None


def wait_for_job(node: RunningNode, *states: str, version: int = 0) -> SeriesRecord:
    def reached() -> SeriesRecord | None:
        job = job_of(node) if node.config.journal_path.exists() else None
        return job if job is not None and job.state.value in states and job.version >= version else None

    try:
        return wait_for(reached, f"the study to be {' or '.join(states)}")
    except AssertionError as exc:
        raise AssertionError(f"{exc}; it is {job_of(node)}\n{node.log()[-4000:]}") from exc


def results_of(archive: RunningArchive, job: SeriesRecord, node: RunningNode) -> dict[str, pydicom.Dataset]:
    """Newest results of the study, from the archive, by kind."""
    with node.journal() as journal:
        uids = {record.sop_uid: record.kind for record in journal.results(job.series_uid)
                if record.version == job.version}  # fmt: skip
    stored = {str((ds := pydicom.dcmread(path)).SOPInstanceUID): ds for path in archive.objects()}
    assert uids.keys() <= stored.keys()
    assert len(set(uids.values())) == len(uids), "one object of each kind"
    return {kind: stored[uid] for uid, kind in uids.items()}


def text_of(ds: pydicom.Dataset) -> str:
    return str(ds)


def test_four_series_become_one_result_on_the_grid_of_the_finest(
    study_node: RunningNode, archive: RunningArchive, study: Study
) -> None:
    node = study_node
    node.start()
    for weighting in (Weighting.T1, Weighting.FLAIR, Weighting.T2, Weighting.T1CE):
        storescu(node.port, study.paths[weighting])
    job = wait_for_job(node, "delivered")
    results = results_of(archive, job, node)
    assert results.keys() == {"SEG", "SR"}
    seg = results["SEG"]
    assert [segment.SegmentLabel for segment in seg.SegmentSequence][-1] == "enhancing tumour"
    referenced = {str(item.SeriesInstanceUID) for item in seg.ReferencedSeriesSequence}
    # The phantom's own 24 slices are 6.5 mm apart, so FLAIR in slices of 2 mm is finer than T1ce.
    assert study.uid(Weighting.FLAIR) in referenced
    source = pydicom.dcmread(study.paths[Weighting.FLAIR][0], stop_before_pixels=True)
    assert (seg.Rows, seg.Columns) == (source.Rows, source.Columns)
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert "Glioma" in text_of(results["SR"]) or "meningioma" in text_of(results["SR"]).lower()
    assert_lies_in_the_tumour(seg, study.head)
    # What each series gets for itself is as it was.
    assert node.wait_for_state(study.uid(Weighting.FLAIR), "delivered").num_slices == len(study.paths[Weighting.FLAIR])
    for weighting in (Weighting.T1, Weighting.T1CE, Weighting.T2):
        assert node.series(study.uid(weighting)).state.value == "collected"


def assert_lies_in_the_tumour(seg: pydicom.Dataset, head: HeadPhantom) -> None:
    """The centre of the enhancing part, in the patient's frame, is that of the phantom's."""
    frames = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    frames = frames[: int(seg.NumberOfFrames) * seg.Rows * seg.Columns].reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    row_mm, column_mm = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    cosines = [float(v) for v in shared.PlaneOrientationSequence[0].ImageOrientationPatient]
    points = []
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        if seg.SegmentSequence[number - 1].SegmentLabel == "enhancing tumour":
            origin = np.array([float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient])
            j, i = np.nonzero(frame)
            points.append(origin + np.outer(i * column_mm, cosines[:3]) + np.outer(j * row_mm, cosines[3:]))
    k, j, i = np.nonzero(head.tissue_kji == 10)
    truth = (head.geometry.affine_lps @ np.stack([i, j, k, np.ones_like(i)])).T[:, :3].mean(axis=0)
    found = np.concatenate(points).mean(axis=0)
    assert np.abs(found - truth).max() < 3.5, (found, truth)  # the phantom's slices are 6.5 mm thick


def test_a_missing_sequence_is_waited_for_then_said_and_a_late_one_makes_the_result(
    study_node: RunningNode, archive: RunningArchive, study: Study
) -> None:
    node = study_node
    node.start()
    for weighting in (Weighting.T1, Weighting.T1CE, Weighting.FLAIR):
        storescu(node.port, study.paths[weighting])
    job = wait_for_job(node, "waiting", "rejected")
    job = wait_for_job(node, "rejected")
    assert job.reason == "missing-sequence"
    assert job.message.startswith("T2 never came; there is T1 (series 3 'AX T1 1mm')")
    storescu(node.port, study.paths[Weighting.T2])
    job = wait_for_job(node, "delivered")
    assert (job.version, job.reason) == (1, "")
    assert results_of(archive, job, node).keys() == {"SEG", "SR"}


@pytest.mark.parametrize("point", [*crashpoints.STUDY_POINTS, "segmenter.before-submit", "results.after-write"])
def test_a_process_killed_in_a_study_changes_nothing_in_the_end(
    point: str, study_node: RunningNode, archive: RunningArchive, study: Study
) -> None:
    node = study_node
    node.start_one_by_one(crash_at=f"{point}:{3 if point == 'segmenter.mid-study' else 1}")
    died: list[str] = []
    for weighting in Weighting:
        wait_for(lambda: died.extend(node.revive_dead()) or node.is_listening(), "the gateway to listen")
        storescu(node.port, study.paths[weighting])

    def is_whole() -> bool:
        died.extend(node.revive_dead())
        job = job_of(node)
        flair = node.series(study.uid(Weighting.FLAIR))
        return bool(died) and job is not None and job.state.value == flair.state.value == "delivered"

    wait_for(is_whole, f"a death at {point} and a delivered study")
    job = job_of(node)
    assert job.version == 1
    kinds: list[Any] = [pydicom.dcmread(path, stop_before_pixels=True).Modality for path in archive.objects()]
    assert sorted(kinds) == ["SEG", "SEG", "SR", "SR"]
    assert results_of(archive, job, node).keys() == {"SEG", "SR"}
