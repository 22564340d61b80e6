"""Four series of a study through a running node: one result for all of them, beside what each gets for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from dicom_gateway.journal import RecordKind, SeriesRecord
from dicom_gateway.phantom_series import (
    study_geometry,
    weighted_datasets,
    write_datasets,
    write_phantom_study,
)
from neuroscan_core import crashpoints
from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.volume import Volume
from neuroscan_core.inference.bundle import load_bundle
from neuroscan_core.nifti import read_nifti
from neuroscan_core.phantom import HeadPhantom, Tissue, Weighting, head_phantom
from neuroscan_core.pipeline.resample import resample
from neuroscan_core.pipeline.study import bring_together, segment_study
from tests.e2e.conftest import PhantomSeries, storescu
from tests.e2e.node import RunningArchive, RunningNode, wait_for
from tests.e2e.test_faults import send_until_all_are_acknowledged

MODELS = Path(__file__).parents[1] / "study" / "models"
RULES = [
    {"name": "FLAIR", "when": {"SeriesDescription": {"regex": "FLAIR"}}, "model": "mobilenetv2-unet-flair",
     "triage": "classifier-tiny"},
]  # fmt: skip
OTHER_GRIDS = (Weighting.T1, Weighting.T2)
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
    # What each series gets for itself is as it was, with the opinion that its rule asks for in the report.
    flair_reports = [
        ds for ds in map(pydicom.dcmread, archive.objects())
        if ds.Modality == "SR" and ds.SOPInstanceUID != results["SR"].SOPInstanceUID
    ]  # fmt: skip
    assert len(flair_reports) == 1 and "not a diagnosis" in text_of(flair_reports[0])
    assert node.wait_for_state(study.uid(Weighting.FLAIR), "delivered").num_slices == len(study.paths[Weighting.FLAIR])
    for weighting in (Weighting.T1, Weighting.T1CE, Weighting.T2):
        assert node.series(study.uid(weighting)).state.value == "collected"


@pytest.fixture
def brats_case(shared_data: Path) -> dict[Weighting, Volume]:
    """A real case; all sequences on one grid."""
    folder = shared_data / "brats_volumes_u8" / "Brats18_CBICA_ALU_1"
    return {w: read_nifti(folder / f"{folder.name}_{w.value.lower()}.nii.gz").volume for w in Weighting}


@pytest.mark.slow
def test_a_real_study_with_oblique_and_sagittal_series_is_segmented_as_the_same_on_one_grid(
    study_node: RunningNode, archive: RunningArchive, brats_case: dict[Weighting, Volume], tmp_path: Path
) -> None:
    node = study_node
    node.start()
    for weighting in (Weighting.T2, Weighting.T1CE, Weighting.FLAIR, Weighting.T1):
        volume = brats_case[weighting]
        grid = study_geometry(volume.geometry, weighting) if weighting in OTHER_GRIDS else volume.geometry
        voxels_kji = np.rint(resample(volume.voxels_kji, volume.geometry, grid)).astype(np.uint16)
        folder = tmp_path / weighting.value
        folder.mkdir()
        datasets = weighted_datasets(voxels_kji, grid, weighting, study=("brats",))
        storescu(node.port, write_datasets(folder, datasets))
    seg = results_of(archive, wait_for_job(node, "delivered"), node)["SEG"]
    reference = brats_case[Weighting.T1CE]
    found_kji = np.zeros(reference.geometry.shape, bool)
    points = points_of(seg)
    i, j, k, _ = np.rint(np.linalg.inv(reference.geometry.affine_lps) @ np.c_[points, np.ones(len(points))].T)
    found_kji[k.astype(int), j.astype(int), i.astype(int)] = True
    together = bring_together({w.value: volume for w, volume in brats_case.items()}, "T1ce")
    with closing(load_bundle(MODELS / "unet-tiny").open_engine(SegmenterConfig(threads=1))) as engine:
        wanted_kji = segment_study(together, engine).labels_kji > 0
    # Two of four series were interpolated twice on the way, one of them in slices of 4 mm; the formula that stands for
    # the network lives on fine differences. A shift of 3 mm or a flip ends far below.
    dice = 2 * (found_kji & wanted_kji).sum() / (found_kji.sum() + wanted_kji.sum())
    shifted = np.roll(found_kji, 3, axis=1)
    assert dice > 0.5
    assert dice > 1.2 * 2 * (shifted & wanted_kji).sum() / (found_kji.sum() + wanted_kji.sum())


def assert_lies_in_the_tumour(seg: pydicom.Dataset, head: HeadPhantom) -> None:
    """The centre of the enhancing part, in the patient's frame, is that of the phantom's."""
    k, j, i = np.nonzero(head.tissue_kji == Tissue.ENHANCING)
    truth = (head.geometry.affine_lps @ np.stack([i, j, k, np.ones_like(i)])).T[:, :3].mean(axis=0)
    found = points_of(seg, "enhancing tumour").mean(axis=0)
    assert np.abs(found - truth).max() < 3.5, (found, truth)  # the phantom's slices are 6.5 mm thick


def points_of(seg: pydicom.Dataset, label: str = "") -> npt.NDArray[np.float64]:
    """Positions (LPS, mm) of all voxels of one segment, or of all, shape (n, 3)."""
    frames = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    frames = frames[: int(seg.NumberOfFrames) * seg.Rows * seg.Columns].reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    row_mm, column_mm = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    cosines = [float(v) for v in shared.PlaneOrientationSequence[0].ImageOrientationPatient]
    points = []
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        if label in ("", seg.SegmentSequence[number - 1].SegmentLabel):
            origin = np.array([float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient])
            j, i = np.nonzero(frame)
            points.append(origin + np.outer(i * column_mm, cosines[:3]) + np.outer(j * row_mm, cosines[3:]))
    return np.concatenate(points)


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


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point == "segmenter.mid-study" else pytest.mark.slow)
        for point in (*crashpoints.STUDY_POINTS, "segmenter.before-submit", "results.after-write")
    ],
)
def test_a_process_killed_in_a_study_changes_nothing_in_the_end(
    point: str, study_node: RunningNode, archive: RunningArchive, study: Study
) -> None:
    node = study_node
    node.start_one_by_one(crash_at=f"{point}:{3 if point == 'segmenter.mid-study' else 1}")
    died: list[str] = []
    for weighting in Weighting:
        series = PhantomSeries(study.paths[weighting], study.uid(weighting), study.head.tumour_kji)
        send_until_all_are_acknowledged(node, series, died)

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
