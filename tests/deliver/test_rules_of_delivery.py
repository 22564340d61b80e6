"""Backoff, breaker, statuses, and who gets which result: no network."""

from __future__ import annotations

import random

import pytest

from dicom_gateway.deliver import queue_for, revive
from dicom_gateway.deliver.backoff import Backoff, BreakerState, CircuitBreaker
from dicom_gateway.deliver.store import Verdict, explain, judge
from dicom_gateway.journal import DeliveryState, ResultRecord, SeriesState
from neuroscan_core.config import DestinationConfig, SegFormat
from tests.deliver.world import LABEL_MAP, SEG, SR, World


def test_waits_double_up_to_the_longest_and_keep_half_as_jitter(source: random.Random) -> None:
    backoff = Backoff(1.0, 60.0, source)
    for k, nominal_s in enumerate([1, 2, 4, 8, 16, 32, 60, 60], start=1):
        waits = [backoff.delay_s(k) for _ in range(200)]
        assert nominal_s / 2 <= min(waits) < max(waits) <= nominal_s
    assert backoff.delay_s(10_000) <= 60.0


def test_the_breaker_opens_after_failures_in_a_row_and_probes(source: random.Random) -> None:
    breaker = CircuitBreaker(3, Backoff(10.0, 10.0, source))
    for _ in range(2):
        breaker.failed(0.0)
    breaker.succeeded()
    for now_s in (0.0, 20.0):
        breaker.failed(now_s)
        assert breaker.state is BreakerState.CLOSED
    breaker.failed(40.0)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.permits(44.0)
    assert breaker.permits(50.0)
    breaker.probe()
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.failed(50.0)
    assert breaker.state is BreakerState.OPEN
    assert not breaker.permits(50.0)
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.permits(50.0)


def test_every_status_has_a_verdict_and_a_sentence() -> None:
    for status in range(0x10000):
        verdict = judge(status)
        if status >> 8 == 0xA7:
            assert verdict is Verdict.TRY_AGAIN
        elif status >> 8 == 0xA9 or status >> 12 == 0xC:
            assert verdict is Verdict.REFUSED
        elif status >> 12 == 0xB or status == 0:
            assert verdict is Verdict.STORED
        else:
            assert verdict is not Verdict.STORED or status == 0x0111
        assert f"0x{status:04X}" in explain(status)


def result(uid: str, kind: str = "SEG", sop_class_uid: str = SEG, summary: str = "") -> ResultRecord:
    return ResultRecord(uid, "2.25.77", 1, kind, sop_class_uid, f"{uid}.dcm", summary, 0.0)


def destination(name: str, **changes: object) -> DestinationConfig:
    return DestinationConfig.model_validate({"name": name, "host": "127.0.0.1", **changes})


def test_each_destination_gets_its_kinds_in_its_format() -> None:
    results = [
        result("1"),
        result("2", sop_class_uid=LABEL_MAP),
        result("3", summary="FRACTIONAL, 1 segment"),
        result("4", "SR", SR),
        result("5", "SC"),
    ]
    destinations = [
        destination("binary", send=["SEG"]),
        destination("labels", seg_format=SegFormat.LABELMAP, send=["SEG", "SR"]),
        destination("soft", seg_format=SegFormat.FRACTIONAL, send=["SEG", "SC"]),
        destination("nothing", send=[]),
    ]
    assert queue_for(results, destinations) == [
        ("1", "binary"), ("2", "labels"), ("4", "labels"), ("3", "soft"), ("5", "soft"),
    ]  # fmt: skip


def test_another_format_is_better_than_no_result() -> None:
    assert queue_for([result("1")], [destination("labels", seg_format=SegFormat.LABELMAP)]) == [("1", "labels")]


@pytest.mark.parametrize(("selector", "num_expected"), [("all", 3), ("pacs", 3), ("2.25.77", 2), ("other", 0)])
def test_revives_what_the_operator_selects(world: World, selector: str, num_expected: int) -> None:
    world.configure(1)
    uids = [world.add(), world.add("SR", SR), world.add(series_uid="2.25.78")]
    for uid in uids:
        world.journal.update_delivery(world.row(uid).id, state=DeliveryState.DEAD_LETTER, attempts=9)
    world.journal.record("2.25.77", state=SeriesState.DEAD_LETTER)
    assert revive(world.journal, selector, 7.0) == num_expected
    queued = world.journal.deliveries(states=[DeliveryState.QUEUED], due_at_s=7.0)
    assert [row.attempts for row in queued] == [0] * num_expected
    assert world.journal.deliveries(states=[DeliveryState.DELIVERED]) == []


def test_revives_a_single_result_and_what_waits_for_its_next_attempt(world: World) -> None:
    world.configure(1)
    uid, other = world.add(), world.add("SR", SR)
    world.journal.update_delivery(world.row(uid).id, next_attempt_at_s=1e9, attempts=4)
    assert revive(world.journal, uid, 7.0) == 1
    assert world.row(uid).next_attempt_at_s == 7.0
    assert world.row(other).next_attempt_at_s == world.clock()
