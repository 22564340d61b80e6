"""The segmentation service as a node, with the network that comes with the package."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("neuroscan_msgs", reason="needs the messages of ros_ws")

from neuroscan_ros import segmentation_node
from neuroscan_ros.bus import Ros2Bus, open_ros2_bus
from neuroscan_ros.segmentation_node import SegmentationNode
from rclpy.lifecycle import TransitionCallbackReturn

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.events import GATEWAY, MaskReady
from neuroscan_core.domain.requests import Acknowledged, GetSegmenterHealth, ReplayMasks, SubmitSegmentation
from neuroscan_core.inference.bundle import find_bundles
from neuroscan_core.offline import segment_volume
from tests.bus.conftest import domain_id
from tests.e2e.node import wait_for
from tests.ros_nodes import PATIENCE_S, hosted
from tests.service.world import NUM_SLICES, TakingGateway, events_of, head

__all__ = ["domain_id"]

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
MODEL = "mobilenetv2-unet-flair"


@pytest.fixture
def node(domain_id: int, tmp_path: Path) -> Iterator[SegmentationNode]:
    with hosted(SegmentationNode, domain_id, {"state_dir": str(tmp_path / "state")}) as made:
        yield made


@pytest.fixture
def gateway_bus(domain_id: int) -> Iterator[Ros2Bus]:
    with open_ros2_bus(GATEWAY, domain_id=domain_id) as bus:
        yield bus


def wait_for_results(gateway: TakingGateway, number: int) -> None:
    def are_there() -> bool:
        gateway.beat()
        return len(gateway.results) >= number

    wait_for(are_there, f"{number} results")


def test_a_series_on_topics_becomes_masks_and_the_result_of_the_batch(
    node: SegmentationNode, gateway_bus: Ros2Bus
) -> None:
    assert node.trigger_configure() is SUCCESS
    assert node.trigger_activate() is SUCCESS
    gateway = TakingGateway(gateway_bus)  # type: ignore[arg-type]
    volume = head("1.2.3")
    with gateway.serving(), gateway_bus.subscribe(MaskReady) as masks:
        gateway.tell(*events_of("1.2.3", volume, model=MODEL))
        wait_for_results(gateway, 1)
        replayed = gateway_bus.request(ReplayMasks("1.2.3"), timeout_s=PATIENCE_S).masks
        assert gateway_bus.request(GetSegmenterHealth(), timeout_s=PATIENCE_S).is_ready
        seen = {masks.receive(PATIENCE_S).key for _ in range(NUM_SLICES)}  # type: ignore[union-attr]
    engine = find_bundles()[MODEL].open_engine(SegmenterConfig())
    batch = segment_volume(volume, engine)
    (result,) = gateway.results
    assert np.array_equal(result.segmentation.labels_kji, batch.labels_kji)
    assert not batch.is_empty
    assert seen == set(volume.keys) == {mask.key for mask in replayed}
    is_ready, problems, values = node.health()
    assert (is_ready, list(problems)) == (True, [])
    assert (values["slices"], values["masks"], values["open series"]) == (str(NUM_SLICES), str(NUM_SLICES), "0")
    assert values[f"engine of {MODEL}"] == engine.name == result.model.engine
    engine.close()


def test_engines_stay_open_between_two_activations(node: SegmentationNode, gateway_bus: Ros2Bus) -> None:
    node.trigger_configure()
    models = node._models
    gateway = TakingGateway(gateway_bus)  # type: ignore[arg-type]
    with gateway.serving():
        for number, uid in enumerate(("1.2.3", "1.2.4"), start=1):
            assert node.trigger_activate() is SUCCESS
            gateway.tell(*events_of(uid, head(uid), model=MODEL))
            wait_for_results(gateway, number)
            assert node.trigger_deactivate() is SUCCESS
            assert node._models is models
    assert [result.series_instance_uid for result in gateway.results] == ["1.2.3", "1.2.4"]
    assert node.trigger_cleanup() is SUCCESS


def test_it_waits_for_the_acknowledgement_before_it_is_inactive(
    node: SegmentationNode, gateway_bus: Ros2Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmentation_node, "DRAIN_S", PATIENCE_S)
    submitted, go_on = threading.Event(), threading.Event()

    class SlowGateway(TakingGateway):
        def take_result(self, request: SubmitSegmentation) -> Acknowledged:
            submitted.set()
            assert go_on.wait(PATIENCE_S)
            return super().take_result(request)

    gateway = SlowGateway(gateway_bus)  # type: ignore[arg-type]
    node.trigger_configure()
    node.trigger_activate()
    with gateway.serving():
        gateway.tell(*events_of("1.2.3", head("1.2.3"), model=MODEL))
        gateway.beat()
        assert submitted.wait(PATIENCE_S)
        outcome: list[object] = []
        draining = threading.Thread(target=lambda: outcome.append(node.trigger_deactivate()))
        draining.start()
        wait_for(lambda: node.lifecycle_state == "deactivating", "the node to drain")
        assert not outcome
        go_on.set()
        draining.join(PATIENCE_S)
    assert outcome == [SUCCESS]
    assert len(gateway.results) == 1


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("segmenter.models_dir", "/no/such/models", "There is no folder /no/such/models"),
        ("segmenter.engine", "triton", "127.0.0.1:1"),
    ],
)
def test_what_it_cannot_start_with_is_told(
    domain_id: int, tmp_path: Path, name: str, value: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"state_dir": str(tmp_path), "segmenter.triton.url": "127.0.0.1:1", "segmenter.triton.timeout_s": 0.2}
    with hosted(SegmentationNode, domain_id, {**given, name: value}) as node:
        assert node.trigger_configure() is FAILURE
        assert node.lifecycle_state == "unconfigured"
    error = capfd.readouterr().err
    assert told in error
    assert "Traceback" not in error
