"""Overlay pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom

from dicom_gateway.results import ResultWriter
from dicom_gateway.results.secondary_capture import outline, patient_orientation
from neuroscan_core.domain.volume import FrameKey

from .checks import assert_valid
from .series import Series, card, classic_series

MakeWriter = Callable[..., ResultWriter]


def ramp(series: Series) -> Callable[[FrameKey], np.ndarray]:
    return lambda key: np.tile(np.arange(series.geometry.shape[2], dtype=np.float32), (series.geometry.shape[1], 1))


def test_every_slice_with_a_finding_gets_a_picture(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    writer = make_writer(series, seg=False, sr=False, secondary_capture=True)
    records = writer.write(series.completed(), series.result(), card(), pixels=ramp(series))
    planes = np.flatnonzero(series.labels().any(axis=(1, 2)))
    assert [record.kind for record in records] == ["SC"] * len(planes)
    pictures = [pydicom.dcmread(tmp_path / record.path) for record in records]
    shown = [ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in pictures]
    assert shown == [series.manifest[k].sop_instance_uid for k in planes]
    assert len({ds.SOPInstanceUID for ds in pictures}) == len(planes)
    assert [ds.InstanceNumber for ds in pictures] == list(range(1, len(planes) + 1))
    assert_valid(tmp_path / records[0].path)


def test_outline_has_the_colour_of_the_card_and_the_rest_is_the_windowed_image(
    make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = classic_series()
    writer = make_writer(series, seg=False, sr=False, secondary_capture=True)
    records = writer.write(series.completed(), series.result(), card(), pixels=ramp(series))
    k = int(np.flatnonzero(series.labels().any(axis=(1, 2)))[0])
    picture = pydicom.dcmread(tmp_path / records[0].path).pixel_array
    labels_ji = series.labels()[k]
    assert (picture[outline(labels_ji == 1)] == (230, 159, 0)).all()
    grey = picture[labels_ji == 0].astype(int)
    assert (grey[:, 0] == grey[:, 1]).all() and (grey[:, 1] == grey[:, 2]).all()
    assert picture[0, 0].max() == 0 and picture[0, -1].min() == 255
    inside = (labels_ji == 1) & ~outline(labels_ji == 1)
    assert inside.any() and (picture[inside][:, 0] > picture[inside][:, 2]).all()


def test_no_pictures_without_a_finding(make_writer: MakeWriter) -> None:
    series = classic_series()
    writer = make_writer(series, seg=False, sr=False, secondary_capture=True)
    nothing = series.result(np.zeros(series.geometry.shape, np.uint8))
    assert writer.write(series.completed(), nothing, card(), pixels=ramp(series)) == []


def test_outline_is_one_voxel_wide() -> None:
    mask = np.zeros((7, 7), bool)
    mask[1:6, 1:6] = True
    expected = mask.copy()
    expected[2:5, 2:5] = False
    assert np.array_equal(outline(mask), expected)


def test_patient_orientation_names_the_nearest_directions() -> None:
    assert patient_orientation([1, 0, 0, 0, 1, 0]) == ("L", "P")
    assert patient_orientation([0, 1, 0, 0, 0, -1]) == ("P", "F")
    assert patient_orientation([-0.9, 0.1, 0, 0, 0.1, 0.9]) == ("R", "H")
