"""Errors of rclpy as errors of the bus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from neuroscan_core.domain.errors import BusError


@contextmanager
def ros_errors(what: str) -> Iterator[None]:
    """Turn what rclpy raises where its context has ended, or DDS refuses, into a `BusError`."""
    try:
        yield
    except RuntimeError as exc:  # all errors of rcl and of destroyed handles derive from it
        raise BusError(
            f"ROS refused to {what}: {exc}.", remedy="Check that the node still runs and that its domain can be used."
        ) from exc
