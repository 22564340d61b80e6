"""The world of the service's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from neuroscan_core.bus.memory import InMemoryBus
from tests.service.world import TakingGateway, World


@pytest.fixture
def world() -> Iterator[World]:
    bus = InMemoryBus()
    gateway = TakingGateway(bus)
    with gateway.serving():
        yield World(bus, gateway)
    bus.close()
