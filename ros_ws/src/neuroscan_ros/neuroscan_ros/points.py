"""What is labelled as `sensor_msgs/PointCloud2`: centres of voxels with label and colour."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from scipy import ndimage
from sensor_msgs.msg import PointCloud2, PointField

from neuroscan_core.viewer.label_volume import LabelVolume
from neuroscan_ros.colours import ColourOf
from neuroscan_ros.frames import PATIENT_LPS, affine_to_metres

MAX_POINTS = 50_000  # 1 MB
# `rgb` as rviz and PCL read it: 0x00RRGGBB in the bits of a float32.
POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "u1")])
FIELDS = (
    ("x", PointField.FLOAT32),
    ("y", PointField.FLOAT32),
    ("z", PointField.FLOAT32),
    ("rgb", PointField.FLOAT32),
    ("label", PointField.UINT8),
)


def points_to_msg(
    volume: LabelVolume, colour_of: ColourOf, stamp: Time, *, max_points: int = MAX_POINTS
) -> PointCloud2:
    """Points of all labels in the frame `PATIENT_LPS`, in metres.

    Parameters
    ----------
    max_points : int
        Beyond, only voxels at the border of their label are taken, and of those every second, third...
    """
    return _to_msg(_points(volume, colour_of, max_points), stamp)


def no_points_to_msg(stamp: Time) -> PointCloud2:
    """A cloud without points; it takes the former one off the screen."""
    return _to_msg(np.zeros(0, POINT), stamp)


def points_from_msg(message: PointCloud2) -> npt.NDArray[np.void]:
    """Structured array with the fields of `POINT`."""
    return np.frombuffer(message.data, POINT)


def _to_msg(points: npt.NDArray[np.void], stamp: Time) -> PointCloud2:
    message = PointCloud2()
    message.header.stamp = stamp
    message.header.frame_id = PATIENT_LPS
    message.height, message.width = 1, len(points)
    message.fields = [
        PointField(name=name, offset=POINT.fields[name][1], datatype=datatype, count=1)  # type: ignore[index]
        for name, datatype in FIELDS
    ]
    message.is_bigendian = False
    message.point_step, message.row_step = POINT.itemsize, POINT.itemsize * len(points)
    message.data = array("B", points.tobytes())
    message.is_dense = True
    return message


def _points(volume: LabelVolume, colour_of: ColourOf, max_points: int) -> npt.NDArray[np.void]:
    indices_n3 = np.argwhere(_chosen(volume.labels_kji, max_points))
    indices_n3 = indices_n3[:: -(-len(indices_n3) // max_points) or 1]
    affine = affine_to_metres(volume.affine_lps)
    positions_n3 = indices_n3[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    labels_n = volume.labels_kji[tuple(indices_n3.T)]
    points = np.zeros(len(indices_n3), POINT)
    points["x"], points["y"], points["z"] = positions_n3.T
    points["label"] = labels_n
    for label in np.unique(labels_n):
        red, green, blue = colour_of(int(label))
        points["rgb"][labels_n == label] = red << 16 | green << 8 | blue
    return points


def _chosen(labels_kji: npt.NDArray[np.uint8], max_points: int) -> npt.NDArray[np.bool_]:
    if np.count_nonzero(labels_kji) <= max_points:
        return labels_kji > 0
    cross = ndimage.generate_binary_structure(3, 1)
    # The volume is cut to what is labelled: beyond its border is background.
    lowest = ndimage.minimum_filter(labels_kji, footprint=cross, mode="constant", cval=0)
    highest = ndimage.maximum_filter(labels_kji, footprint=cross, mode="constant", cval=0)
    return np.asarray((labels_kji > 0) & (lowest != highest))
