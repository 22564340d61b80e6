"""The configuration of rviz shows what the viewer publishes, as it publishes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("skimage", reason='needs scikit-image: pip install "neuroscan[ros]"')

from neuroscan_ros import frames, qos
from neuroscan_ros.snapshot import TOPICS

# Which displays of rviz_default_plugins take which messages.
MESSAGES = {"Image": "Image", "Marker": "Marker", "PointCloud2": "PointCloud2"}
WITHOUT_TOPIC = {"Grid", "TF"}


@pytest.fixture
def manager(repository: Path) -> dict[str, Any]:
    path = repository / "launch" / "rviz" / "neuroscan.rviz"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["Visualization Manager"])


def with_topics(manager: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Relative name of the topic -> display."""
    return {display["Topic"]["Value"].lstrip("/"): display for display in manager["Displays"] if "Topic" in display}


def test_fixed_frame_is_the_scanner(manager: dict[str, Any]) -> None:
    assert manager["Global Options"]["Fixed Frame"] == frames.SCANNER
    assert manager["Views"]["Current"]["Target Frame"] == frames.SCANNER


def test_all_displays_are_those_that_come_with_rviz(manager: dict[str, Any]) -> None:
    names = []
    for display in manager["Displays"]:
        package, _, name = display["Class"].partition("/")
        assert package == "rviz_default_plugins"
        assert ("Topic" in display) == (name in MESSAGES) == (name not in WITHOUT_TOPIC), name
        names.append(name)
    assert set(names) >= WITHOUT_TOPIC


def test_everything_that_the_viewer_publishes_is_shown_by_a_display_of_its_type(manager: dict[str, Any]) -> None:
    displays = with_topics(manager)
    assert displays.keys() == TOPICS.keys() - {frames.TF_STATIC}
    for topic, display in displays.items():
        assert MESSAGES[display["Class"].partition("/")[2]] == TOPICS[topic].__name__


def test_subscriptions_are_latched_and_reliable_like_the_publishers(manager: dict[str, Any]) -> None:
    for topic, display in with_topics(manager).items():
        settings = display["Topic"]
        assert settings["Durability Policy"] == "Transient Local", topic
        assert settings["Reliability Policy"] == "Reliable", topic
        assert settings["History Policy"] == "Keep Last", topic
        assert settings["Depth"] == (2 if topic == qos.SLICE_PLANE else 1), topic
