"""Requests to whoever serves them: one client per type, any number of threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.client import Client
from rclpy.node import Node

from neuroscan_core.domain.errors import BusError, RequestRefused, RequestTimeout
from neuroscan_core.domain.requests import Reply, Request
from neuroscan_ros import qos
from neuroscan_ros.conversions import refusal_from_msg
from neuroscan_ros.topics import service_of
from neuroscan_ros.translation import ros_errors

IDENTITY_REFUSED = (
    "What says who the patient is does not travel over ROS 2: ROS has no login, and whoever is in its domain could ask."
)
IDENTITY_REMEDY = "Look in the archive, or launch the node with bus:=zmq."
POLL_S = 0.005  # rclpy itself looks for a server only four times a second


class RequestClient:
    """Asks from any number of threads.

    A reply that comes after its request timed out is dropped: DDS numbers them.

    Parameters
    ----------
    node : rclpy.node.Node
    group : CallbackGroup
        Of callbacks that never block.
    """

    def __init__(self, node: Node, group: CallbackGroup) -> None:
        self._node, self._group = node, group
        self._lock = threading.Lock()
        self._clients: dict[type[Request[Any]], Client] = {}
        self._asked: set[Future[Any]] = set()
        self._closing = threading.Event()

    def ask(self, request: Request[Any], timeout_s: float) -> Reply:
        """Send a request and wait for its reply.

        Raises
        ------
        RequestTimeout
            No reply came, or the bus was closed.
        RequestRefused
            The server answered with an error, or the reply would say who the patient is.
        BusError
            The bus is closed, or ROS refused.
        WireFormatError
            The request cannot be written, or the reply cannot be read.
        """
        if request.carries_identity:
            raise RequestRefused(IDENTITY_REFUSED, remedy=IDENTITY_REMEDY, code=type(request).__name__)
        deadline_s = time.monotonic() + timeout_s
        contract = service_of(type(request))
        message = contract.request_to_msg(request)
        with ros_errors("ask"):
            response = self._exchange(self._client(type(request)), message, deadline_s)
        if response is None:
            raise RequestTimeout(
                f"The {request.served_by} did not answer {type(request).__name__} within {timeout_s:g} s.",
                remedy=f"Check that the {request.served_by} is running, in the same ROS domain and namespace.",
            )
        refusal = refusal_from_msg(response.refusal)
        if refusal is not None:
            raise refusal.as_error()
        return contract.reply_from_msg(response)

    def _client(self, request_type: type[Request[Any]]) -> Client:
        contract = service_of(request_type)
        with self._lock:
            if self._closing.is_set():
                raise BusError("The bus is closed.")
            client = self._clients.get(request_type)
            if client is None:
                client = self._clients[request_type] = self._node.create_client(
                    contract.service_type, contract.name, qos_profile=qos.service(), callback_group=self._group
                )
            return client

    def _exchange(self, client: Client, message: Any, deadline_s: float) -> Any | None:
        if not self._wait_for_server(client, deadline_s):
            return None
        answer: Future[Any] = Future()
        with self._lock:
            if self._closing.is_set():
                return None
            self._asked.add(answer)
            pending = client.call_async(message)
        pending.add_done_callback(lambda done: _settle(answer, done.result()))
        try:
            return answer.result(max(0.0, deadline_s - time.monotonic()))
        except (CancelledError, FutureTimeoutError):
            client.remove_pending_request(pending)
            return None
        finally:
            with self._lock:
                self._asked.discard(answer)

    def _wait_for_server(self, client: Client, deadline_s: float) -> bool:
        while not self._closing.is_set():
            with self._lock:  # the client must not be destroyed meanwhile
                if not self._closing.is_set() and client.service_is_ready():
                    return True
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                return False
            self._closing.wait(min(POLL_S, remaining_s))
        return False

    def close(self) -> None:
        """Let whoever waits time out now, and release the clients."""
        with self._lock:
            self._closing.set()
            for answer in self._asked:
                answer.cancel()
            for client in self._clients.values():
                self._node.destroy_client(client)
            self._clients.clear()


def _settle(answer: Future[Any], response: Any) -> None:
    with suppress(Exception):  # the asker has given up
        answer.set_result(response)
