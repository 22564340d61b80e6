"""The tumour's surface, and a slice in its place in the patient, as `visualization_msgs/Marker`."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, UVCoordinate

from neuroscan_core.domain.geometry import SliceGeometry
from neuroscan_core.viewer.picture import tint
from neuroscan_core.viewer.scene import SlicePicture
from neuroscan_ros.colours import ColourOf
from neuroscan_ros.frames import METRES_PER_MM, PATIENT_LPS
from neuroscan_ros.surface import Surface

SURFACE_NAMESPACE, PLANE_NAMESPACE = "tumour", "slice"
LIGHT_LPS = np.array((0.4, -0.6, 0.7)) / np.linalg.norm((0.4, -0.6, 0.7))  # from the front, the left and above
DARKEST = 0.35
NUM_SHADES = 16
TEXTURE_FORMAT = "png"  # rviz gives it to its image loader as it is


def surface_to_msg(surface: Surface, colour_of: ColourOf, stamp: Time) -> Marker:
    """Triangles in the colours of their labels; takes the surface off the screen where there is none.

    rviz does not light triangles whose corners have colours, so that the light is in the colours here.
    """
    if not len(surface.triangles_t3):
        return nothing_to_msg(SURFACE_NAMESPACE, stamp)
    marker = _marker(SURFACE_NAMESPACE, stamp)
    points = [Point(x=x, y=y, z=z) for x, y, z in surface.vertices_v3.tolist()]
    colours = _shaded(surface, colour_of)
    corners = surface.triangles_t3.ravel().tolist()
    marker.points = [points[corner] for corner in corners]
    marker.colors = [colours[corner] for corner in corners]
    return marker


def nothing_to_msg(namespace: str, stamp: Time) -> Marker:
    """Take everything of a namespace off the screen."""
    marker = Marker()
    marker.header.stamp = stamp
    marker.header.frame_id = PATIENT_LPS
    marker.ns = namespace
    marker.action = Marker.DELETEALL
    return marker


def slice_plane_to_msg(picture: SlicePicture, colour_of: ColourOf, stamp: Time) -> Marker:
    """The slice with its overlay on the rectangle that its pixels fill.

    rviz lays the texture of every update over the former ones: send `nothing_to_msg` before each.
    """
    is_encoded, data = cv2.imencode(
        f".{TEXTURE_FORMAT}", tint(picture.grey_ji, picture.labels_ji, lambda label: colour_of(label)[::-1])
    )
    assert is_encoded
    marker = _marker(PLANE_NAMESPACE, stamp)
    top_left, top_right, bottom_left, bottom_right = (
        (Point(x=x, y=y, z=z), UVCoordinate(u=u, v=v)) for (x, y, z), (u, v) in _corners(picture.geometry)
    )
    corners = (top_left, top_right, bottom_right, top_left, bottom_right, bottom_left)
    marker.points = [point for point, _ in corners]
    marker.uv_coordinates = [uv for _, uv in corners]
    marker.texture_resource = "embedded://slice"
    marker.texture = CompressedImage(header=marker.header, format=TEXTURE_FORMAT, data=array("B", data.tobytes()))
    return marker


def _corners(geometry: SliceGeometry) -> list[tuple[list[float], tuple[float, float]]]:
    """Outer corners of the first and last pixels of the first and last rows: position in metres, place in texture."""
    rows, columns = geometry.shape
    origin = np.array(geometry.position_mm)
    along_row = np.multiply(geometry.orientation[:3], geometry.spacing_mm[1])
    along_column = np.multiply(geometry.orientation[3:], geometry.spacing_mm[0])
    return [
        (((origin + (i - 0.5) * along_row + (j - 0.5) * along_column) * METRES_PER_MM).tolist(), (u, v))
        for j, v in ((0, 0.0), (rows, 1.0))
        for i, u in ((0, 0.0), (columns, 1.0))
    ]


def _marker(namespace: str, stamp: Time) -> Marker:
    marker = Marker()
    marker.header.stamp = stamp
    marker.header.frame_id = PATIENT_LPS
    marker.ns = namespace
    marker.type = Marker.TRIANGLE_LIST
    marker.action = Marker.ADD
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    return marker


def _shaded(surface: Surface, colour_of: ColourOf) -> list[ColorRGBA]:
    """Colour of each vertex; few different objects, as messages of many are slow to make."""
    shades_v = _shades(surface.normals_v3)
    colours: dict[tuple[int, int], ColorRGBA] = {}
    for label in np.unique(surface.labels_v).tolist():
        red, green, blue = colour_of(label)
        for shade in range(NUM_SHADES):
            light = (DARKEST + (1 - DARKEST) * shade / (NUM_SHADES - 1)) / 255
            colours[label, shade] = ColorRGBA(r=red * light, g=green * light, b=blue * light, a=1.0)
    return [colours[pair] for pair in zip(surface.labels_v.tolist(), shades_v.tolist(), strict=True)]


def _shades(normals_v3: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """0 on the far side of the light to `NUM_SHADES` - 1 on the near one."""
    towards_v = 0.5 + 0.5 * (normals_v3 @ LIGHT_LPS)
    return np.asarray(np.rint(np.clip(towards_v, 0, 1) * (NUM_SHADES - 1)), dtype=np.int64)
