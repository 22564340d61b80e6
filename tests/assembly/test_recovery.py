"""Whatever point the process ends at, the next one on the same journal makes every event exactly once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.assembly import SpooledObject
from dicom_gateway.journal import SeriesState
from neuroscan_core.domain.events import SeriesCompleted, SliceReceived

Make = Callable[..., Any]

LIFE = """
import sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from dicom_gateway.assembly import SeriesAssembler, SpooledObject
from dicom_gateway.journal import Journal
from dicom_gateway.rules import RuleSet
from neuroscan_core import crashpoints
from neuroscan_core.config import NodeConfig, RuleConfig

folder, point, after = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config = NodeConfig(state_dir=folder, rules=(RuleConfig(name="all", model="some-model"),))
journal = Journal(config.journal_path)
assembler = SeriesAssembler(
    config, journal, lambda event: None, RuleSet(config.rules), registry=CollectorRegistry()
)
crashpoints.arm(point, after=after)
for record in journal.unassembled():
    assembler.stored(SpooledObject(record, config.spool_dir / record.path))
    assembler.drain(60)
assembler.association_closed("a", released=True)
assembler.drain(60)
"""


def die_at(bench: Any, point: str, after: int) -> None:
    """Assemble what is stored in a process of its own that is killed at a crash point."""
    outcome = subprocess.run(
        [sys.executable, "-c", LIFE, str(bench.config.state_dir), point, str(after)],
        cwd=Path(__file__).parents[2], capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr.decode()


@pytest.mark.parametrize(
    ("point", "after"),
    [("assembly.before-record", 1), ("assembly.before-record", 4), ("assembly.after-record", 1),
     ("assembly.after-record", 6), ("assembly.after-complete", 1)],
)  # fmt: skip
def test_a_killed_process_loses_and_doubles_nothing(make_bench: Make, make_slice: Make, point: str, after: int) -> None:
    bench = make_bench(min_slices=5)
    bench.assembler.close()
    for k in (3, 0, 4, 1, 2):
        bench.keep(make_slice(k, ImagesInAcquisition=5))
    die_at(bench, point, after)

    bench.start().recover()
    bench.settle()
    recorded = bench.journal.events("1.2.1")
    assert [record.sequence for record in recorded] == list(range(7))
    assert [record.kind for record in recorded] == ["SeriesOpened", *["SliceReceived"] * 5, "SeriesCompleted"]
    assert {record.sop_uid for record in recorded[1:6]} == {f"1.2.1.{k}" for k in range(1, 6)}
    assert bench.row().state is SeriesState.COMPLETE and bench.row().version == 1
    assert bench.journal.unassembled() == []

    replayed = bench.assembler.replay("1.2.1", 0, 100).in_order
    assert [event.sequence for event in replayed] == list(range(7))
    assert isinstance(replayed[-1], SeriesCompleted) and len(replayed[-1].manifest) == 5
    # What the first life recorded is not published again: the heartbeat says how many events there are.
    assert bench.assembler.heartbeat().open_series[0].num_events == 7
    sequences = [event.sequence for event in bench.events()]
    assert sequences == list(range(7))[7 - len(sequences) :]
    assert {header.SOPInstanceUID for _, header in bench.headers} == {f"1.2.1.{k}" for k in range(1, 6)}


def restart(bench: Any) -> None:
    bench.assembler.close()
    bench.published.clear()
    bench.headers.clear()
    bench.start().recover()
    bench.settle()


def test_associations_of_the_dead_process_are_not_released(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(4)])
    restart(bench)
    assert bench.events() == []
    bench.wait(9)
    assert bench.events() == []  # silence counts from the restart on
    bench.wait(2)
    assert bench.kinds() == ["Completed"] and bench.events()[0].reason == "quiet"


def test_a_series_goes_on_after_a_restart(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k, ImagesInAcquisition=6) for k in range(3)])
    waiting = bench.keep(make_slice(3, ImagesInAcquisition=6))
    restart(bench)
    assert len(bench.headers) == 4
    bench.send(make_slice(4, ImagesInAcquisition=6), association="b")
    bench.send(make_slice(5, ImagesInAcquisition=6), association="b")
    assert bench.kinds() == ["Slice", "Slice", "Slice", "Completed"]
    assert bench.events()[0].key.sop_instance_uid == waiting.record.sop_uid
    assert [event.sequence for event in bench.events()] == [4, 5, 6, 7]


def test_a_restart_in_silence_gives_up_in_the_end(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in (0, 1, 3)])
    bench.clock.now_s += 1000
    restart(bench)
    assert bench.events() == []
    bench.wait(130)
    assert bench.kinds() == ["Rejected"]


def test_a_complete_series_stays_complete_over_a_restart(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(4)])
    bench.close()
    restart(bench)
    bench.wait(300)
    assert bench.events() == [] and len(bench.headers) == 4
    assert bench.assembler.heartbeat().open_series[0].num_events == 6


def test_an_object_that_waited_for_a_restart_can_be_unreadable(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(3)])
    stored = bench.keep(make_slice(3))
    stored.path.write_bytes(b"damaged")
    restart(bench)
    assert bench.kinds() == ["Rejected"] and bench.events()[0].code.value == "undecodable"
    assert bench.journal.unassembled() == []


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_half_a_multi_frame_object_is_finished(make_bench: Make, mr_data: Path) -> None:
    bench = make_bench()
    stored = bench.keep((mr_data / "siemens_prisma_xa30_enhanced_t1w").iterdir().__next__().read_bytes())
    series = stored.record.series_uid
    bench.assembler.close()
    die_at(bench, "assembly.after-record", 4)  # opening, and three times sixteen frames
    assert bench.journal.num_events(series) == 49
    bench.start().recover()
    bench.settle()
    keys = [(r.sop_uid, r.frame_number) for r in bench.journal.events(series) if r.kind == "SliceReceived"]
    assert [frame for _, frame in keys] == list(range(1, 97))
    assert bench.kinds(series) == [*["Slice"] * 48, "Completed"]
    assert bench.events(series)[-1].reason == "object"


def test_a_replay_gives_slices_as_they_were(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k, RescaleSlope="0.5") for k in (2, 0, 1)])
    bench.close()
    live = bench.events()
    again = bench.assembler.replay("1.2.1", 0, 100).in_order
    assert [type(event) for event in again] == [type(event) for event in live]
    for a, b in zip(live, again, strict=True):
        if isinstance(a, SliceReceived):
            assert (a.key, a.geometry, a.received_at_s, a.sequence) == (b.key, b.geometry, b.received_at_s, b.sequence)
            assert a.pixels_ji.tobytes() == b.pixels_ji.tobytes()
        else:
            assert vars(a) == vars(b)


@pytest.mark.parametrize(("start", "limit", "expected"), [(0, 2, [0, 1]), (3, 16, [3, 4]), (5, 16, []), (1, 1, [1])])
def test_a_replay_begins_and_ends_where_asked(
    bench: Any, make_slice: Make, start: int, limit: int, expected: list[int]
) -> None:
    bench.send_all([make_slice(k) for k in range(3)])
    bench.close()
    assert [event.sequence for event in bench.assembler.replay("1.2.1", start, limit).in_order] == expected


def test_stored_objects_may_come_without_their_bytes(bench: Any, make_slice: Make) -> None:
    for k in range(3):
        bench.send(make_slice(k), in_memory=False)
    bench.close()
    assert bench.kinds() == ["Opened", *["Slice"] * 3, "Completed"]
    stored = bench.keep(make_slice(3))
    bench.assembler.stored(SpooledObject(stored.record, stored.path))
    bench.settle()
    assert bench.kinds()[-1] == "Slice"
