"""Left stays left, front stays front: from voxels of any series to the frames of ROS."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from builtin_interfaces.msg import Time
from neuroscan_ros.frames import PATIENT_LPS, SCANNER, affine_to_metres, patient_to_scanner, static_transform
from neuroscan_ros.points import points_from_msg, points_to_msg
from neuroscan_ros.surface import tumour_surface

from tests.viewer.volumes import CENTRE_LPS_MM, ORIENTATIONS, lesion_volume


def matrix() -> np.ndarray:
    """From coordinates in the child frame to the parent's, as tf2 reads the quaternion."""
    rotation = static_transform(Time()).transforms[0].transform.rotation
    x, y, z, w = rotation.x, rotation.y, rotation.z, rotation.w
    assert x * x + y * y + z * z + w * w == pytest.approx(1.0)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def test_scanner_is_the_child_of_the_patient_and_has_the_same_origin() -> None:
    (transform,) = static_transform(Time()).transforms
    assert (transform.header.frame_id, transform.child_frame_id) == (PATIENT_LPS, SCANNER)
    shift = transform.transform.translation
    assert (shift.x, shift.y, shift.z) == (0.0, 0.0, 0.0)


def test_scanner_has_its_axes_to_the_front_the_left_and_up() -> None:
    front, left, up = matrix().T
    assert front == pytest.approx((0, -1, 0))  # LPS: y points to the back
    assert left == pytest.approx((1, 0, 0))
    assert up == pytest.approx((0, 0, 1))


def test_transform_is_a_rotation_and_no_mirror() -> None:
    assert np.linalg.det(matrix()) == pytest.approx(1.0)
    assert matrix() @ matrix().T == pytest.approx(np.eye(3))


def test_transform_and_function_agree() -> None:
    points = np.random.default_rng(3).normal(size=(7, 3))
    assert patient_to_scanner(points) @ matrix().T == pytest.approx(points)
    x, y, z = points[0]
    assert patient_to_scanner(points[0]) == pytest.approx((-y, x, z))


def test_metres_change_no_directions() -> None:
    volume = lesion_volume("oblique")
    metres = affine_to_metres(volume.affine_lps)
    assert metres[:3] * 1000 == pytest.approx(volume.affine_lps[:3])
    assert metres[3] == pytest.approx((0, 0, 0, 1))
    assert np.linalg.det(metres[:3, :3]) > 0


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_lesion_on_the_left_is_shown_on_the_left(orientation: str) -> None:
    volume = lesion_volume(orientation)
    vertices = tumour_surface(volume).vertices_v3
    points = points_from_msg(points_to_msg(volume, lambda _: (255, 0, 0), Time()))
    positions = np.stack([points[axis] for axis in "xyz"], axis=-1)
    for shown in (vertices, positions):
        middle = shown.mean(axis=0)
        # Within half of the largest voxel spacing: 1.5 mm.
        assert middle == pytest.approx(CENTRE_LPS_MM / 1000, abs=0.0015)
        front, left, up = patient_to_scanner(middle)
        assert (front, left, up) == pytest.approx((0.020, 0.030, 0.010), abs=0.0015)
