from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.node import Node, make_node


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Start a node with keys of the gateway configuration; it is stopped after the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> Node:
            node = make_node(tmp_path, **options)
            stack.enter_context(node.journal)
            stack.enter_context(node.scp)
            return node

        yield start


@pytest.fixture
def node(start_node: Callable[..., Node]) -> Node:
    """A node that takes everything."""
    return start_node()
