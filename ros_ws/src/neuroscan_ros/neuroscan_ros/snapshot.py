"""A picture of what the viewer shows, from the topics themselves: for reports, and where there is no rviz.

``ros2 run neuroscan_ros snapshot picture.png`` waits for a tumour and writes slice, mask, and the surface in 3D.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rclpy
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image, PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from neuroscan_ros import qos
from neuroscan_ros.frames import METRES_PER_MM, TF_STATIC
from neuroscan_ros.pictures import array_from_msg
from neuroscan_ros.rendering import BACKGROUND, ENDS, STEP_MM, Picture, View, write
from neuroscan_ros.spinning import QuickCallbackGroup, spinning

TOPICS: dict[str, type[Any]] = {
    qos.IMAGE: Image,
    qos.OVERLAY: Image,
    qos.MASK: Image,
    qos.SLICE_PLANE: Marker,
    qos.TUMOUR_SURFACE: Marker,
    qos.TUMOUR_POINTS: PointCloud2,
    TF_STATIC: TFMessage,
}
SETTLED_S = 2.5  # without a newer surface, which comes once a second while a series arrives
TILE, GAP, TITLE = 512, 16, 30

Array = npt.NDArray[np.float64]


class SnapshotNode(Node):
    """Keeps the last message of each topic."""

    def __init__(self) -> None:
        super().__init__("snapshot")
        self._last: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._num_surfaces = 0
        group = QuickCallbackGroup()
        for topic, message_type in TOPICS.items():
            depth = 2 if topic == qos.SLICE_PLANE else 1
            self.create_subscription(
                message_type, topic, lambda message, name=topic: self._keep(name, message), qos.latched(depth),
                callback_group=group,
            )  # fmt: skip

    def _keep(self, topic: str, message: Any) -> None:
        with self._changed:
            self._last[topic] = message
            self._num_surfaces += topic == qos.TUMOUR_SURFACE
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> dict[str, Any]:
        """Last message of each topic, once there is a tumour that does not change any more, or when time is up."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            self._changed.wait_for(lambda: is_complete(self._last), timeout_s)
            num_surfaces = -1
            while num_surfaces != self._num_surfaces and time.monotonic() < deadline_s:
                num_surfaces = self._num_surfaces
                self._changed.wait_for(lambda: num_surfaces != self._num_surfaces, SETTLED_S)  # noqa: B023
            return dict(self._last)


def is_complete(messages: Mapping[str, Any]) -> bool:
    """Whether there is a message of each topic, and a tumour and a slice in them."""
    if messages.keys() < TOPICS.keys():
        return False
    return bool(messages[qos.TUMOUR_SURFACE].points) and bool(messages[qos.SLICE_PLANE].points)


