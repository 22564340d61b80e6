"""Execution on a Triton Inference Server, over gRPC or HTTP: the node sends pixels and gets logits.

Only normalised pixels and the model's name leave the node, never an identifier or a header. The server is trusted no
more than a GPU: names, shapes and the ONNX file's hash must be those of the bundle, and it must reproduce the bundle's
reference, at the start and again whenever the connection was lost. Clients reconnect by themselves when a server was
restarted between two requests, and a server may exchange a model while it runs; therefore one reference input goes
first after every pause, and from time to time.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from neuroscan_core.config import TritonConfig
from neuroscan_core.domain.errors import EngineRefused, EngineUnreachable
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.inference.bundle import Bundle, Reference
from neuroscan_core.inference.gate import check_against_reference, keeps_items_apart
from neuroscan_core.inference.triton_wire import MAX_CONCURRENT_REQUESTS, Image, WireClient, WireFailure, open_client
from neuroscan_core.lifetime import Closes
from neuroscan_core.log import get_logger

T = TypeVar("T")
log = get_logger(__name__)

SHA256_PARAMETER = "neuroscan_onnx_sha256"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 0.5
UNWATCHED_S = 0.5  # no server loads a network faster, so a restart shows as a failure or as a longer pause
TRUSTED_S = 30.0


class TritonEngine(Closes):
    """A network on a Triton server; adapter of `ports.InferenceEngine`.

    A request that fails is tried again for `config.timeout_s`, over a new connection whose model is checked anew: a
    server that restarts costs time, not a series.

    Parameters
    ----------
    bundle : Bundle
        What the server must have, under the bundle's name with `config.model_prefix` before it.
    config : TritonConfig
    dial : callable
        Makes the client that speaks to the server.
    clock : callable
        Monotonic seconds.

    Raises
    ------
    EngineUnavailable
        The client library is missing.
    EngineUnreachable
        No server has the model ready within `config.timeout_s`.
    EngineRefused
        The server has another model under this name.
    """

    def __init__(
        self,
        bundle: Bundle,
        config: TritonConfig,
        *,
        dial: Callable[[TritonConfig], WireClient] = open_client,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bundle, self._config, self._dial, self._clock = bundle, config, dial, clock
        self._closing = threading.Event()
        self._connection: Connection | None = None
        self._checked_s = self._used_s = clock()
        # The HTTP client belongs to the thread that made it, and engines are opened by one thread and run by another.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="triton")
        try:
            self._on_thread(lambda: self._connect(self._clock() + config.timeout_s))
        except BaseException:
            self.close()
            raise

    @property
    def card(self) -> ModelCard:
        """Card of the bundle."""
        return self._bundle.card

    @property
    def name(self) -> str:
        """What executes."""
        return f"triton-{self._config.protocol}"

    def run(self, image_NCHW: Image) -> Image:
        """Logits for a batch.

        Raises
        ------
        EngineUnreachable
            The server has not answered, or not come back, within the time.
        EngineRefused
            It came back with another model.
        """
        return self._on_thread(lambda: self._run(image_NCHW))

    def close(self) -> None:
        """Release the connection; what waits for the server gives up."""
        self._closing.set()
        self._thread.submit(self._disconnect)
        self._thread.shutdown()

    def _on_thread(self, work: Callable[[], T]) -> T:
        return self._thread.submit(work).result()

    def _run(self, image_NCHW: Image) -> Image:
        deadline_s = self._clock() + self._config.timeout_s
        for attempt in itertools.count():
            if attempt > 1:
                self._closing.wait(FIRST_PAUSE_S)
            if self._connection is not None:
                try:
                    return self._run_trusted(self._connection, image_NCHW)
                except EngineRefused:
                    self._disconnect()
                    raise
                except WireFailure as failure:
                    log.warning(
                        "the Triton server failed; it is asked again", model=self.card.name, reason=failure.message
                    )
                    if self._clock() >= deadline_s:  # it answers whenever it is checked, and never this request
                        self._disconnect()
                        raise self._unreachable(failure.message.rstrip(".")) from failure
            self._connect(deadline_s)
        raise AssertionError("it is tried without end")

    def _run_trusted(self, connection: Connection, image_NCHW: Image) -> Image:
        now_s = self._clock()
        if now_s - self._used_s > UNWATCHED_S or now_s - self._checked_s > TRUSTED_S:
            reference = self._bundle.reference
            check_against_reference(connection, Reference(reference.image_NCHW[:1], reference.logits_NLHW[:1]))
            self._checked_s = self._clock()
        logits = connection.run(image_NCHW)
        self._used_s = self._clock()
        return logits

    def _connect(self, deadline_s: float) -> None:
        """Connect anew and check the model, until that succeeds or the time is over."""
        pause_s, reason = FIRST_PAUSE_S, "it was closed"
        while not self._closing.is_set():
            self._disconnect()
            try:
                connection = Connection(self._bundle, self._config, self._dial(self._config))
            except WireFailure as failure:
                reason = failure.message.rstrip(".")
            else:
                self._connection = connection
                self._checked_s = self._used_s = self._clock()
                return
            if self._clock() >= deadline_s:
                break
            self._closing.wait(min(pause_s, max(0.0, deadline_s - self._clock())))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        raise self._unreachable(reason)

    def _unreachable(self, reason: str) -> EngineUnreachable:
        return EngineUnreachable(
            f"The Triton server at {self._config.url} does not serve {self._config.model_prefix}{self.card.name} over "
            f"{self._config.protocol}: {reason}.",
            remedy="Start it, or correct segmenter.triton; another segmenter.engine needs no server.",
        )

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Connection:
    """A connection whose model was found to be the bundle's; owns the client.

    Raises
    ------
    WireFailure
        Nobody answers, the model is not ready, or the server fails.
    EngineRefused
        It has another model.
    """

    def __init__(self, bundle: Bundle, config: TritonConfig, client: WireClient) -> None:
        self.card, self.name = bundle.card, f"triton-{config.protocol} at {config.url}"
        self._model = f"{config.model_prefix}{bundle.card.name}"
        self._client = client
        try:
            self._check(bundle)
        except BaseException:
            self._client.close()
            raise

    def _check(self, bundle: Bundle) -> None:
        if not self._client.is_ready(self._model):
            raise WireFailure("nobody answers, or the model is not ready")
        _check_tensors(self._client.metadata(self._model), self.card)
        configuration = self._client.configuration(self._model)
        _check_hash(configuration, self.card)
        # 0 says that the model takes no batch dimension at all, which the tensors would have shown.
        self._max_batch = max(1, int(configuration.get("max_batch_size", 0)))
        self._num_at_once = min(MAX_CONCURRENT_REQUESTS, _num_instances(configuration))
        check_against_reference(self, bundle.reference)
        if not keeps_items_apart(self, bundle.reference):
            self._max_batch = self._num_at_once = 1
            log.warning("the Triton server computes batches differently; inputs are sent one by one", model=self._model)

    def run(self, image_NCHW: Image) -> Image:
        """Logits for a batch; cut to what the server takes, and to what it computes at the same time."""
        num_items = len(image_NCHW)
        size = max(1, min(self._max_batch, -(-num_items // self._num_at_once)))
        pieces = [image_NCHW[start : start + size] for start in range(0, num_items, size)]
        answers: list[Image] = []
        for start in range(0, len(pieces), self._num_at_once):
            together = pieces[start : start + self._num_at_once]
            answers += self._client.infer(self._model, (self.card.input_name, together), self.card.output_name)
        for piece, answer in zip(pieces, answers, strict=True):
            if answer.shape != (len(piece), *self.card.output_shape):
                raise EngineRefused(
                    f"{self.name} answers {self._model} with the shape {answer.shape}.",
                    remedy="Write the model repository again from the bundle that the node has.",
                )
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    def close(self) -> None:
        """Release the connection."""
        self._client.close()


def _check_tensors(metadata: dict[str, Any], card: ModelCard) -> None:
    wanted = {
        "inputs": (card.input_name, card.input_shape),
        "outputs": (card.output_name, card.output_shape),
    }
    for side, (name, shape) in wanted.items():
        found = [
            (tensor["name"], tensor["datatype"], [int(length) for length in tensor["shape"]])
            for tensor in metadata.get(side, ())
        ]
        fits = len(found) == 1 and found[0][:2] == (name, "FP32") and _fits(found[0][2], (-1, *shape))
        if not fits:
            raise EngineRefused(
                f"The {side} of {card.name} on the Triton server are {found}; the bundle has {name}, FP32, "
                f"{[-1, *shape]}.",
                remedy="Write the model repository again from the bundle that the node has.",
            )


def _fits(found: list[int], wanted: tuple[int, ...]) -> bool:
    """Whether lengths agree; -1 on the server stands for any length."""
    return len(found) == len(wanted) and all(f in (-1, w) for f, w in zip(found, wanted, strict=True))


def _check_hash(configuration: dict[str, Any], card: ModelCard) -> None:
    """A repository that was written for another version of the bundle is told by its name, before any pixel is sent."""
    parameter = configuration.get("parameters", {}).get(SHA256_PARAMETER, {})
    found = parameter.get("string_value", "")
    if found and found != card.onnx_sha256:
        raise EngineRefused(
            f"The Triton server has {card.name} from the ONNX file {found[:12]}…, the node from "
            f"{card.onnx_sha256[:12]}….",
            remedy="Write the model repository again from the bundle that the node has.",
        )


def _num_instances(configuration: dict[str, Any]) -> int:
    """Copies of the model that compute at the same time; a group on GPUs has `count` on each."""
    groups = configuration.get("instance_group", ())
    return max(1, sum(int(group.get("count", 1)) * max(1, len(group.get("gpus", ()))) for group in groups))
