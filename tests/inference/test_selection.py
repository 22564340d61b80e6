"""The configuration names the engine; what cannot be trusted, or fails, is replaced, and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import SegmenterConfig, parse_config
from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable, InvalidBundle
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.requests import GetSegmenterHealth
from neuroscan_core.inference.bundle import Bundle, load_bundle
from neuroscan_core.inference.select import OPENERS, open_engine
from neuroscan_core.inference.watched import WatchedEngine
from neuroscan_core.ports import InferenceEngine
from neuroscan_core.service import SegmentationService
from neuroscan_core.service.models import replacements
from tests.bus.series import FakeGateway
from tests.inference.tiny_model import TINY
from tests.service.world import SeriesFeed

Opener = Callable[[Bundle, SegmenterConfig], InferenceEngine]


class NamedEngine:
    """Answers with zeros until it is told to fail."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        self.card: ModelCard = bundle.card
        self.name = name
        self.failure: Exception | None = None
        self.is_closed = False
        self.answer = 0.0

    def run(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.failure is not None:
            raise self.failure
        return np.full((len(image_NCHW), 1, *image_NCHW.shape[2:]), self.answer, np.float32)

    def close(self) -> None:
        self.is_closed = True


def opens(name: str) -> Opener:
    return lambda bundle, config: NamedEngine(bundle, name)


def fails(error: Exception) -> Opener:
    def opener(bundle: Bundle, config: SegmenterConfig) -> InferenceEngine:
        raise error

    return opener


MISSING = fails(EngineUnavailable("There is none.", remedy="Buy one."))
WRONG = fails(EngineRefused("It differs by 0.3."))


def choose(engine: str, **openers: Opener) -> InferenceEngine:
    known = {"onnxruntime": opens("cpu"), "onnxruntime-cuda": MISSING, "tensorrt": MISSING, "triton": MISSING}
    known |= {name.replace("_", "-"): opener for name, opener in openers.items()}
    return open_engine(load_bundle(TINY), SegmenterConfig.model_validate({"engine": engine}), known)


def problem(engine: InferenceEngine) -> str:
    return engine.problem if isinstance(engine, WatchedEngine) else ""


def test_auto_prefers_tensorrt_then_cuda_then_the_processor() -> None:
    both: dict[str, Any] = {"onnxruntime_cuda": opens("cuda"), "tensorrt": opens("tensorrt")}
    assert choose("auto", **both).name == "tensorrt"
    assert choose("auto", onnxruntime_cuda=opens("cuda")).name == "cuda"
    assert choose("auto").name == "cpu"
    assert problem(choose("auto")) == ""


def test_the_reserve_computes_in_fp32_whatever_was_asked_for() -> None:
    asked: list[str] = []

    def processor(bundle: Bundle, config: SegmenterConfig) -> InferenceEngine:
        asked.append(config.precision)
        return NamedEngine(bundle, "cpu")

    config = SegmenterConfig(engine="tensorrt", precision="int8")
    open_engine(load_bundle(TINY), config, {"onnxruntime": processor, "tensorrt": WRONG})
    open_engine(load_bundle(TINY), config.model_copy(update={"engine": "onnxruntime"}), {"onnxruntime": processor})
    assert asked == ["fp32", "int8"]


def test_auto_never_asks_a_server() -> None:
    assert choose("auto", triton=opens("triton")).name == "cpu"


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "tensorrt", "triton"])
def test_an_engine_that_is_named_and_missing_is_an_error(name: str) -> None:
    with pytest.raises(EngineUnavailable, match="There is none"):
        choose(name)


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-cuda", "tensorrt", "triton"])
def test_the_engine_that_is_named_is_opened(name: str) -> None:
    assert choose(name, **{name.replace("-", "_"): opens("it")}).name == "it"


@pytest.mark.parametrize("engine", ["auto", "tensorrt"])
def test_an_engine_that_computes_something_else_is_replaced_and_says_so(engine: str) -> None:
    chosen = choose(engine, tensorrt=WRONG, onnxruntime_cuda=opens("cuda"))
    assert chosen.name == "cpu"
    assert problem(chosen) == "tiny runs on cpu instead of tensorrt: It differs by 0.3."


def test_a_damaged_file_that_the_processor_does_not_need_is_no_reason_to_stop() -> None:
    chosen = choose("tensorrt", tensorrt=fails(InvalidBundle("model.fp16.onnx is missing.")))
    assert chosen.name == "cpu" and "model.fp16.onnx is missing" in problem(chosen)
    damaged = fails(InvalidBundle("model.onnx is missing."))
    with pytest.raises(InvalidBundle):
        choose("tensorrt", tensorrt=damaged, onnxruntime=damaged)


def test_the_processor_itself_has_no_replacement() -> None:
    with pytest.raises(EngineRefused):
        choose("auto", onnxruntime=WRONG)
    with pytest.raises(EngineRefused):
        choose("tensorrt", tensorrt=WRONG, onnxruntime=WRONG)