def compose(messages: Mapping[str, Any]) -> Picture:
    """Put overlay, image, mask and the 3D view side by side."""
    marker, plane = messages[qos.TUMOUR_SURFACE], messages[qos.SLICE_PLANE]
    to_scanner = _rotation(messages[TF_STATIC])
    corners_mm = _points_mm(plane) @ to_scanner
    top_left, top_right, bottom_left = corners_mm[0], corners_mm[1], corners_mm[5]
    directions = ((top_right - top_left), (bottom_left - top_left))
    overlay = np.ascontiguousarray(array_from_msg(messages[qos.OVERLAY])[..., ::-1])
    image, mask = (np.repeat(array_from_msg(messages[topic])[..., None], 3, axis=2) for topic in (qos.IMAGE, qos.MASK))
    small = (TILE - GAP - TITLE) // 2
    view = _tumour_view(marker, plane, to_scanner, (top_left, top_right, bottom_left), (TILE, TILE * 4 // 3))
    num_points = messages[qos.TUMOUR_POINTS].width
    columns = (
        (("/" + qos.OVERLAY, _slice(overlay, TILE, directions)),),
        (("/" + qos.IMAGE, _slice(image, small, directions)), ("/" + qos.MASK, _slice(mask, small, directions))),
        ((f"/{qos.TUMOUR_SURFACE}, /{qos.SLICE_PLANE} in the frame scanner, mm", view),),
    )
    width = sum(column[0][1].shape[1] for column in columns) + GAP * (len(columns) + 1)
    sheet = np.full((TILE + TITLE + 2 * GAP + TITLE, width, 3), BACKGROUND, np.uint8)
    left = GAP
    for column in columns:
        top = GAP
        for title, tile in column:
            write(sheet, title, (left, top + 18))
            sheet[top + TITLE : top + TITLE + tile.shape[0], left : left + tile.shape[1]] = tile
            top += TITLE + tile.shape[0] + GAP
        left += column[0][1].shape[1] + GAP
    volume_ml = _enclosed_ml(_points_mm(marker).reshape(-1, 3, 3))
    text = (
        f"{len(marker.points) // 3} triangles enclose {volume_ml:.1f} ml; {num_points} points in /{qos.TUMOUR_POINTS}"
    )
    write(sheet, text, (GAP, sheet.shape[0] - GAP))
    return sheet


def _tumour_view(
    marker: Marker, plane: Marker, to_scanner: Array, corners_mm: Sequence[Array], shape: tuple[int, int]
) -> Picture:
    texture = np.asarray(cv2.imdecode(np.frombuffer(plane.texture.data, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)
    triangles_mm = (_points_mm(marker) @ to_scanner).reshape(-1, 3, 3)
    colours = 255.0 * np.array([(colour.b, colour.g, colour.r) for colour in marker.colors]).reshape(-1, 3, 3)
    everything = np.concatenate((triangles_mm.reshape(-1, 3), _matter_mm(corners_mm, texture)))
    low = np.floor((everything.min(axis=0) - 2) / STEP_MM) * STEP_MM
    high = np.ceil((everything.max(axis=0) + 2) / STEP_MM) * STEP_MM
    view = View(shape, low, high)
    view.draw_box()
    view.draw_triangles(triangles_mm, colours)
    view.draw_plane(corners_mm, texture)
    view.write_scales()
    return view.picture


def _matter_mm(corners_mm: Sequence[Array], texture: Picture) -> Array:
    """Corners of the part of a slice that is not air."""
    top_left, top_right, bottom_left = corners_mm
    rows, columns = np.nonzero(texture.max(axis=-1) > 40)
    height, width = texture.shape[:2]
    return np.array([
        top_left + i / width * (top_right - top_left) + j / height * (bottom_left - top_left)
        for i in (columns.min(), columns.max())
        for j in (rows.min(), rows.max())
    ])  # fmt: skip


def _slice(picture: Picture, size: int, directions: Sequence[Array]) -> Picture:
    """A slice with the patient's sides at its borders, of so many rows."""
    scale = size / picture.shape[0]
    shape = (round(picture.shape[1] * scale), size)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    tile: Picture = cv2.resize(picture, shape, interpolation=interpolation).astype(np.uint8)
    height, width = tile.shape[:2]
    (right, left), (bottom, top) = (_sides(direction) for direction in directions)
    big = 0.8 if size > 300 else 0.55
    for letter, at in (
        (right, (width - 14, height // 2)), (left, (14, height // 2)),
        (bottom, (width // 2, height - 16)), (top, (width // 2, 16)),
    ):  # fmt: skip
        write(tile, letter, at, big, 1, centred=True)
    return tile


def _sides(direction: Array) -> tuple[str, str]:
    """Letters of the sides towards which and from which a direction points."""
    axis = int(np.argmax(np.abs(direction)))
    positive, negative = ENDS[axis]
    return (positive, negative) if direction[axis] > 0 else (negative, positive)


def _points_mm(marker: Marker) -> Array:
    return np.array([(point.x, point.y, point.z) for point in marker.points]) / METRES_PER_MM


def _rotation(message: TFMessage) -> Array:
    """Matrix that turns rows of coordinates in the parent frame into the child's."""
    q = message.transforms[0].transform.rotation
    x, y, z, w = q.x, q.y, q.z, q.w
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def _enclosed_ml(corners_t33: Array) -> float:
    a, b, c = (corners_t33[:, corner] for corner in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6000.0)


def main() -> None:
    """Entry point of the executable."""
    parser = argparse.ArgumentParser(prog="snapshot", description="Write a picture of what the viewer shows.")
    parser.add_argument("output", type=Path, help="PNG file")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for a tumour (60)")
    arguments = parser.parse_args(remove_ros_args(sys.argv)[1:])
    rclpy.init()
    node = SnapshotNode()
    try:
        with spinning(node):
            messages = node.wait(arguments.timeout)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    if not is_complete(messages):
        missing = ", ".join(sorted(TOPICS.keys() - messages.keys())) or "a tumour"
        sys.exit(f"Nothing to draw: no message of {missing}. Start the viewer, or send a series with a tumour.")
    cv2.imwrite(str(arguments.output), compose(messages))


if __name__ == "__main__":
    main()
