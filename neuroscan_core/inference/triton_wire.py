"""The two protocols that a Triton server speaks, gRPC and HTTP, as one small client each.

Both follow the KServe v2 inference protocol with Triton's extensions and are used by one thread at a time. What is
asked for, when it is tried again and what is trusted is decided in `triton`.
"""

from __future__ import annotations

import importlib
import queue
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from neuroscan_core.config import TritonConfig
from neuroscan_core.domain.errors import EngineUnavailable, EngineUnreachable

Image = npt.NDArray[np.float32]
MAX_CONCURRENT_REQUESTS = 8


class WireFailure(EngineUnreachable):
    """No answer, or an error for an answer; `triton` tries again."""


class WireClient(Protocol):
    """Connection to one server."""

    def is_ready(self, model: str) -> bool:
        """Whether server and model can be asked now; False also where nobody answers."""
        ...

    def metadata(self, model: str) -> dict[str, Any]:
        """``inputs`` and ``outputs``, each a list of ``name``, ``datatype`` and ``shape``."""
        ...

    def configuration(self, model: str) -> dict[str, Any]:
        """Key of `config.pbtxt` -> value, as the server completed it."""
        ...

    def infer(self, model: str, inputs: tuple[str, Sequence[Image]], output: str) -> list[Image]:
        """Ask for several batches at once; the answers in the same order."""
        ...

    def close(self) -> None:
        """Release the connection."""
        ...


def open_client(config: TritonConfig) -> WireClient:
    """Make a client; nothing is sent yet.

    Raises
    ------
    EngineUnavailable
        tritonclient is not installed, or a certificate cannot be read.
    """
    try:
        library = importlib.import_module(f"tritonclient.{config.protocol}")
    except ImportError as exc:
        raise EngineUnavailable(
            f"The engine triton needs the client library: {exc}.", remedy="pip install 'neuroscan[triton]'"
        ) from exc
    return GrpcClient(library, config) if config.protocol == "grpc" else HttpClient(library, config)


class GrpcClient:
    """Client of the gRPC port."""

    def __init__(self, library: ModuleType, config: TritonConfig) -> None:
        self._library, self._timeout_s = library, config.timeout_s
        self._client = library.InferenceServerClient(
            config.url,
            ssl=config.tls,
            root_certificates=_existing(config.ca),
            certificate_chain=_existing(config.certificate),
            private_key=_existing(config.key),
            # gRPC's own pauses between connections grow to two minutes; a server that restarts is back long before.
            channel_args=[
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        self._failures = (library.InferenceServerException,)

    def is_ready(self, model: str) -> bool:
        """Whether server and model can be asked now."""
        try:
            return bool(
                self._client.is_server_ready(client_timeout=self._timeout_s)
                and self._client.is_model_ready(model, client_timeout=self._timeout_s)
            )
        except self._failures:
            return False

    def metadata(self, model: str) -> dict[str, Any]:
        """Names, types and shapes of the model."""
        return dict(self._ask("get_model_metadata", model))

    def configuration(self, model: str) -> dict[str, Any]:
        """Configuration of the model."""
        return dict(self._ask("get_model_config", model)["config"])

    def infer(self, model: str, inputs: tuple[str, Sequence[Image]], output: str) -> list[Image]:
        """Ask for several batches at once."""
        name, batches = inputs
        answers: queue.SimpleQueue[tuple[int, Any, Any]] = queue.SimpleQueue()
        for number, image in enumerate(batches):
            self._client.async_infer(
                model,
                [_tensor(self._library, name, image)],
                lambda result, error, number=number: answers.put((number, result, error)),
                outputs=[self._library.InferRequestedOutput(output)],
                client_timeout=self._timeout_s,
            )
        found: dict[int, Image] = {}
        for _ in batches:
            number, result, error = answers.get()
            if error is not None:
                raise WireFailure(str(error)) from error
            found[number] = _array(result, output)
        return [found[number] for number in range(len(batches))]

    def close(self) -> None:
        """Release the connection."""
        self._client.close()

    def _ask(self, question: str, model: str) -> Any:
        try:
            return getattr(self._client, question)(model, as_json=True, client_timeout=self._timeout_s)
        except self._failures as exc:
            raise WireFailure(str(exc)) from exc


class HttpClient:
    """Client of the HTTP port; belongs to the thread that made it."""

    def __init__(self, library: ModuleType, config: TritonConfig) -> None:
        self._library = library
        self._client = library.InferenceServerClient(
            config.url,
            concurrency=MAX_CONCURRENT_REQUESTS,
            connection_timeout=config.timeout_s,
            network_timeout=config.timeout_s,
            ssl=config.tls,
            ssl_context_factory=_context_factory(config) if config.tls else None,
        )
        # Failures come back with the answers; gevent would print each of them too. Its hub is this thread's alone.
        importlib.import_module("gevent").get_hub().exception_stream = None
        # Beside the server's errors: sockets that are refused, closed or slow, and answers that are cut short.
        transport = importlib.import_module("geventhttpclient.response")
        # RuntimeError is how it says that a name does not resolve.
        self._failures = (library.InferenceServerException, OSError, transport.HTTPParseError, RuntimeError)

    def is_ready(self, model: str) -> bool:
        """Whether server and model can be asked now."""
        try:
            return bool(self._client.is_server_ready() and self._client.is_model_ready(model))
        except self._failures:
            return False

    def metadata(self, model: str) -> dict[str, Any]:
        """Names, types and shapes of the model."""
        return self._ask("get_model_metadata", model)

    def configuration(self, model: str) -> dict[str, Any]:
        """Configuration of the model."""
        return self._ask("get_model_config", model)

    def infer(self, model: str, inputs: tuple[str, Sequence[Image]], output: str) -> list[Image]:
        """Ask for several batches at once."""
        name, batches = inputs
        # A request of its own thread of gevent prints a stack trace when it fails; one alone needs none.
        ask = self._client.infer if len(batches) == 1 else self._client.async_infer
        try:
            answers = [
                ask(
                    model,
                    [_tensor(self._library, name, image)],
                    outputs=[self._library.InferRequestedOutput(output)],
                )
                for image in batches
            ]
            return [_array(answer if len(batches) == 1 else answer.get_result(), output) for answer in answers]
        except self._failures as exc:
            raise WireFailure(str(exc)) from exc

    def close(self) -> None:
        """Release the connection."""
        self._client.close()

    def _ask(self, question: str, model: str) -> dict[str, Any]:
        try:
            return dict(getattr(self._client, question)(model))
        except self._failures as exc:
            raise WireFailure(str(exc)) from exc


def _tensor(library: ModuleType, name: str, image: Image) -> Any:
    tensor = library.InferInput(name, list(image.shape), "FP32")
    tensor.set_data_from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    return tensor


def _array(result: Any, output: str) -> Image:
    try:
        found = result.as_numpy(output)
    except ValueError as exc:  # the bytes do not fill the shape that the server names
        raise WireFailure(f"the answer is cut short: {exc}") from exc
    if found is None or found.dtype != np.float32:
        raise WireFailure(f"the answer holds no float32 array {output}")
    return np.asarray(found)


def _existing(path: Path | None) -> str | None:
    if path is not None and not path.is_file():
        raise EngineUnavailable(f"There is no certificate file {path}.", remedy="Correct segmenter.triton.")
    return None if path is None else str(path)


def _context_factory(config: TritonConfig) -> Any:
    ca, certificate, key = (_existing(path) for path in (config.ca, config.certificate, config.key))

    def make() -> Any:
        context = importlib.import_module("gevent.ssl").create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        return context

    return make