@pytest.mark.parametrize("failure", [EngineUnavailable("CUDA failed."), EngineRefused("Another model.")])
def test_an_engine_that_fails_while_serving_is_replaced_for_good(failure: Exception) -> None:
    opened: list[NamedEngine] = []

    def opener(bundle: Bundle, config: SegmenterConfig) -> InferenceEngine:
        opened.append(NamedEngine(bundle, "tensorrt"))
        return opened[-1]

    engine = choose("auto", tensorrt=opener)
    image = np.zeros((2, 3, 32, 32), np.float32)
    engine.run(image)
    opened[0].failure = failure
    assert engine.run(image).shape == (2, 1, 32, 32)
    assert (engine.name, opened[0].is_closed, len(opened)) == ("cpu", True, 1)
    assert "instead of tensorrt" in problem(engine)
    opened[0].failure = None
    engine.run(image)
    assert engine.name == "cpu"


def test_an_engine_that_computes_no_numbers_of_an_image_is_replaced() -> None:
    overflowing = NamedEngine(load_bundle(TINY), "tensorrt-fp16")
    overflowing.answer = np.nan
    engine = WatchedEngine(overflowing, lambda: NamedEngine(load_bundle(TINY), "cpu"))
    image = np.zeros((1, 3, 32, 32), np.float32)
    engine.run(image * np.nan)
    assert engine.name == "tensorrt-fp16"  # nothing else could be computed of that
    assert np.array_equal(engine.run(image), np.zeros((1, 1, 32, 32)))
    assert (engine.name, overflowing.is_closed) == ("cpu", True)
    assert "no numbers" in problem(engine)


def test_a_reserve_that_fails_is_not_replaced_again() -> None:
    reserves: list[NamedEngine] = []

    def reserve() -> InferenceEngine:
        reserves.append(NamedEngine(load_bundle(TINY), "cpu"))
        reserves[-1].failure = EngineUnavailable("No memory.")
        return reserves[-1]

    engine = WatchedEngine.replaced("tensorrt", "It differs.", reserve)
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match="No memory"):
            engine.run(np.zeros((1, 3, 32, 32), np.float32))
    assert len(reserves) == 1 and problem(engine).endswith("It differs.")


def test_a_mistake_in_the_program_is_not_hidden_by_a_replacement() -> None:
    broken = NamedEngine(load_bundle(TINY), "tensorrt")
    broken.failure = ZeroDivisionError("a bug")
    engine = WatchedEngine(broken, lambda: NamedEngine(load_bundle(TINY), "cpu"))
    with pytest.raises(ZeroDivisionError):
        engine.run(np.zeros((1, 3, 32, 32), np.float32))


def test_health_shows_a_replacement_and_stays_ready() -> None:
    class Model:
        card = load_bundle(TINY).card

        def open_engine(self, config: SegmenterConfig) -> InferenceEngine:
            return choose("tensorrt", tensorrt=WRONG)

    bus = InMemoryBus()
    with (
        FakeGateway(bus).serving(),
        SeriesFeed(bus) as feed,
        SegmentationService(bus, {"tiny": Model()}, SegmenterConfig(), feed=feed),
    ):
        health = bus.request(GetSegmenterHealth(), timeout_s=10)
    assert health.is_ready and health.problems == ("tiny runs on cpu instead of tensorrt: It differs by 0.3.",)


def test_only_engines_that_had_to_be_replaced_are_reported() -> None:
    engines = (choose("onnxruntime"), choose("tensorrt", tensorrt=opens("it")), choose("tensorrt", tensorrt=WRONG))
    assert replacements(engines) == ["tiny runs on cpu instead of tensorrt: It differs by 0.3."]


def test_the_bundles_open_on_this_machine_as_the_default_says() -> None:
    engine = load_bundle(TINY).open_engine(SegmenterConfig())
    assert engine.card.name == "tiny" and problem(engine) == ""
    engine.close()


def test_cuda_without_cuda_says_which_package_has_it() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(EngineUnavailable, match="no CUDA") as refusal:
        OPENERS["onnxruntime-cuda"](load_bundle(TINY), SegmenterConfig())
    assert "onnxruntime-gpu" in refusal.value.remedy


def test_int8_needs_a_file_in_the_bundle() -> None:
    with pytest.raises(EngineUnavailable, match="no int8 file"):
        load_bundle(TINY).open_engine(SegmenterConfig(engine="onnxruntime", precision="int8"))


def test_engines_are_kept_in_the_state_folder_unless_another_is_named(tmp_path: Path) -> None:
    assert parse_config({"state_dir": str(tmp_path)}).segmenter.tensorrt.plan_dir == tmp_path / "engines"
    named = parse_config({"segmenter": {"tensorrt": {"plan_dir": str(tmp_path)}}})
    assert named.segmenter.tensorrt.plan_dir == tmp_path
