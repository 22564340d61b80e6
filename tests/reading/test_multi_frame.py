"""Enhanced objects and mosaics: where each frame or tile lies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage

from dicom_gateway.reading import (
    expected_num_slices,
    frames_of,
    is_concatenated,
    open_object,
    read_header,
    read_series,
    slices_of,
    spacing_hint_mm,
)
from neuroscan_core.config import SeriesConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
MakeImage = Callable[..., Dataset]


def item(**attributes: Any) -> list[Dataset]:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return [ds]


@pytest.fixture
def make_enhanced(make_image: MakeImage) -> Callable[..., Dataset]:
    """Six frames; frame n lies at z = 2 n and has its own rescale."""

    def make(num_frames: int = 6, sop_class: str = EnhancedMRImageStorage) -> Dataset:
        ds = make_image(pixels_ji=np.arange(num_frames * 96, dtype=np.uint16).reshape(num_frames * 12, 8))
        ds.Rows, ds.NumberOfFrames, ds.SOPClassUID = 12, num_frames, sop_class
        del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing
        shared = Dataset()
        shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
        shared.PixelMeasuresSequence = item(PixelSpacing=[1, 1], SliceThickness=2)
        ds.SharedFunctionalGroupsSequence = [shared]
        frames = []
        for n in range(num_frames):
            frame = Dataset()
            frame.PlanePositionSequence = item(ImagePositionPatient=[0, 0, 2 * n])
            frame.PixelValueTransformationSequence = item(RescaleSlope=n + 1, RescaleIntercept=0, RescaleType="US")
            frame.FrameContentSequence = item(TemporalPositionIndex=1)
            frames.append(frame)
        ds.PerFrameFunctionalGroupsSequence = frames
        return ds

    return make


@pytest.mark.parametrize("sop_class", [EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage])
def test_frames_take_what_is_shared_and_what_is_their_own(
    make_enhanced: Callable[..., Dataset], sop_class: str
) -> None:
    ds = make_enhanced(sop_class=sop_class)
    slices = list(slices_of(ds))
    assert [one.key.frame_number for one in slices] == [1, 2, 3, 4, 5, 6]
    assert [one.geometry.position_mm[2] for one in slices] == [0, 2, 4, 6, 8, 10]
    for n, one in enumerate(slices):
        np.testing.assert_array_equal(one.pixels_ji, ds.pixel_array[n].astype(np.float32) * (n + 1))
    assert spacing_hint_mm(ds, frames_of(ds)) == 2.0


def test_single_frames_of_an_object_can_be_asked_for(make_enhanced: Callable[..., Dataset]) -> None:
    ds = make_enhanced()
    assert [one.key.frame_number for one in slices_of(ds, frame_numbers=[5, 2])] == [2, 5]


def test_time_points_in_one_object_are_refused_with_their_number(make_enhanced: Callable[..., Dataset]) -> None:
    ds = make_enhanced()
    for n, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, n % 3]
        frame.FrameContentSequence[0].TemporalPositionIndex = 1 + n // 3
    with pytest.raises(SeriesRejection, match=r"6 frames at 3 positions: 2 time points \(1, 2\)") as caught:
        frames_of(ds)
    assert caught.value.code is RejectionCode.DUPLICATE_POSITIONS


def test_magnitude_beside_a_field_map_is_refused_by_name(mr_data: Path) -> None:
    header = read_header(mr_data / "philips_achieva_enhanced_b0" / "IM_0027_fMAP.dcm")
    with pytest.raises(SeriesRejection, match=r"complex components \(MAGNITUDE, REAL\)"):
        frames_of(header)


@pytest.mark.parametrize("group", ["PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"])
def test_a_missing_functional_group_is_missing_geometry(make_enhanced: Callable[..., Dataset], group: str) -> None:
    ds = make_enhanced()
    for functional_groups in (*ds.SharedFunctionalGroupsSequence, *ds.PerFrameFunctionalGroupsSequence):
        if group in functional_groups:
            delattr(functional_groups, group)
    with pytest.raises(SeriesRejection) as caught:
        frames_of(ds)
    assert caught.value.code is RejectionCode.MISSING_GEOMETRY


def test_fewer_descriptions_than_frames_are_refused(make_enhanced: Callable[..., Dataset]) -> None:
    ds = make_enhanced()
    ds.PerFrameFunctionalGroupsSequence.pop()
    with pytest.raises(SeriesRejection, match="describes 5 of them"):
        frames_of(ds)


def test_a_concatenation_is_known_as_one(make_enhanced: Callable[..., Dataset]) -> None:
    ds = make_enhanced()
    assert not is_concatenated(ds)
    ds.InConcatenationTotalNumber = 2
    assert is_concatenated(ds)


# ---------------------------------------------------------------------------------------------------------- mosaics


def test_tiles_lie_where_nibabel_puts_them(mr_data: Path) -> None:
    wrappers = pytest.importorskip("nibabel.nicom.dicomwrappers")
    for folder in ("siemens_trio_mosaic_uncompressed", "siemens_trio_mosaic_jpeg_lossless"):
        path = sorted((mr_data / folder).iterdir())[0]
        reference = wrappers.wrapper_from_data(pydicom.dcmread(path))
        slices = list(slices_of(open_object(path)))
        assert len(slices) == reference.image_shape[2]
        for k, one in enumerate(slices):
            expected = (reference.affine @ [0, 0, k, 1])[:3]
            # The CSA normal that nibabel multiplies with is rounded to seven digits over 126 mm.
            np.testing.assert_allclose(one.geometry.position_mm, expected, atol=1e-4)


def test_tiles_have_the_pixels_of_the_mosaic(mr_data: Path) -> None:
    path = sorted((mr_data / "siemens_trio_mosaic_uncompressed").iterdir())[0]
    ds = pydicom.dcmread(path)
    slices = list(slices_of(open_object(path)))
    assert len(slices) == 35 and slices[0].pixels_ji.shape == (64, 64)
    np.testing.assert_array_equal(slices[8].pixels_ji, ds.pixel_array[64:128, 128:192].astype(np.float32))
    (series,) = read_series([path], SeriesConfig())
    assert series.require_volume().geometry.spacing_mm == pytest.approx(3.6, abs=1e-6)


def test_a_mosaic_without_its_private_header_is_refused(mr_data: Path) -> None:
    header = read_header(sorted((mr_data / "siemens_trio_mosaic_uncompressed").iterdir())[0])
    bare = copy.deepcopy(header)
    bare.remove_private_tags()
    with pytest.raises(SeriesRejection, match="CSA") as caught:
        frames_of(bare)
    assert caught.value.code is RejectionCode.MISSING_GEOMETRY
    damaged = copy.deepcopy(header)
    block = damaged.private_block(0x0029, "SIEMENS CSA HEADER")
    block[0x10].value = block[0x10].value[:700]
    with pytest.raises(SeriesRejection, match="CSA"):
        frames_of(damaged)


# ---------------------------------------------------------------------------------------------------- announcements


@pytest.mark.parametrize(
    ("folder", "count", "spacing_mm"),
    [
        ("ge_signa_pioneer_t1_mprage", 130, 1.2),
        ("philips_elition_pcasl_classic", 40, 4.0),
        ("toshiba_galan_dwi_b0", None, 3.0),
    ],
)
def test_headers_announce_their_series(mr_data: Path, folder: str, count: int | None, spacing_mm: float) -> None:
    header = read_header(sorted((mr_data / folder).iterdir())[0])
    assert expected_num_slices(header) == count
    assert spacing_hint_mm(header, frames_of(header)) == spacing_mm


@pytest.mark.parametrize(
    ("attributes", "hint"),
    [
        ({"SpacingBetweenSlices": 3.3}, 3.3),
        ({"SpacingBetweenSlices": 0.3}, None),  # some makers wrote the gap
        ({"SpacingBetweenSlices": 1.5, "MRAcquisitionType": "3D"}, 1.5),  # overlapping partitions
        ({"SpacingBetweenSlices": 0}, None),
        ({"SpacingBetweenSlices": 3.3, "SliceThickness": None}, 3.3),
        ({}, None),
    ],
)
def test_the_spacing_is_believed_where_it_can_be(
    make_image: MakeImage, attributes: dict[str, Any], hint: float | None
) -> None:
    ds = make_image(**attributes)
    assert spacing_hint_mm(ds, frames_of(ds)) == hint
