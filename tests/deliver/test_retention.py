"""What is purged, what never is, and what a crash in between leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_gateway.archive import Archive
from dicom_gateway.deliver import Retention, retention, revive
from dicom_gateway.journal import DeliveryState, SeriesState
from neuroscan_core.domain.errors import StorageError
from tests.deliver.world import MR, World, eventually, write_object

HOUR_S = 3600.0


def purge(world: World) -> retention.PurgeReport:
    return Retention(world.config, world.journal, clock=world.clock).purge(world.clock())


def files(world: World) -> list[Path]:
    return [path for root in (world.config.spool_dir, world.config.results_dir) for path in root.rglob("*")]


def test_a_delivered_series_is_purged_when_it_is_old(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    uid = world.add()
    world.delivery().run_once()
    world.clock.now_s += 71 * HOUR_S
    assert purge(world).num_series == 0
    world.clock.now_s += 2 * HOUR_S
    report = purge(world)
    assert (report.num_series, report.num_files) == (1, 3)
    assert report.num_bytes > 0
    assert files(world) == []
    assert world.series().state is SeriesState.PURGED
    assert world.journal.instances("2.25.77") == []
    assert [result.sop_uid for result in world.journal.results("2.25.77")] == [uid], "the row stays for the operator"
    assert purge(world).num_series == 0, "and once is enough"


@pytest.mark.parametrize("state", [SeriesState.RECEIVING, SeriesState.COMPLETE, SeriesState.SEGMENTING])
def test_an_open_series_is_never_purged(world: World, state: SeriesState) -> None:
    world.add_series("2.25.77", state)
    world.clock.now_s += 10_000 * HOUR_S
    assert purge(world).num_series == 0
    assert files(world)


def test_an_undelivered_result_keeps_its_series(world: World, archive: Archive) -> None:
    archive.stop()
    world.configure(archive.port)
    world.add()
    world.delivery().run_once()
    world.clock.now_s += 10_000 * HOUR_S
    assert purge(world).num_series == 0


def test_a_result_queued_before_its_series_counts_as_delivering_keeps_it(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    world.add()
    world.clock.now_s += 10_000 * HOUR_S
    assert purge(world).num_series == 0


def test_without_commitment_a_series_is_kept_where_it_is_required(world: World, archive: Archive) -> None:
    world.configure(archive.port, storage_commitment=True)
    uid = world.add()
    delivery = world.delivery()
    archive.faults.failure_reason = 0
    world.journal.update_delivery(world.row(uid).id, state=DeliveryState.DELIVERED, next_attempt_at_s=1e12)
    world.journal.record("2.25.77", state=SeriesState.DELIVERED, finished_at_s=world.clock())
    world.clock.now_s += 100 * HOUR_S
    report = purge(world)
    assert (report.num_series, report.num_uncommitted) == (0, 1)

    world.journal.update_delivery(world.row(uid).id, state=DeliveryState.QUEUED, next_attempt_at_s=0)
    delivery.run_once()
    eventually(lambda: world.series().state is SeriesState.COMMITTED)
    world.clock.now_s += 100 * HOUR_S
    assert purge(world).num_series == 1


def test_commitment_is_not_waited_for_where_it_is_not_required(world: World, archive: Archive) -> None:
    world.configure(archive.port, storage_commitment=True)
    world.destinations([world.config.destinations[0].model_dump()], retention={"require_commitment": False})
    uid = world.add()
    world.journal.update_delivery(world.row(uid).id, state=DeliveryState.DELIVERED)
    world.journal.record("2.25.77", state=SeriesState.DELIVERED, finished_at_s=world.clock())
    world.clock.now_s += 100 * HOUR_S
    assert purge(world).num_series == 1


@pytest.mark.parametrize("state", [SeriesState.REJECTED, SeriesState.FAILED, SeriesState.DEAD_LETTER])
def test_what_ended_badly_is_kept_longer(world: World, state: SeriesState) -> None:
    world.add_series("2.25.77", state)
    world.clock.now_s += 700 * HOUR_S
    assert purge(world).num_series == 0
    world.clock.now_s += 21 * HOUR_S
    assert purge(world).num_series == 1


@pytest.mark.parametrize("state", [SeriesState.IGNORED, SeriesState.SEGMENTED])
def test_what_needs_no_delivery_is_purged_in_time(world: World, state: SeriesState) -> None:
    world.add_series("2.25.77", state)
    world.clock.now_s += 73 * HOUR_S
    assert purge(world).num_series == 1


@pytest.mark.parametrize("num_removed", [0, 1, 2])
def test_a_crash_in_a_purge_is_made_good(world: World, monkeypatch: pytest.MonkeyPatch, num_removed: int) -> None:
    """The process dies after the series was marked and `num_removed` of its files are gone."""
    world.add_series("2.25.77", SeriesState.IGNORED, num_slices=3)
    world.clock.now_s += 100 * HOUR_S
    removed = []

    def dies(path: Path) -> int | None:
        if len(removed) == num_removed:
            raise KeyboardInterrupt
        removed.append(path)
        path.unlink()
        return 1

    with monkeypatch.context() as patched:
        patched.setattr(retention, "_unlink", dies)
        with pytest.raises(KeyboardInterrupt):
            purge(world)
    assert world.series().state is SeriesState.PURGED
    assert len(world.journal.instances("2.25.77")) == 3, "what is on disk is still known"

    assert purge(world).num_files == 3 - num_removed
    assert files(world) == []
    assert world.journal.instances("2.25.77") == []


def test_a_slice_that_comes_again_after_a_crash_in_a_purge_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_series("2.25.77", SeriesState.IGNORED)
    world.clock.now_s += 100 * HOUR_S
    with monkeypatch.context() as patched:
        patched.setattr(retention, "_unlink", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            purge(world)
    new = world.config.spool_dir / "2.25.77" / "new.dcm"
    uid = write_object(new, MR)
    world.receive(uid, "2.25.77", "2.25.77/new.dcm")
    purge(world)
    assert new.exists()
    assert [record.sop_uid for record in world.journal.instances("2.25.77")] == [uid]


def test_a_purged_result_cannot_be_revived(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    uid = world.add()
    world.journal.update_delivery(world.row(uid).id, state=DeliveryState.DEAD_LETTER)
    world.journal.record("2.25.77", state=SeriesState.DEAD_LETTER)
    world.clock.now_s += 1000 * HOUR_S
    assert purge(world).num_series == 1
    assert revive(world.journal, "all", world.clock()) == 0


def test_a_file_that_cannot_be_removed_holds_up_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for uid in ("2.25.1", "2.25.2"):
        world.add_series(uid, SeriesState.IGNORED)
    world.clock.now_s += 100 * HOUR_S
    remove = retention._unlink

    def fails_for_one(path: Path) -> int | None:
        if "2.25.1" in path.parts:
            raise StorageError("no")
        return remove(path)

    purger = Retention(world.config, world.journal, clock=world.clock)
    with monkeypatch.context() as patched:
        patched.setattr(retention, "_unlink", fails_for_one)
        assert purger.purge().num_series == 1
    assert purger.purge().num_series == 1, "and it is tried again"
    assert files(world) == []
