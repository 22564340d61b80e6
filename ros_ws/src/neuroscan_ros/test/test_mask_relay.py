"""Masks on their way from the display to the status page."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from neuroscan_ros.mask_relay import MaskRelay

from tests.bus.series import PATIENCE_S, mask_ready


def test_no_mask_is_lost_though_the_taker_is_slower_than_the_giver() -> None:
    relay = MaskRelay(max_waiting=2)
    masks = [mask_ready("1.2", number) for number in range(20)]
    giver = threading.Thread(target=lambda: [relay.put(mask) for mask in masks])
    giver.start()
    assert [relay.receive(PATIENCE_S) for _ in masks] == masks
    giver.join(PATIENCE_S)
    assert not giver.is_alive() and relay.receive(0.0) is None


def test_whoever_waits_goes_on_when_it_is_closed() -> None:
    relay = MaskRelay(max_waiting=1)
    relay.put(mask_ready("1.2", 0))
    giver = threading.Thread(target=relay.put, args=(mask_ready("1.2", 1),))
    giver.start()
    relay.close()
    giver.join(PATIENCE_S)
    assert not giver.is_alive()
    empty = MaskRelay()
    takers = [threading.Thread(target=empty.receive) for _ in range(2)]
    for taker in takers:
        taker.start()
    empty.close()
    for taker in takers:
        taker.join(PATIENCE_S)
        assert not taker.is_alive()
