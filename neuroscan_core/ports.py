"""The two ports of the core: the message bus and the inference engine. Adapters live in `bus/` and `inference/`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.events import Event
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.requests import Reply, Request

E_contra = TypeVar("E_contra", bound=Event, contravariant=True)
Q = TypeVar("Q", bound="Request[Reply]")
R = TypeVar("R", bound=Reply)


class Subscription(Protocol):
    """A stream of events, in the order of publication per publisher. May miss events; see `bus.feed`.

    An event that the network brings much later than its successors may come after them; the feeds put it in its place.
    """

    def receive(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the next event; None after `timeout_s` without one (None: for ever) or after close."""
        ...

    def close(self) -> None:
        """Stop; a waiting `receive` returns None."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether this subscription or its bus was closed: nothing more will come."""
        ...

    def __enter__(self) -> Subscription: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class MessageBus(Protocol):
    """Four verbs: publish an event, subscribe to event types, serve a request, make a request."""

    def publish(self, event: Event) -> None:
        """Hand an event to every subscriber. Never blocks on a slow one. Thread-safe."""
        ...

    def subscribe(self, *event_types: type[Event], capacity: int = 256) -> Subscription:
        """Receive events of these types from now on; beyond `capacity` unread events some may be missed."""
        ...

    def serve(self, request_type: type[Q], handler: Callable[[Q], Reply]) -> AbstractContextManager[None]:
        """Answer requests of a type, one at a time per type, until the context ends.

        A `NeuroScanError` of the handler reaches the asker as `RequestRefused`.
        """
        ...

    def request(self, request: Request[R], *, timeout_s: float) -> R:
        """Ask the process that serves this type. Thread-safe.

        Raises
        ------
        RequestTimeout
            Nobody answered in time; the request may or may not have been carried out.
        RequestRefused
            The server answered with an error.
        """
        ...

    def close(self) -> None:
        """Release everything. Subscriptions end."""
        ...


class InferenceEngine(Protocol):
    """Executes the network of one model bundle."""

    @property
    def card(self) -> ModelCard:
        """Card of the bundle."""
        ...

    @property
    def name(self) -> str:
        """What executes, e.g. ``onnxruntime-cpu``."""
        ...

    def run(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits for a batch, shape (N, labels, H, W). One thread at a time.

        Each item's result does not depend on what else is in the batch.
        """
        ...

    def close(self) -> None:
        """Release the engine."""
        ...


@runtime_checkable
class ReportsProblem(Protocol):
    """An engine that may have had to take another's place."""

    @property
    def problem(self) -> str:
        """Why, as a sentence; empty while all is well."""
        ...
