"""Sessions, throttle and audit trail by themselves, with clocks that only the test turns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.viewer.security.audit import NUM_OLD_FILES, AuditTrail
from neuroscan_core.viewer.security.hosts import host_name, is_loopback, is_same_origin
from neuroscan_core.viewer.security.sessions import Sessions
from neuroscan_core.viewer.security.throttle import FREE_FAILURES, MAX_WAIT_S, Throttle


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_session_ends_after_idleness_or_age_whichever_is_first() -> None:
    clock = Clock()
    sessions = Sessions(idle_s=60, lifetime_s=200, monotonic=clock)
    idle, busy = sessions.begin(), sessions.begin()
    for _ in range(3):
        clock.now_s += 50
        assert sessions.find(busy.id) is busy
    assert sessions.find(idle.id) is None
    clock.now_s += 50
    assert sessions.find(busy.id) is None, "it was used all the time, and is too old"


def test_what_a_page_asks_by_itself_does_not_keep_a_session_alive() -> None:
    clock = Clock()
    sessions = Sessions(idle_s=60, lifetime_s=1000, monotonic=clock)
    session = sessions.begin()
    for _ in range(5):
        clock.now_s += 11
        assert sessions.find(session.id, is_activity=False) is session
    clock.now_s += 11
    assert sessions.find(session.id, is_activity=False) is None


def test_sessions_are_bounded_and_the_one_used_longest_ago_goes() -> None:
    clock = Clock()
    sessions = Sessions(idle_s=60, lifetime_s=1000, monotonic=clock, max_sessions=3)
    first, second, third = (sessions.begin() for _ in range(3))
    sessions.find(first.id)
    fourth = sessions.begin()
    assert sessions.find(second.id) is None
    assert all(sessions.find(kept.id) is kept for kept in (first, third, fourth))


def test_no_two_sessions_share_anything_and_none_shows_its_secrets() -> None:
    sessions = Sessions(idle_s=60, lifetime_s=1000, monotonic=Clock())
    made = [sessions.begin() for _ in range(50)]
    assert len({value for session in made for value in (session.id, session.csrf)}) == 100
    assert made[0].id not in repr(made[0]) and made[0].csrf not in repr(made[0])


def test_waits_double_up_to_a_limit_and_end_with_a_success() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(FREE_FAILURES):
        throttle.fail("192.0.2.1")
        assert throttle.wait_s("192.0.2.1") == 0
    waits = []
    for _ in range(12):
        throttle.fail("192.0.2.1")
        waits.append(throttle.wait_s("192.0.2.1"))
        assert throttle.wait_s("192.0.2.2") == 0, "others do not wait"
    assert waits[:4] == [2, 4, 8, 16] and waits[-1] == MAX_WAIT_S
    clock.now_s += MAX_WAIT_S
    assert throttle.wait_s("192.0.2.1") == 0
    throttle.succeed("192.0.2.1")
    throttle.fail("192.0.2.1")
    assert throttle.wait_s("192.0.2.1") == 0


def test_addresses_of_one_ipv6_network_wait_together() -> None:
    throttle = Throttle(Clock())
    for n in range(FREE_FAILURES + 1):
        throttle.fail(f"2001:db8::{n:x}")
    assert throttle.wait_s("2001:db8::ffff") > 0
    assert throttle.wait_s("2001:db8:0:1::1") == 0
    for _ in range(FREE_FAILURES + 1):
        throttle.fail("::ffff:192.0.2.9")
    assert throttle.wait_s("192.0.2.9") > 0


def test_the_audit_trail_gives_way_to_a_new_file_and_keeps_some_old_ones(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, clock=lambda: 1e9, max_file_bytes=400)
    for number in range(60):
        trail.note("login", number=number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["audit.log", *(f"audit.log.{n}" for n in range(1, NUM_OLD_FILES + 1))]
    assert all(path.stat().st_size <= 400 for path in tmp_path.iterdir())
    newest_first = [tmp_path / name for name in names]
    numbers = [json.loads(line)["number"] for path in reversed(newest_first) for line in path.read_text().splitlines()]
    assert numbers == list(range(60 - len(numbers), 60)), "in order, without a gap"


def test_an_entry_is_one_line_whatever_it_holds(tmp_path: Path) -> None:
    AuditTrail(tmp_path, clock=lambda: 1e9).note("login", address="a\nb", kind="x\r\n{}")
    [line] = (tmp_path / "audit.log").read_text().splitlines()
    entry = json.loads(line)
    assert entry == {"at": "2001-09-09T01:46:40.000+00:00", "action": "login", "address": "a\nb", "kind": "x\r\n{}"}


def test_a_folder_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="audit trail"):
        AuditTrail(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.0.2.1", False), ("node.example", False), ("localhost.example", False), ("", False)],
)  # fmt: skip
def test_knows_which_addresses_mean_this_machine_alone(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


def test_host_and_origin_are_read_as_browsers_write_them() -> None:
    assert [host_name(text) for text in ("A.example:80", "[::1]:8080", "[::1]", " x ")] == [
        "a.example",
        "::1",
        "::1",
        "x",
    ]
    assert is_same_origin("http://node:8080", "Node:8080") and is_same_origin("https://node", "node")
    for origin in ("null", "", "http://node:81", "http://evil", "file://node:8080", "http://node:8080/x"):
        assert not is_same_origin(origin, "node:8080"), origin
