"""The topics on which a series is shown, for rviz and whoever else subscribes; all latched."""

from __future__ import annotations

from dataclasses import dataclass

from builtin_interfaces.msg import Time
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from neuroscan_core.viewer.label_volume import LabelVolume
from neuroscan_core.viewer.scene import SlicePicture
from neuroscan_ros import qos
from neuroscan_ros.colours import LabelColours
from neuroscan_ros.conversions import time_to_msg
from neuroscan_ros.frames import TF_STATIC, static_transform
from neuroscan_ros.markers import (
    PLANE_NAMESPACE,
    SURFACE_NAMESPACE,
    nothing_to_msg,
    slice_plane_to_msg,
    surface_to_msg,
)
from neuroscan_ros.pictures import BLANK_SHAPE, blank_to_msgs, image_to_msg, labels_to_msg, overlay_to_msg
from neuroscan_ros.points import no_points_to_msg, points_to_msg
from neuroscan_ros.surface import tumour_surface


@dataclass(frozen=True, eq=False)
class Tumour:
    """What `Screen.draw` made and `Screen.show_tumour` publishes."""

    surface: Marker
    points: PointCloud2
    num_triangles: int
    volume_ml: float


class Screen:
    """Publishes pictures, the tumour, the newest slice in its place, and the frames. Thread-safe.

    Parameters
    ----------
    node : rclpy.node.Node
    colours : LabelColours
    """

    def __init__(self, node: Node, colours: LabelColours) -> None:
        self._node, self._colours = node, colours
        self._shape = BLANK_SHAPE
        self._image = node.create_publisher(Image, qos.IMAGE, qos.latched())
        self._overlay = node.create_publisher(Image, qos.OVERLAY, qos.latched())
        self._mask = node.create_publisher(Image, qos.MASK, qos.latched())
        # Two are kept: each slice comes with the message before it that takes the former one away.
        self._plane = node.create_publisher(Marker, qos.SLICE_PLANE, qos.latched(2))
        self._surface = node.create_publisher(Marker, qos.TUMOUR_SURFACE, qos.latched())
        self._points = node.create_publisher(PointCloud2, qos.TUMOUR_POINTS, qos.latched())
        self._frames = node.create_publisher(TFMessage, TF_STATIC, qos.latched())
        self._frames.publish(static_transform(self._now()))

    def show_picture(self, picture: SlicePicture) -> None:
        """Publish image, overlay and mask of a slice; all carry the time at which the slice was received."""
        stamp = time_to_msg(picture.received_at_s) if picture.received_at_s else self._now()
        self._shape = picture.geometry.shape
        self._image.publish(image_to_msg(picture, stamp))
        self._overlay.publish(overlay_to_msg(picture, self._colours.of(picture.model), stamp))
        self._mask.publish(labels_to_msg(picture, stamp))

    def show_plane(self, picture: SlicePicture) -> None:
        """Publish the slice with its overlay in its place in the patient."""
        stamp = time_to_msg(picture.received_at_s) if picture.received_at_s else self._now()
        plane = slice_plane_to_msg(picture, self._colours.of(picture.model), stamp)
        self._plane.publish(nothing_to_msg(PLANE_NAMESPACE, stamp))
        self._plane.publish(plane)

    def draw(self, volume: LabelVolume) -> Tumour:
        """Make the messages of a tumour; takes long, and publishes nothing."""
        surface, colour_of, stamp = tumour_surface(volume), self._colours.of(volume.model), self._now()
        return Tumour(
            surface_to_msg(surface, colour_of, stamp),
            points_to_msg(volume, colour_of, stamp),
            len(surface.triangles_t3),
            surface.volume_ml,
        )

    def show_tumour(self, tumour: Tumour) -> None:
        """Publish surface and points; the former ones leave the screen, also where there are none now."""
        self._surface.publish(tumour.surface)
        self._points.publish(tumour.points)

    def clear(self) -> None:
        """Take everything off the screen."""
        stamp = self._now()
        black = blank_to_msgs(self._shape, stamp)
        for publisher, message in zip((self._image, self._overlay, self._mask), black, strict=True):
            publisher.publish(message)
        self._plane.publish(nothing_to_msg(PLANE_NAMESPACE, stamp))
        self._surface.publish(nothing_to_msg(SURFACE_NAMESPACE, stamp))
        self._points.publish(no_points_to_msg(stamp))

    def close(self) -> None:
        """Destroy the publishers; those who join later get nothing any more."""
        publishers = (
            self._image, self._overlay, self._mask, self._plane, self._surface, self._points, self._frames,
        )  # fmt: skip
        for publisher in publishers:
            self._node.destroy_publisher(publisher)

    def _now(self) -> Time:
        return self._node.get_clock().now().to_msg()
