"""Cases of the node's series: they grow, survive a restart of the viewer, keep to their memory, and wait for nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from neuroscan_core.domain.errors import CaseConflict, CaseNotFound, CaseNotReady, RejectionCode, RequestRefused
from neuroscan_core.domain.events import SegmentationFailed, SeriesRejected, StudyReady, StudySource
from neuroscan_core.domain.requests import GetSegmentation, Probabilities
from neuroscan_core.viewer.case_ids import series_case_id
from neuroscan_core.viewer.cases.case import Case
from neuroscan_core.viewer.cases.store import WATCHED_S, CaseStore
from tests.viewer.cases.node import SHAPE, Node, completed, key, labels, mask_out, opened, result, slice_in, wait_until

UID, ID = "1.2.3", series_case_id("1.2.3")
N = 30  # more than one batch of a replay


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    with node.serving():
        yield node
    node.bus.close()


def pixels(case: Case, start: int = 0, count: int = 1000) -> np.ndarray:
    block = case.slices(start, count)
    return np.frombuffer(block.content, "<u2").reshape(block.num_slices, *SHAPE)


def segmentation(case: Case, n: int = 0) -> dict[str, Any]:
    entry: dict[str, Any] = case.meta()["segmentations"][n]
    return entry


def wait_for_all(store: CaseStore, num_slices: int = N, state: str = "final") -> Case:
    case = store.get(ID)

    def is_there() -> bool:
        meta = case.meta()
        return meta["num_slices"] == num_slices and [s["state"] for s in meta["segmentations"]][:1] == [state]

    wait_until(is_there, f"{num_slices} slices and a {state} segmentation, not {case.meta()}")
    return case


def assert_whole(case: Case, num_slices: int = N) -> None:
    assert pixels(case)[:, 0, 0].tolist() == list(range(1, num_slices + 1))
    update = case.masks("v1", -1)
    assert update.slices == tuple(range(num_slices))
    assert not update.labels_nji[0].any()
    for k in range(1, num_slices):
        np.testing.assert_array_equal(update.labels_nji[k], labels(k))


# ----------------------------------------------------------------------------------------------------------- growth


def test_case_grows_slice_by_slice_and_mask_by_mask(node: Node) -> None:
    with node.store() as store:
        node.send(store, opened(UID, num_expected=4))
        store.merge(node.list_series().series)
        case = store.get(ID)
        revisions, seen = [store.revision(ID)], -1
        for k in range(4):
            node.send(store, slice_in(UID, k + 1, k))
            wait_until(lambda k=k: case.meta()["num_slices"] == k + 1, "the slice")  # type: ignore[misc]
            node.send(store, mask_out(UID, k, k))
            wait_until(lambda k=k: bool(case.meta()["segmentations"]) and segmentation(case)["num_masks"] == k + 1, "")  # type: ignore[misc]
            update = case.masks("v1", seen)
            assert update.slices == (k,), "only what is new"
            seen = update.revision
            revisions.append(store.revision(ID))
            assert segmentation(case)["state"] == "streaming"
            assert segmentation(case)["labels"][0]["volume_ml"] > 0
        assert case.meta()["num_expected"] == 4
        node.send(store, completed(UID, 5, 4), result(UID, 4))
        assert case.meta()["state"] == "segmented", "known before the list says so"
        assert segmentation(case)["state"] == "final"
        assert case.masks("v1", seen).slices == (0,), "the final label map differs in one slice"
        revisions.append(store.revision(ID))
        assert revisions == sorted(set(revisions))  # type: ignore[type-var]
        assert segmentation(case)["latency_ms"] == 12.0 and segmentation(case)["engine"] == "cpu"


def test_case_that_is_opened_in_the_middle_has_what_came_before(node: Node) -> None:
    with node.store() as store:
        node.send(store, opened(UID))
        for k in range(20):
            node.send(store, slice_in(UID, k + 1, k), mask_out(UID, k, k))
        case = store.get(ID)
        for k in range(20, N):
            node.send(store, slice_in(UID, k + 1, k), mask_out(UID, k, k))
        store.merge(node.list_series().series)
        wait_for_all(store, N, "streaming")
        wait_until(lambda: segmentation(case)["num_masks"] == N, "all masks")
        assert pixels(case)[:, 0, 0].tolist() == list(range(1, N + 1))
        assert case.masks("v1", -1).slices == tuple(range(N))


def test_first_slice_is_there_when_the_case_is_given(node: Node) -> None:
    node.whole(None, UID, N)
    with node.store() as store:
        assert store.get(ID).slices(0, 1).num_slices == 1


def test_masks_that_overtake_their_slices_are_told_when_these_come(node: Node) -> None:
    with node.store() as store:
        node.send(store, opened(UID), slice_in(UID, 1, 0))
        case = store.get(ID)
        node.send(store, mask_out(UID, 0, 0), mask_out(UID, 1, 1))
        wait_until(lambda: bool(case.meta()["segmentations"]) and segmentation(case)["num_masks"] == 2, "the masks")
        before = case.masks("v1", -1)
        assert before.slices == (0,)
        node.send(store, slice_in(UID, 2, 1))
        wait_until(lambda: case.meta()["num_slices"] == 2, "the slice")
        assert case.masks("v1", before.revision).slices == (1,)


def test_late_slice_makes_a_version_of_its_own_and_the_first_can_still_be_compared(node: Node) -> None:
    with node.store() as store:
        node.whole(store, UID, 4)
        store.merge(node.list_series().series)
        case = wait_for_all(store, 4)
        node.send(store, slice_in(UID, 6, 4))
        wait_until(lambda: case.meta()["num_slices"] == 5, "the late slice")
        assert case.meta()["num_expected"] is None, "nobody knows how many will come"
        node.send(store, mask_out(UID, 4, 4))
        wait_until(lambda: len(case.meta()["segmentations"]) == 2, "the next version")
        assert [s["id"] for s in case.meta()["segmentations"]] == ["v2", "v1"]
        assert segmentation(case)["num_masks"] == 5, "the masks of the first version stay until they are replaced"
        node.send(store, completed(UID, 7, 5, version=2), result(UID, 5, version=2))
        assert [s["state"] for s in case.meta()["segmentations"]] == ["final", "final"]
        assert len(case.masks("v1", -1).slices) == 4 and len(case.masks("v2", -1).slices) == 5


def test_series_that_is_rejected_or_fails_says_why(node: Node) -> None:
    with node.store() as store:
        node.send(store, opened(UID), slice_in(UID, 1, 0))
        case = store.get(ID)
        node.states[UID] = "rejected"
        node.send(store, SeriesRejected(UID, 2, RejectionCode.TOO_FEW_SLICES, "Too few.", "Send more."))
        store.merge(node.list_series().series)
        wait_until(lambda: case.meta()["state"] == "rejected", "the rejection")
        assert (case.meta()["reason"], case.meta()["remedy"]) == ("Too few.", "Send more.")
        store.apply(SegmentationFailed(UID, 1, "internal-error", "The network failed."))
        assert (case.meta()["state"], case.meta()["reason"]) == ("failed", "The network failed.")


# ------------------------------------------------------------------------------------------------ restart, recovery


def test_finished_series_is_whole_after_a_restart_of_the_viewer(node: Node) -> None:
    node.whole(None, UID, N)
    del node.masks[UID]  # the segmenter has forgotten its masks
    revisions = []
    for _ in range(2):
        with node.store() as store:
            case = wait_for_all(store)
            assert_whole(case)
            (label,) = segmentation(case)["labels"]
            assert label["volume_ml"] == pytest.approx(result(UID, N).segmentation.measurements[0].volume_ml, abs=1e-3)
            assert {one["kind"] for one in case.meta()["downloads"]} == {"SEG", "SR", "NIfTI", "volume", "PNG"}
            revisions.append((store.revision(ID), segmentation(case)["revision"]))
    assert revisions[1][0] > revisions[0][0] and revisions[1][1] > revisions[0][1], "a browser sees that it is new"  # type: ignore[operator]


def test_older_versions_come_back_too(node: Node) -> None:
    node.whole(None, UID, 4)
    node.send(None, slice_in(UID, 6, 4), completed(UID, 7, 5, version=2), result(UID, 5, version=2))
    with node.store() as store:
        case = store.get(ID)
        wait_until(lambda: [s["id"] for s in case.meta()["segmentations"]] == ["v2", "v1"], "both versions")
        assert {one.version for one in node.asked if isinstance(one, GetSegmentation)} == {1, 2}


def test_case_without_a_gateway_waits_and_goes_on_when_it_is_back() -> None:
    node = Node()
    node.whole(None, UID, N)
    with node.store() as store:
        assert store.get(ID).meta()["num_slices"] == 0
        with node.serving():
            # Time passes only here: the wait before the next attempt is over.
            node.now_s += 15
            assert_whole(wait_for_all(store))
    node.bus.close()


def test_segmentation_that_cannot_be_read_again_leaves_the_images(node: Node) -> None:
    node.whole(None, UID, N)
    node._segmentation = _refuse  # type: ignore[assignment,method-assign]
    other = Node()
    other.__dict__.update({**node.__dict__, "bus": other.bus})
    with other.serving(), other.store() as store:
        case = store.get(ID)
        wait_until(lambda: case.meta()["num_slices"] == N, "the images")
    other.bus.close()


def _refuse(_: object) -> None:
    raise RequestRefused("There is no segmentation of this series.")


# ----------------------------------------------------------------------------------------------------------- memory


def test_case_that_nobody_looks_at_gives_its_memory_to_another(node: Node) -> None:
    uids = [f"1.2.{n}" for n in range(4)]
    for uid in uids:
        node.whole(None, uid, N)
    limit = 2 * N * SHAPE[0] * SHAPE[1] * 2  # two cases and a bit, as masks take some
    with node.store(max_bytes=limit) as store:
        for uid in uids:
            case = store.get(series_case_id(uid))
            wait_until(lambda case=case: case.meta()["num_slices"] == N, "the images")  # type: ignore[misc]
            assert store.num_bytes <= limit + N * SHAPE[0] * SHAPE[1] * 2
            node.now_s += WATCHED_S + 1
        wait_until(lambda: store.num_bytes < limit and store.num_open < len(uids), "memory to be free")
        again = store.get(series_case_id(uids[0]))
        wait_until(lambda: again.meta()["num_slices"] == N, "the first case once more")
        assert pixels(again)[:, 0, 0].tolist() == list(range(1, N + 1))


def test_case_that_does_not_fit_says_so_and_takes_no_more(node: Node) -> None:
    node.whole(None, UID, N)
    limit = 10 * SHAPE[0] * SHAPE[1] * 2
    with node.store(max_bytes=limit) as store:
        case = store.get(ID)
        wait_until(lambda: any("no memory" in text for text in case.meta()["warnings"]), "the warning")
        assert store.num_bytes < limit + 17 * SHAPE[0] * SHAPE[1] * 2, "a batch more at most"
        assert 0 < case.meta()["num_slices"] < N


def test_case_that_is_watched_is_not_closed(node: Node) -> None:
    for uid in (UID, "4.5.6"):
        node.whole(None, uid, N)
    with node.store(max_bytes=(3 * N * SHAPE[0] * SHAPE[1] * 2) // 2) as store:
        wait_for_all(store)
        for _ in range(5):
            node.now_s += WATCHED_S / 2
            assert store.revision(ID) is not None  # a browser that shows it
            store.get(series_case_id("4.5.6"))
        assert store.get(ID).meta()["num_slices"] == N


def test_comparison_outlives_the_case_in_memory(node: Node) -> None:
    for uid in (UID, "4.5.6"):
        node.whole(None, uid, N)
    with node.store(max_bytes=3 * N * SHAPE[0] * SHAPE[1]) as store:
        case = wait_for_all(store)
        volume = case.volume()
        sid = case.announce("tiny", "1.0")
        found = result(UID, N)
        case.add_segmentation(found.segmentation, found.model, None, np.full(volume.geometry.shape, 9, np.uint8), sid)
        node.now_s += WATCHED_S + 1
        other = store.get(series_case_id("4.5.6"))
        wait_until(lambda: other.meta()["num_slices"] == N, "the other case")
        node.now_s += WATCHED_S + 1
        again = wait_for_all(store)
        assert again is not case
        assert sid in [entry["id"] for entry in again.meta()["segmentations"]]
        assert (again.probabilities(sid) == 9).all()
        assert again.announce("tiny", "1.0") != sid


# ------------------------------------------------------------------------------------------------ what else is asked


@pytest.mark.parametrize("case_id", ["s0000000000000000", "d0123456789abcdef", "", "../..", UID])
def test_unknown_cases_are_not_found(node: Node, case_id: str) -> None:
    with node.store() as store:
        assert store.revision(case_id) is None
        with pytest.raises(CaseNotFound):
            store.get(case_id)


def test_unknown_segmentations_and_downloads_are_not_found(node: Node) -> None:
    node.whole(None, UID, N)
    with node.store() as store:
        case = wait_for_all(store)
        for ask in (
            lambda: case.masks("v9", -1), lambda: case.probabilities("v9"), lambda: case.surface("v9"),
            lambda: case.download("SEG", "v9"), lambda: case.download("EXE"), lambda: case.download("PNG", None, N),
        ):  # fmt: skip
            with pytest.raises(CaseNotFound):
                ask()


def test_files_are_those_of_the_version_that_was_asked_for(node: Node) -> None:
    node.whole(None, UID, 4)
    node.send(None, slice_in(UID, 6, 4), completed(UID, 7, 5, version=2), result(UID, 5, version=2))
    with node.store() as store:
        case = store.get(ID)
        wait_until(lambda: len(case.meta()["segmentations"]) == 2, "both versions")
        assert case.download("SEG", "v1").content == b"DICM 1.2.3.SEG.1"
        assert case.download("SR").content == b"DICM 1.2.3.SR.2"
        assert UID not in case.download("SEG", "v1").name


def test_probabilities_are_those_of_the_segmenter_by_arrival(node: Node) -> None:
    node.send(None, opened(UID))
    order = [2, 0, 3, 1]
    for n, k in enumerate(order):
        node.send(None, slice_in(UID, n + 1, k))
    node.send(None, completed(UID, 5, 4), result(UID, 4))
    values_kji = np.stack([np.full(SHAPE, 10 * k, np.uint8) for k in range(4)])
    replies = [
        Probabilities("computing", 0.5, 0, (), np.zeros((0, 0, 0), np.uint8)),
        Probabilities("ready", 1.0, 1, tuple(key(UID, k) for k in range(4)), values_kji),
    ]
    node.probabilities = lambda _: replies.pop(0)
    with node.store() as store:
        case = wait_for_all(store, 4)
        assert segmentation(case)["has_probabilities"]
        with pytest.raises(CaseNotReady) as waiting:
            case.probabilities("v1")
        assert waiting.value.progress == 0.5
        assert case.probabilities("v1")[:, 0, 0].tolist() == [10 * k for k in order]
        assert case.probabilities("v1").shape == (4, *SHAPE), "kept: it is not asked for again"


def test_volume_is_complete_or_refused(node: Node) -> None:
    with node.store() as store:
        node.send(store, opened(UID), slice_in(UID, 1, 1))
        case = store.get(ID)
        with pytest.raises(CaseConflict):
            case.volume()
        node.send(store, slice_in(UID, 2, 0), completed(UID, 3, 2))
        wait_until(lambda: case.meta()["is_complete"], "the end")
        assert case.volume().voxels_kji[:, 0, 0].tolist() == [1, 2], "along the normal, not by arrival"


def test_slices_of_another_size_are_left_out_and_that_is_said(node: Node) -> None:
    with node.store() as store:
        node.send(store, opened(UID), slice_in(UID, 1, 0), slice_in(UID, 2, 1, (5, 5)), slice_in(UID, 3, 2))
        case = store.get(ID)
        wait_until(lambda: case.meta()["num_slices"] == 2, "the slices")
        assert "1 images of another size are not shown." in case.meta()["warnings"]


def test_surface_and_head_follow_what_is_there(node: Node) -> None:
    node.whole(None, UID, N)
    with node.store() as store:
        case = wait_for_all(store)
        (part,) = case.surface("v1")
        wanted = result(UID, N).segmentation.measurements[0].volume_ml
        assert part.volume_ml == pytest.approx(wanted, rel=0.15)  # corners of a box are rounded
        assert case.surface("v1")[0] is part, "kept"
        (head,) = case.head_surface()
        assert len(head.triangles_t3) > 0


def test_study_shows_the_slices_of_its_reference(node: Node) -> None:
    study = "9.9"
    node.whole(None, UID, 4)
    node.whole(None, "4.5.6", 3)
    sources = tuple(
        StudySource(name, uid, 1, completed(uid, 0, n).manifest, completed(uid, 0, n).geometry)
        for name, uid, n in (("T1", "4.5.6", 3), ("FLAIR", UID, 4))
    )
    node.send(None, StudyReady(study, 0, "tiny", sources, "FLAIR", warnings=("They overlap by half.",)))
    found = result(UID, 4)
    node.send(None, type(found)(study, 1, found.segmentation, found.model))
    node.states[study] = "segmented"
    with node.store() as store:
        case = store.get(series_case_id(study))
        wait_until(lambda: case.meta()["num_slices"] == 4 and bool(case.meta()["segmentations"]), "the reference")
        meta = case.meta()
        assert [one["name"] for one in meta["sources"]] == ["FLAIR", "T1"]
        assert meta["warnings"] == ["They overlap by half."]
        assert case.masks("v1", -1).slices == (0, 1, 2, 3)
        assert {name: len(volume.keys) for name, volume in case.sources().items()} == {"FLAIR": 4, "T1": 3}
        assert case.sequences == ("T1", "FLAIR")


# ------------------------------------------------------------------------------------------------------- many at once


def test_many_readers_of_a_growing_case_see_nothing_that_contradicts_itself(node: Node) -> None:
    faults: list[str] = []
    over = threading.Event()

    def read(store: CaseStore) -> None:
        here, seen = np.zeros((N, *SHAPE), np.uint8), -1
        while not over.is_set():
            case = store.get(ID)
            meta = case.meta()
            if len(meta["positions_mm"]) != meta["num_slices"]:
                faults.append("positions")
            loaded = pixels(case)
            if len(loaded) < meta["num_slices"] or loaded[:, 0, 0].tolist() != list(range(1, len(loaded) + 1)):
                faults.append("slices")
            if meta["segmentations"]:
                update = case.masks("v1", seen)
                if update.revision < seen:
                    faults.append("revision")
                here[list(update.slices)] = update.labels_nji
                seen = update.revision
        update = store.get(ID).masks("v1", seen)
        here[list(update.slices)] = update.labels_nji
        if not np.array_equal(here, store.get(ID).masks("v1", -1).labels_nji):
            faults.append("masks")

    with node.store() as store:
        node.send(store, opened(UID))
        readers = [threading.Thread(target=read, args=(store,)) for _ in range(4)]
        for reader in readers:
            reader.start()
        for k in range(N):
            node.send(store, slice_in(UID, k + 1, k), mask_out(UID, k, k))
        node.send(store, completed(UID, N + 1, N), result(UID, N))
        store.merge(node.list_series().series)
        wait_for_all(store)
        over.set()
        for reader in readers:
            reader.join(20)
        assert faults == []
        assert_whole(store.get(ID))
