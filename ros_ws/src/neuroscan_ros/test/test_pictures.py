"""Slices, points and markers as messages."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("skimage", reason='needs scikit-image: pip install "neuroscan[ros]"')

from builtin_interfaces.msg import Time
from neuroscan_ros.colours import LabelColours
from neuroscan_ros.markers import nothing_to_msg, slice_plane_to_msg, surface_to_msg
from neuroscan_ros.pictures import array_from_msg, blank_to_msgs, image_to_msg, labels_to_msg, overlay_to_msg
from neuroscan_ros.points import POINT, no_points_to_msg, points_from_msg, points_to_msg
from neuroscan_ros.surface import tumour_surface
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, PointCloud2, PointField
from visualization_msgs.msg import Marker

from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.inference.bundle import find_cards
from neuroscan_core.viewer.label_volume import LabelVolume
from neuroscan_core.viewer.picture import grey_levels, overlay_picture
from neuroscan_core.viewer.scene import SlicePicture
from tests.viewer.volumes import MODEL, ORIENTATIONS, distances_mm, lesion, lesion_volume, stack

STAMP = Time(sec=7, nanosec=8)
RED, GREEN = (200, 10, 20), (30, 180, 40)


def colour_of(label: int) -> tuple[int, int, int]:
    return {1: RED, 2: GREEN}[label]


def picture(orientation: str = "axial", *, label: int = 1) -> SlicePicture:
    """The slice through the middle of the lesion, with noise for an image."""
    geometry = stack(ORIENTATIONS[orientation])
    labels_kji = lesion(geometry, label=label)
    k = int(np.argmax(np.count_nonzero(labels_kji, axis=(1, 2))))
    pixels_ji = np.random.default_rng(5).uniform(0, 900, labels_kji.shape[1:])
    return SlicePicture(
        "1.2", FrameKey("1.2.3"), geometry.slice_geometry(k), grey_levels(pixels_ji), labels_kji[k], MODEL, 7.0
    )


def test_image_is_the_slice_as_the_status_page_shows_it() -> None:
    shown = picture()
    message = image_to_msg(shown, STAMP)
    assert (message.encoding, message.height, message.width, message.step) == ("mono8", 96, 104, 104)
    assert (message.header.frame_id, message.header.stamp) == ("patient_lps", STAMP)
    assert np.array_equal(array_from_msg(message), shown.grey_ji)
    received = deserialize_message(serialize_message(message), Image)
    assert np.array_equal(array_from_msg(received), shown.grey_ji)


def test_overlay_is_grey_outside_of_the_tumour_and_has_the_labels_colour_inside() -> None:
    shown = picture()
    message = overlay_to_msg(shown, colour_of, STAMP)
    assert (message.encoding, message.step) == ("rgb8", 3 * 104)
    pixels = array_from_msg(message)
    outside = shown.labels_ji == 0
    assert np.array_equal(pixels[outside], np.repeat(shown.grey_ji[outside][:, None], 3, axis=1))
    middle = pixels[shown.labels_ji == 1].astype(int)
    assert np.all(middle[:, 0] >= middle[:, 1])  # red, and not blue, in a picture that is RGB
    assert np.any(np.all(middle == RED, axis=1))  # the outline


def test_status_page_still_draws_with_its_own_colours() -> None:
    shown = picture()
    expected = overlay_picture(shown.grey_ji, shown.labels_ji)
    message = overlay_to_msg(shown, LabelColours({}).of(MODEL), STAMP)
    assert np.array_equal(array_from_msg(message)[..., ::-1], expected)


def test_colours_are_those_of_the_models_card() -> None:
    cards = find_cards()
    for card in cards.values():
        of_model = LabelColours(cards).of(ModelIdentity(card.name, card.version, card.onnx_sha256))
        assert [of_model(label.value) for label in card.labels] == [label.colour_rgb for label in card.labels]
    flair = cards["mobilenetv2-unet-flair"]
    of_other_version = LabelColours(cards).of(ModelIdentity(flair.name, "0.0.0", ""))
    assert of_other_version(1) != flair.labels[0].colour_rgb


def test_mask_tells_labels_apart() -> None:
    shown = picture()
    labels_ji = np.arange(96 * 104, dtype=np.uint8).reshape(96, 104) % 4
    values = array_from_msg(labels_to_msg(replace(shown, labels_ji=labels_ji), STAMP))
    assert [sorted(set(values[labels_ji == label].tolist())) for label in range(4)] == [[0], [255], [170], [85]]


def test_blank_pictures_are_black_and_not_empty() -> None:
    for message, shape in zip(blank_to_msgs((4, 6), STAMP), ((4, 6), (4, 6, 3), (4, 6)), strict=True):
        pixels = array_from_msg(message)
        assert pixels.shape == shape and not pixels.any()


def test_surface_has_a_shaded_colour_of_its_label_at_every_corner() -> None:
    geometry = stack(ORIENTATIONS["axial"], (60, 96, 104), (1.0, 1.1, 1.0))
    distances = distances_mm(geometry, np.zeros(3))
    labels_kji = np.select([distances < 8, distances < 14], [2, 1]).astype(np.uint8)
    surface = tumour_surface(LabelVolume.of(geometry, labels_kji, MODEL))
    marker = surface_to_msg(surface, colour_of, STAMP)
    assert (marker.type, marker.action, marker.header.frame_id) == (Marker.TRIANGLE_LIST, Marker.ADD, "patient_lps")
    assert len(marker.points) == len(marker.colors) == surface.triangles_t3.size
    assert (marker.scale.x, marker.scale.y, marker.scale.z, marker.pose.orientation.w) == (1, 1, 1, 1)
    corners = surface.triangles_t3.ravel()
    positions = np.array([(point.x, point.y, point.z) for point in marker.points])
    assert positions == pytest.approx(surface.vertices_v3[corners])
    colours = np.array([(colour.r, colour.g, colour.b) for colour in marker.colors])
    for label, colour in ((1, RED), (2, GREEN)):
        shades = colours[surface.labels_v[corners] == label] / (np.array(colour) / 255)
        assert shades == pytest.approx(np.repeat(shades[:, :1], 3, axis=1))
        assert shades.max() <= 1 + 1e-6 and shades.min() > 0.3
        assert len(np.unique(shades[:, 0].round(6))) > 5
    assert all(colour.a == 1.0 for colour in marker.colors)


def test_empty_segmentation_takes_the_last_tumour_off_the_screen() -> None:
    geometry = stack(ORIENTATIONS["axial"])
    volume = LabelVolume.of(geometry, np.zeros(geometry.shape, np.uint8), MODEL)
    marker = surface_to_msg(tumour_surface(volume), colour_of, STAMP)
    assert marker.action == Marker.DELETEALL and not marker.points
    assert marker.ns == surface_to_msg(tumour_surface(lesion_volume("axial")), colour_of, STAMP).ns
    for message in (points_to_msg(volume, colour_of, STAMP), no_points_to_msg(STAMP)):
        assert message.width == 0 and len(message.data) == 0 and len(message.fields) == 5


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_slice_lies_where_its_pixels_lie(orientation: str) -> None:
    shown = picture(orientation)
    marker = slice_plane_to_msg(shown, colour_of, STAMP)
    assert marker.type == Marker.TRIANGLE_LIST and len(marker.points) == len(marker.uv_coordinates) == 6
    corners = np.array([(point.x, point.y, point.z) for point in marker.points])
    places = np.array([(uv.u, uv.v) for uv in marker.uv_coordinates])
    rows, columns = shown.geometry.shape
    affine = stack(ORIENTATIONS[orientation]).affine_lps
    for (u, v), corner in zip(places, corners, strict=True):
        i, j = u * columns - 0.5, v * rows - 0.5
        expected = np.array(shown.geometry.position_mm) + affine[:3, 0] * i + affine[:3, 1] * j
        assert corner * 1000 == pytest.approx(expected)
    assert {tuple(place) for place in places.tolist()} == {(0, 0), (1, 0), (0, 1), (1, 1)}


def test_slices_texture_is_its_overlay() -> None:
    shown = picture(label=2)
    marker = slice_plane_to_msg(shown, colour_of, STAMP)
    assert marker.texture_resource.startswith("embedded://") and marker.texture.format == "png"
    texture = cv2.imdecode(np.frombuffer(marker.texture.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(texture[..., ::-1], array_from_msg(overlay_to_msg(shown, colour_of, STAMP)))
    assert nothing_to_msg(marker.ns, STAMP).action == Marker.DELETEALL


def test_points_are_the_voxels_with_label_and_colour() -> None:
    volume = lesion_volume("oblique")
    message = points_to_msg(volume, colour_of, STAMP)
    points = points_from_msg(deserialize_message(serialize_message(message), PointCloud2))
    assert len(points) == np.count_nonzero(volume.labels_kji) == message.width
    assert set(points["label"].tolist()) == {1}
    assert {(int(value) >> 16, int(value) >> 8 & 255, int(value) & 255) for value in points["rgb"]} == {RED}
    k, j, i = np.argwhere(volume.labels_kji)[17]
    place_mm = (volume.affine_lps @ (i, j, k, 1))[:3]
    position = [float(points[axis][17]) for axis in "xyz"]
    assert position == pytest.approx(place_mm / 1000, abs=1e-6)  # float32


def test_points_are_laid_out_as_their_fields_say() -> None:
    message = points_to_msg(lesion_volume("axial"), colour_of, STAMP)
    sizes = {PointField.FLOAT32: 4, PointField.UINT8: 1}
    offset = 0
    for field in message.fields:
        assert field.offset == offset and field.count == 1
        offset += sizes[field.datatype]
    assert [field.name for field in message.fields] == ["x", "y", "z", "rgb", "label"]
    assert message.point_step == POINT.itemsize == offset
    assert message.row_step == len(message.data) == message.point_step * message.width


def test_many_voxels_become_those_at_the_border_and_never_too_many() -> None:
    geometry = stack(ORIENTATIONS["axial"], (60, 96, 104), (1.0, 1.1, 1.0))
    distances = distances_mm(geometry, np.zeros(3))
    volume = LabelVolume.of(geometry, (distances < 25).astype(np.uint8), MODEL)
    border = points_from_msg(points_to_msg(volume, colour_of, STAMP, max_points=20_000))
    lengths = np.linalg.norm(np.stack([border[axis] for axis in "xyz"], axis=-1), axis=-1) * 1000
    assert 1000 < len(border) <= 20_000
    assert lengths.min() > 22 and lengths.max() < 25
    few = points_from_msg(points_to_msg(volume, colour_of, STAMP, max_points=300))
    assert 100 < len(few) <= 300
