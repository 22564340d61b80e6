"""Sequences of a study on the grid of its reference: where their voxels lie, what they cost, and who waits for whom."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx
import numpy as np
import numpy.typing as npt
import pytest
from starlette.applications import Starlette

from neuroscan_core.diagnosis.case import CaseFile, Gathered, InputKind, Reading, Source
from neuroscan_core.diagnosis.quality import measure_quality
from neuroscan_core.domain.errors import CaseConflict, CaseNotFound, CaseNotReady
from neuroscan_core.domain.events import SeriesCompleted, SliceReceived, StudyReady, StudySource
from neuroscan_core.domain.requests import ReplayedEvents, ReplaySeries
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.inference.bundle import find_cards
from neuroscan_core.pipeline.resample import resample
from neuroscan_core.pipeline.study import bring_together
from neuroscan_core.viewer.case_ids import series_case_id
from neuroscan_core.viewer.cases.case import Case
from neuroscan_core.viewer.cases.compare import CompareJobs
from neuroscan_core.viewer.cases.folder import CaseFolder, slice_keys
from neuroscan_core.viewer.cases.folder_case import FolderCase
from neuroscan_core.viewer.cases.resampled import READ_S
from neuroscan_core.viewer.cases.routes import case_routes
from neuroscan_core.viewer.cases.store import WATCHED_S, CaseStore
from neuroscan_core.viewer.diagnose.publish import CasePublisher
from neuroscan_core.viewer.problems import HANDLERS
from tests.diagnosis.conftest import TINY_MODELS
from tests.viewer.cases.node import Node, opened, wait_until
from tests.viewer.volumes import ORIENTATIONS, stack

STUDY, ID = "9.9", series_case_id("9.9")
REFERENCE = "T1ce"
GRIDS = {
    "T1": stack(ORIENTATIONS["sagittal"], (20, 36, 40), (3.0, 1.5, 1.5)),
    "T1ce": stack(ORIENTATIONS["axial"], (18, 30, 32), (3.0, 2.0, 2.0)),
    "T2": stack(ORIENTATIONS["oblique"], (9, 20, 24), (5.0, 2.5, 1.7)),
    "FLAIR": stack(ORIENTATIONS["axial"], (18, 30, 32), (3.0, 2.0, 2.0)),
}
VOXEL_BYTES = 2
VOLUME_BYTES = VOXEL_BYTES * int(np.prod(GRIDS[REFERENCE].shape))


def volume(name: str) -> Volume:
    """Voxels that differ everywhere, and from sequence to sequence; whole numbers, as scanners make them."""
    geometry = GRIDS[name]
    rng = np.random.default_rng(SEQUENCES.index(name))
    voxels_kji = rng.integers(0, 4000, geometry.shape).astype(np.float32)
    return Volume(geometry, tuple(FrameKey(f"{uid_of(name)}.{k}") for k in range(geometry.num_slices)), voxels_kji)


def uid_of(name: str) -> str:
    return f"1.2.{SEQUENCES.index(name)}"


def expected_kji(name: str) -> npt.NDArray[np.float32]:
    return resample(volume(name).voxels_kji, GRIDS[name], GRIDS[REFERENCE])


def arrival_order(num_slices: int) -> list[int]:
    """As scanners that interleave send them."""
    return [*range(0, num_slices, 2), *range(1, num_slices, 2)]


def receive(node: Node, name: str) -> None:
    made, uid = volume(name), uid_of(name)
    node.send(None, opened(uid))
    for sequence, k in enumerate(arrival_order(made.geometry.num_slices), start=1):
        geometry = made.geometry.slice_geometry(k)
        node.send(None, SliceReceived(uid, sequence, made.keys[k], geometry, made.voxels_kji[k]))
    node.send(None, SeriesCompleted(uid, len(made.keys) + 1, made.keys, made.geometry, 1, "count"))


def source_of(name: str) -> StudySource:
    return StudySource(name, uid_of(name), 1, volume(name).keys, GRIDS[name])


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    for name in SEQUENCES:
        receive(node, name)
    node.send(None, StudyReady(STUDY, 0, "tiny", tuple(map(source_of, SEQUENCES)), REFERENCE))
    with node.serving():
        yield node
    node.bus.close()


def open_study(store: CaseStore) -> Case:
    case = store.get(ID)
    wait_until(lambda: bool(case.meta()["num_slices"] == GRIDS[REFERENCE].num_slices), "the reference")
    return case


def entry(case: Case, name: str) -> dict[str, object]:
    found: dict[str, object] = next(one for one in case.meta()["sources"] if one["name"] == name)
    return found


def values_nji(case: Case, name: str, start: int = 0, count: int = 1000) -> npt.NDArray[np.float64]:
    """Values as the page has them, slices by arrival."""
    block = case.sequence_slices(name, start, count)
    described = entry(case, name)
    scale: dict[str, float] = described["scale"]  # type: ignore[assignment]
    stored = np.frombuffer(block.content, "<u2").reshape(block.num_slices, *GRIDS[REFERENCE].shape[1:])
    return stored * scale["slope"] + scale["intercept"]


def state(case: Case, name: str) -> str:
    """What becomes of asking for it: ``ready``, ``waiting`` or why not."""
    try:
        case.sequence_slices(name, 0, 1)
    except CaseNotReady:
        return "waiting"
    except CaseConflict as refusal:
        return str(refusal)
    return "ready"


def wait_for(case: Case, name: str) -> str:
    said = ["waiting"]

    def is_decided() -> bool:
        said[0] = state(case, name)
        return said[0] != "waiting"

    wait_until(is_decided, name)
    return said[0]


def assert_close(found: npt.NDArray[np.float64], name: str, described: dict[str, object]) -> None:
    scale: dict[str, float] = described["scale"]  # type: ignore[assignment]
    # Half a level of the scale, and the precision of float32 at some thousands.
    assert np.abs(found - expected_kji(name)).max() <= 0.5 * scale["slope"] + 1e-3


# -------------------------------------------------------------------------------------------------- series of the node


@pytest.mark.parametrize("name", ["T1", "T2", "FLAIR"])
def test_voxels_are_those_of_resampling_with_the_numbers_of_the_slices(node: Node, name: str) -> None:
    with node.store() as store:
        case = open_study(store)
        assert wait_for(case, name) == "ready"
        by_arrival = arrival_order(GRIDS[REFERENCE].num_slices)
        found = np.zeros(GRIDS[REFERENCE].shape)
        found[by_arrival] = values_nji(case, name)
        assert_close(found, name, entry(case, name))
        assert ((found == 0) | (expected_kji(name) != 0)).all(), "where it does not reach it is 0"
        np.testing.assert_array_equal(values_nji(case, name, 3, 2), found[by_arrival][3:5])
        window: dict[str, float] = entry(case, name)["window"]  # type: ignore[assignment]
        assert 0 <= window["low"] < window["high"] <= found.max()


def test_same_grid_stays_exact_and_the_reference_is_what_is_shown_first(node: Node) -> None:
    with node.store() as store:
        case = open_study(store)
        assert wait_for(case, "FLAIR") == "ready"
        by_arrival = arrival_order(GRIDS["FLAIR"].num_slices)
        np.testing.assert_array_equal(values_nji(case, "FLAIR"), volume("FLAIR").voxels_kji[by_arrival])
        assert case.sequence_slices(REFERENCE, 0, 100).content == case.slices(0, 100).content
        assert (entry(case, REFERENCE)["is_shown"], entry(case, REFERENCE)["state"]) == (True, "ready")


def test_what_is_there_is_told_and_nothing_is_fetched_before_it_is_asked_for(node: Node) -> None:
    with node.store() as store:
        case = open_study(store)
        described = entry(case, "T2")
        assert (described["state"], described["scale"], described["num_slices"]) == ("kept", None, 9)
        assert uid_of("T2") not in {request.series_instance_uid for request in node.replays}
        before = case.revision
        assert state(case, "T2") == "waiting"
        wait_until(lambda: entry(case, "T2")["state"] == "ready", "T2")
        assert case.revision > before, "a page that waits is told"
        assert entry(case, "T1")["state"] == "kept"
        with pytest.raises(CaseNotFound):
            case.sequence_slices("SWI", 0, 1)


def test_while_a_sequence_is_fetched_everything_else_is_given(node: Node) -> None:
    asked, go_on = threading.Event(), threading.Event()
    plain = node.replay

    def slow(request: ReplaySeries) -> ReplayedEvents:
        if request.series_instance_uid == uid_of("T2"):
            asked.set()
            assert go_on.wait(20)
        return plain(request)

    held = Node()
    held.__dict__.update({**node.__dict__, "bus": held.bus, "replay": slow})
    with ExitStack() as stack:
        stack.callback(held.bus.close)
        stack.enter_context(held.serving())
        stack.callback(go_on.set)
        case = open_study(stack.enter_context(held.store()))
        assert state(case, "T2") == "waiting"
        assert asked.wait(20)
        assert case.slices(0, 100).num_slices == GRIDS[REFERENCE].num_slices
        assert (entry(case, "T2")["state"], state(case, "T1"), state(case, "T2")) == ("loading", "waiting", "waiting")
        go_on.set()
        assert (wait_for(case, "T2"), wait_for(case, "T1")) == ("ready", "ready")


def test_purged_images_are_refused_with_a_reason_and_may_be_asked_for_again(node: Node) -> None:
    with node.store() as store:
        case = open_study(store)
        events = node._events.pop(uid_of("T2"))
        assert "not kept any more" in wait_for(case, "T2")
        assert entry(case, "T2")["state"] == "failed" and "purged" in str(entry(case, "T2")["reason"])
        assert case.slices(0, 1).num_slices == 1
        node._events[uid_of("T2")] = events
        assert wait_for(case, "T2") == "ready", "asking again is another attempt"


def test_another_version_of_the_series_is_fetched_anew(node: Node) -> None:
    with node.store() as store:
        case = open_study(store)
        assert wait_for(case, "T2") == "ready"
        before = entry(case, "T2")["pixels_revision"]
        sources = tuple(source_of(name) for name in SEQUENCES if name != "T2")
        other = StudySource("T2", uid_of("T1"), 1, volume("T1").keys, GRIDS["T1"])
        node.send(store, StudyReady(STUDY, 1, "tiny", (*sources, other), REFERENCE, version=2))
        wait_until(lambda: entry(case, "T2")["pixels_revision"] != before, "the new study")
        assert entry(case, "T2")["state"] == "kept"
        assert wait_for(case, "T2") == wait_for(case, "T1") == "ready"
        np.testing.assert_array_equal(values_nji(case, "T2"), values_nji(case, "T1"))


def test_other_models_still_get_the_series_as_they_are(node: Node) -> None:
    with node.store() as store:
        case = open_study(store)
        assert wait_for(case, "T2") == "ready"
        sources = case.sources()
        assert list(sources) == [REFERENCE, "T1", "T2", "FLAIR"]
        for name, found in sources.items():
            np.testing.assert_array_equal(found.voxels_kji, volume(name).voxels_kji)


# -------------------------------------------------------------------------------------------------------------- memory


def test_sequences_count_and_those_that_nobody_reads_go_first(node: Node) -> None:
    with node.store(max_bytes=3 * VOLUME_BYTES + 100) as store:
        case = open_study(store)
        assert wait_for(case, "T1") == wait_for(case, "T2") == "ready"
        assert store.num_bytes == 3 * VOLUME_BYTES
        assert "There is no memory for FLAIR" in wait_for(case, "FLAIR"), "both of the others are being read"
        node.now_s += READ_S + 1
        assert state(case, "T2") == "ready"
        assert wait_for(case, "FLAIR") == "ready"
        assert [entry(case, name)["state"] for name in ("T1", "T2", "FLAIR")] == ["kept", "ready", "ready"]
        assert store.num_bytes == 3 * VOLUME_BYTES


def test_sequences_give_way_to_a_case_that_is_opened_and_go_with_their_own(node: Node) -> None:
    with node.store(max_bytes=2 * VOLUME_BYTES + VOLUME_BYTES // 2) as store:
        case = open_study(store)
        assert wait_for(case, "T1") == "ready"
        node.now_s += READ_S + 1
        other = store.get(series_case_id(uid_of("FLAIR")))
        wait_until(lambda: other.meta()["num_slices"] == GRIDS["FLAIR"].num_slices, "the other case")
        wait_until(lambda: entry(case, "T1")["state"] == "kept", "the sequence to go")
        node.now_s += WATCHED_S + 1
        third = store.get(series_case_id(uid_of("T1")))
        wait_until(lambda: third.meta()["num_slices"] == GRIDS["T1"].num_slices, "the third case")
        wait_until(lambda: store.get(ID) is not case, "the study to be closed and opened again")


def test_sequence_that_would_never_fit_is_refused_and_the_reference_stays(node: Node) -> None:
    with node.store(max_bytes=VOLUME_BYTES + 100) as store:
        case = open_study(store)
        assert "max_case_bytes" in wait_for(case, "T2")
        assert store.num_bytes == VOLUME_BYTES


# ---------------------------------------------------------------------------------------------------------------- HTTP


def get(app: Starlette, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
            return await client.get(path)

    return anyio.run(ask)


def test_route_says_that_it_waits_then_gives_slices_or_why_not(node: Node) -> None:
    with node.store() as store:
        routes = case_routes(store, CompareJobs((), {}), is_identity_shown=lambda _: False)
        app = Starlette(routes=routes, exception_handlers=HANDLERS)
        case = open_study(store)
        path = f"/api/cases/{ID}/sequences/T2/slices"
        first = get(app, f"{path}?from=2&count=3")
        assert first.status_code == 202 and first.json()["state"] == "loading" and 0 <= first.json()["progress"] <= 1
        assert wait_for(case, "T2") == "ready"
        got = get(app, f"{path}?from=2&count=3")
        assert (got.status_code, got.headers["x-num-slices"]) == (200, "3")
        assert got.content == case.sequence_slices("T2", 2, 3).content
        assert "no-store" in got.headers["cache-control"]
        del node._events[uid_of("T1")]
        refused = f"/api/cases/{ID}/sequences/T1/slices"
        wait_until(lambda: get(app, refused).status_code != 202, "the refusal")
        assert "not kept" in str(entry(case, "T1")["reason"])
        missing = get(app, f"/api/cases/{ID}/sequences/SWI/slices")
        assert missing.status_code == 404 and missing.json()["error"] == "There is no such sequence."


# ----------------------------------------------------------------------------------------------------------- diagnoses


def publish(path: Path) -> FolderCase:
    """What the worker of a diagnosis writes of a study."""
    sources = {
        name: Source(InputKind.NIFTI, name, Volume(one.geometry, slice_keys(len(one.keys)), one.voxels_kji))
        for name, one in ((name, volume(name)) for name in SEQUENCES)
    }
    study = bring_together({name: one.require_volume() for name, one in sources.items()}, REFERENCE)
    reference = sources[REFERENCE].require_volume()
    reading = Reading(sources[REFERENCE], reference, study, measure_quality(reference))
    case = CaseFile(path, gathered=Gathered(tuple(sources.values()), sources, REFERENCE), reading=reading)
    folder = CaseFolder(path / "case")
    CasePublisher(folder, "Diagnosis").finish(case)
    return FolderCase("d0123456789abcdef", folder)


def test_diagnosis_of_a_study_has_all_of_its_sequences_on_one_grid(tmp_path: Path) -> None:
    case = publish(tmp_path)
    assert [one["name"] for one in case.meta()["sources"]] == [REFERENCE, "FLAIR", "T1", "T2"]
    for name in SEQUENCES:
        described = entry(case, name)
        assert (described["state"], described["is_shown"]) == ("ready", name == REFERENCE)
        assert described["num_slices"] == GRIDS[name].num_slices
        assert_close(values_nji(case, name), name, described)
    assert (
        case.sequence_slices("T2", 4, 2).content == case.sequence_slices("T2", 0, 100).content[2 * 30 * 32 * 4 :][:3840]
    )
    with pytest.raises(CaseNotFound):
        case.sequence_slices("../volume", 0, 1)


def test_diagnosis_keeps_no_voxels_twice_and_the_series_as_they_are_for_other_models(tmp_path: Path) -> None:
    case = publish(tmp_path)
    arrays = {file.name for file in case.folder.path.glob("*.npy")}
    assert arrays == {
        "volume.npy",
        "source-FLAIR.npy",
        *(f"{kind}-{name}.npy" for kind in ("source", "sequence") for name in ("T1", "T2")),
    }
    assert case.sequences[0] == REFERENCE and set(case.sequences) == set(SEQUENCES)
    for name, found in case.sources().items():
        np.testing.assert_array_equal(found.voxels_kji, volume(name).voxels_kji)
        np.testing.assert_allclose(found.geometry.affine_lps, GRIDS[name].affine_lps, atol=1e-9)


# A worker that marks everything, and says which series it was given, and how many slices of each.
WORKER = """
import json, pathlib, sys
import numpy as np
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.pipeline.measure import finish_segmentation
from neuroscan_core.viewer.cases.folder import CaseFolder
from tests.pipeline.stacks import CARD
case = CaseFolder(pathlib.Path(sys.argv[1]))
volume, sources = case.read_volume(), case.read_sources()
labels = np.ones(volume.voxels_kji.shape, np.uint8)
found = finish_segmentation(labels, volume.geometry, volume.keys, CARD)
case.write_segmentation("result", found, ModelIdentity(sys.argv[2], "1", ""), CARD, labels)
print(json.dumps({"engine": " ".join(f"{name}:{len(one.keys)}" for name, one in sources.items())}))
"""


def test_model_of_several_sequences_is_run_on_a_diagnosis_with_the_series_as_they_are(tmp_path: Path) -> None:
    case, cards = publish(tmp_path), find_cards(TINY_MODELS)
    jobs = CompareJobs((sys.executable, "-c", WORKER), cards)
    jobs.start()
    try:
        sid = jobs.submit(case, "unet-tiny")

        def result() -> dict[str, object]:
            found: dict[str, object] = next(one for one in case.meta()["segmentations"] if one["id"] == sid)
            return found

        wait_until(lambda: result()["state"] != "running", "the worker")
        assert (result()["state"], result()["engine"]) == ("final", "T1ce:18 FLAIR:18 T1:20 T2:9"), result()
    finally:
        jobs.stop()


def test_diagnosis_of_one_series_has_nothing_to_choose_from(tmp_path: Path) -> None:
    reference = volume(REFERENCE)
    source = Source(InputKind.NIFTI, "a series", reference)
    reading = Reading(source, reference, None, measure_quality(reference))
    folder = CaseFolder(tmp_path / "case")
    publisher = CasePublisher(folder, "Diagnosis")
    publisher.finish(CaseFile(tmp_path, gathered=Gathered((source,)), reading=reading))
    case = FolderCase("d0123456789abcdef", folder)
    assert (case.meta()["sources"], case.sequences, dict(case.sources())) == ([], (), {})
    with pytest.raises(CaseNotFound):
        case.sequence_slices(REFERENCE, 0, 1)
