"""Two processes for tests that kill them: ``publish STATE_DIR NUM_SLICES DIE_AT`` and ``receive STATE_DIR``.

The publisher writes every event to its journal (a line in a file) before it publishes it, and goes on where its
journal ends; the receiver prints what its feed hands out.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from neuroscan_core.bus import open_bus
from neuroscan_core.bus.feed import SeriesFeed
from neuroscan_core.config import LogConfig, load_config
from neuroscan_core.domain.events import GATEWAY, SEGMENTER, SeriesEvent
from neuroscan_core.log import configure_logging
from tests.bus.series import FakeGateway, whole_series

SERIES = ("1.1", "1.2", "1.3")
BEAT_S = 0.1


def publish(state_dir: Path, num_slices: int, die_at: int) -> None:
    """Publish series side by side; die when the event number `die_at` is journaled but not published."""
    journal = state_dir / "journal.txt"
    events = zip(*(whole_series(uid, num_slices) for uid in SERIES), strict=True)
    pending = [event for together in events for event in together]
    num_done = len(journal.read_text().splitlines()) if journal.exists() else 0
    with open_bus_of(state_dir, GATEWAY) as bus, journal.open("a") as lines:
        gateway = FakeGateway(bus)
        gateway.keep(*pending[:num_done])
        pace = threading.Event()
        with gateway.serving():
            for k in range(num_done, len(pending)):
                lines.write(f"{pending[k].series_instance_uid} {pending[k].sequence}\n")
                lines.flush()
                if k == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                if k > 0:
                    gateway.tell(pending[k])
                else:
                    gateway.keep(pending[k])  # so that the receiver asks for it, and is there when the series goes on
                while k == 0 and not gateway.replays:
                    gateway.beat()
                    pace.wait(BEAT_S)
                if k % 20 == 0:
                    gateway.beat()
                    pace.wait(0.02)
            while not pace.wait(BEAT_S):
                gateway.beat()


def receive(state_dir: Path) -> None:
    """Print every event that comes."""
    with open_bus_of(state_dir, SEGMENTER) as bus, SeriesFeed(bus, capacity=16) as feed:
        while True:
            event = feed.receive(1.0)
            if isinstance(event, SeriesEvent):
                print(event.series_instance_uid, event.sequence, flush=True)


def open_bus_of(state_dir: Path, role: str):  # type: ignore[no-untyped-def]
    """Bus of a process by the configuration in its folder, or under ROS in the domain that a file there names."""
    domain = state_dir / "ros_domain"
    if domain.exists():
        from neuroscan_ros.bus import open_ros2_bus

        return open_ros2_bus(role, domain_id=int(domain.read_text()))
    return open_bus(load_config(state_dir / "node.yaml"), role)


if __name__ == "__main__":
    configure_logging(LogConfig(), process=sys.argv[1])  # standard output is for the events
    if sys.argv[1] == "publish":
        publish(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        receive(Path(sys.argv[2]))
