"""The server of one type of request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from neuroscan_core.bus.wire import Failure
from neuroscan_core.bus.worker import reply_to
from neuroscan_core.domain.errors import WireFormatError
from neuroscan_core.domain.requests import Reply, Request
from neuroscan_core.log import get_logger
from neuroscan_ros import qos
from neuroscan_ros.conversions import refusal_to_msg
from neuroscan_ros.topics import service_of

log = get_logger(__name__)

CLOSE_TIMEOUT_S = 5.0


class ServingGroup(CallbackGroup):
    """One callback at a time, and none any more once it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def can_execute(self, entity: object) -> bool:
        """Whether a callback could begin."""
        return self._thread is None and not self._is_closed

    def beginning_execution(self, entity: object) -> bool:
        """Begin, where it may."""
        with self._changed:
            if not self.can_execute(entity):
                return False
            self._thread = threading.current_thread()
            return True

    def ending_execution(self, entity: object) -> None:
        """Let the next one begin."""
        with self._changed:
            self._thread = None
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Let no callback begin, and the running one end, its reply included."""
        with self._changed:
            self._is_closed = True
            if self._thread is not threading.current_thread():
                self._changed.wait_for(lambda: self._thread is None, timeout_s)


class RequestServer:
    """Answers requests of one type, one at a time, until it is closed.

    The handler runs in a thread of whoever spins the node, which must have several.

    Parameters
    ----------
    node : rclpy.node.Node
    request_type : type
    handler : callable
        See `neuroscan_core.bus.worker.reply_to`.
    """

    def __init__(self, node: Node, request_type: type[Request[Any]], handler: Callable[[Any], Reply]) -> None:
        self._node, self._name, self._handler = node, request_type.__name__, handler
        self._contract = service_of(request_type)
        self._group = ServingGroup()
        self._service = node.create_service(
            self._contract.service_type,
            self._contract.name,
            self._answer,
            qos_profile=qos.service(),
            callback_group=self._group,
        )

    def _answer(self, request: Any, response: Any) -> Any:
        reply = reply_to(self._name, self._handler, lambda: self._contract.request_from_msg(request))
        if not isinstance(reply, Failure):
            try:
                return self._contract.reply_to_msg(reply)
            except WireFormatError as error:
                log.error("reply cannot be written", request=self._name, error=str(error))
                reply = Failure.of(error)
        response.refusal = refusal_to_msg(reply)
        return response

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stop; a running handler ends first, unless it takes longer than `timeout_s`."""
        self._group.close(timeout_s)
        self._node.destroy_service(self._service)
