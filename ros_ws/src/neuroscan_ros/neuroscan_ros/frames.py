"""Coordinate frames of what is shown.

Messages lie in `PATIENT_LPS`: the axes of DICOM (x to the patient's left, y to the back, z to the head), but in metres,
as ROS has it. `SCANNER` has the same origin and the axes of REP 103, seen from the patient: x to the front, y to the
left, z up to the head. Both frames belong to the series that is shown: its frame of reference gives the origin.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from tf2_msgs.msg import TFMessage

from neuroscan_ros import qos

PATIENT_LPS = qos.PATIENT_FRAME
SCANNER = "scanner"
# By itself and latched, as tf2_ros's broadcaster sends it: one message that never changes needs no library.
TF_STATIC = "/tf_static"

METRES_PER_MM = 1e-3
# Its columns are the axes of SCANNER in PATIENT_LPS.
LPS_FROM_SCANNER = np.array(((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
QUARTER_TURN = math.pi / 4  # half of the angle, as quaternions have it


def static_transform(stamp: Time) -> TFMessage:
    """Where `SCANNER` lies in `PATIENT_LPS`: turned by -90 degrees about the axis to the head."""
    transform = TransformStamped()
    transform.header.stamp = stamp
    transform.header.frame_id = PATIENT_LPS
    transform.child_frame_id = SCANNER
    transform.transform.rotation.z = -math.sin(QUARTER_TURN)
    transform.transform.rotation.w = math.cos(QUARTER_TURN)
    return TFMessage(transforms=[transform])


def affine_to_metres(affine_lps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn a 4x4 matrix from voxel indices to LPS millimetres into one to `PATIENT_LPS`, in metres."""
    affine = np.array(affine_lps, dtype=np.float64)
    affine[:3] *= METRES_PER_MM
    return affine


def patient_to_scanner(points_3: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Coordinates in `SCANNER` of points in `PATIENT_LPS`; any shape whose last axis is 3."""
    return np.asarray(points_3 @ LPS_FROM_SCANNER)
