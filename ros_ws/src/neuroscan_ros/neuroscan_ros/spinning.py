"""How a node is spun: an executor in a thread of its own.

What never blocks (messages of the bus, replies) runs in that thread itself: no hand-over, and the order of receipt is
kept. Everything else may block, and runs in a pool. Measured in docs/adr/0008.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ConditionReachedException,
    Executor,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)
from rclpy.node import Node

from neuroscan_core.log import get_logger

log = get_logger(__name__)

MAX_BLOCKING = 32  # callbacks at a time; a node serves at most seven requests, its lifecycle, parameters and timers
CLOSE_TIMEOUT_S = 5.0


class QuickCallbackGroup(ReentrantCallbackGroup):
    """Callbacks that never block and take microseconds; `NodeExecutor` runs them without handing them over."""


class NodeExecutor(Executor):
    """Runs the callbacks of `QuickCallbackGroup` in the thread that spins, all others in a pool.

    An exception of a callback is logged, and the others go on.

    Parameters
    ----------
    context : rclpy.context.Context or None
        None for the default one.
    """

    def __init__(self, *, context: Context | None = None) -> None:
        super().__init__(context=context)
        self._pool = ThreadPoolExecutor(MAX_BLOCKING, thread_name_prefix="ros-callback")
        self._running: dict[Any, Future[None]] = {}
        self._is_stopping = False

    def spin(self) -> None:
        """Run callbacks until `stop`, or until the context ends."""
        while self.context.ok() and not self._is_stopping:
            self.spin_once()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for a callback and run it, or have it run."""
        self._spin_once(timeout_sec, self._should_stop)

    def spin_once_until_future_complete(self, future: Any, timeout_sec: Any = None) -> None:
        """Wait for a callback, or until a future is done."""
        future.add_done_callback(lambda _: self.wake())
        self._spin_once(timeout_sec, future.done)

    def _spin_once(self, timeout_sec: Any, condition: Any) -> None:
        try:
            task, entity, _ = self.wait_for_ready_callbacks(timeout_sec, None, condition)
        except (ConditionReachedException, ExternalShutdownException, ShutdownException, TimeoutException):
            return
        except InvalidHandle:  # something was destroyed while it was looked at; the next round knows
            return
        if entity is None or isinstance(entity.callback_group, QuickCallbackGroup):
            _run(task)
            return
        if task not in self._running:  # until it has begun, rclpy hands it out each time anew
            self._running[task] = running = self._pool.submit(_run, task)
            running.add_done_callback(lambda _: self._running.pop(task))

    def _should_stop(self) -> bool:
        return self._is_stopping

    def stop(self) -> None:
        """Let `spin` end; any thread may."""
        self._is_stopping = True
        self.wake()

    def finish(self) -> None:
        """Wait for callbacks that still run, a few seconds at most, and release everything; `spin` must have ended."""
        concurrent.futures.wait(tuple(self._running.values()), CLOSE_TIMEOUT_S)
        self._pool.shutdown(wait=False)
        self.shutdown()


def _run(task: Any) -> None:
    task()
    error = task.exception() if task.done() else None
    if error is not None and not isinstance(error, InvalidHandle):  # destroyed before its turn came
        log.error("callback failed", exc_info=error)


@contextmanager
def spinning(node: Node) -> Iterator[NodeExecutor]:
    """Have the callbacks of a node run in the background until the context ends."""
    executor = NodeExecutor(context=node.context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name="ros-executor", daemon=True)
    thread.start()
    try:
        yield executor
    finally:
        executor.stop()
        thread.join()
        node.executor = None
        executor.finish()
