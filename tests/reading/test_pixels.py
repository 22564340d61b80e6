"""What stored bits mean: unused bits, sign, inversion, rescale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from dicom_gateway.reading import object_of, parse_object, slices_of
from dicom_gateway.reading.layout import PixelLayout
from dicom_gateway.reading.pixels import stored_frames
from neuroscan_core.domain.errors import UndecodablePixels

MakeImage = Callable[..., Dataset]


def pixels_of(ds: Dataset) -> np.ndarray[Any, np.dtype[np.float32]]:
    (one,) = slices_of(ds)
    return one.pixels_ji


def test_bits_above_the_stored_ones_are_dropped(make_image: MakeImage) -> None:
    clean = np.arange(96, dtype=np.uint16).reshape(12, 8) * 40
    ds = make_image(pixels_ji=clean | 0xF000, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(pixels_of(ds), clean.astype(np.float32))


def test_the_sign_bit_is_the_highest_stored_one(make_image: MakeImage) -> None:
    signed = np.linspace(-2048, 2047, 96).astype(np.int16).reshape(12, 8)
    dirty = (signed.view(np.uint16) & 0x0FFF) | 0x5000
    ds = make_image(pixels_ji=dirty, BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_array_equal(pixels_of(ds), signed.astype(np.float32))


def test_stored_bits_may_lie_high(make_image: MakeImage) -> None:
    values = np.arange(96, dtype=np.uint16).reshape(12, 8)
    ds = make_image(pixels_ji=(values << 4) | 0x3, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(pixels_of(ds), values.astype(np.float32))


def test_big_endian_words_of_eight_bit_pixels_are_swapped(
    make_image: MakeImage, as_file: Callable[[Dataset], bytes]
) -> None:
    values = np.arange(96, dtype=np.uint8).reshape(12, 8)
    ds = make_image(pixels_ji=values.view(">u2").byteswap().view(np.uint8).reshape(12, 8))
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    (one,) = slices_of(parse_object(as_file(ds)))
    np.testing.assert_array_equal(one.pixels_ji, values.astype(np.float32))


def test_monochrome1_is_turned_so_that_bright_is_large(make_image: MakeImage) -> None:
    values = np.arange(96, dtype=np.uint16).reshape(12, 8)
    ds = make_image(pixels_ji=values, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(pixels_of(ds), 4095 - values.astype(np.float32))


def test_signed_monochrome1_stays_in_its_range(make_image: MakeImage) -> None:
    values = np.array([[-128, -1], [0, 127]], dtype=np.int8)
    ds = make_image(pixels_ji=values, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(pixels_of(ds), [[127, 0], [-1, -128]])


def test_the_rescale_is_applied(make_image: MakeImage) -> None:
    values = np.arange(96, dtype=np.uint16).reshape(12, 8)
    ds = make_image(pixels_ji=values, RescaleSlope="0.25", RescaleIntercept="-3.5")
    np.testing.assert_array_equal(pixels_of(ds), values * np.float32(0.25) - np.float32(3.5))


@pytest.mark.parametrize(
    "attributes",
    [
        {"BitsStored": 17},
        {"HighBit": 20},
        {"BitsAllocated": 12},
        {"BitsStored": None, "HighBit": None},
        {"Rows": None},
        {"SamplesPerPixel": 3},
        {"RescaleSlope": "0"},
    ],
)
def test_a_contradiction_is_an_error_not_a_picture(make_image: MakeImage, attributes: dict[str, Any]) -> None:
    with pytest.raises(UndecodablePixels):
        pixels_of(make_image(**attributes))


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(2, 16),
    signed=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_native_frames_equal_those_of_pydicom(bits: int, signed: bool, seed: int) -> None:
    allocated = 8 if bits <= 8 else 16
    raw = np.random.default_rng(seed).integers(0, 1 << allocated, (5, 7), dtype=np.uint32).astype(f"u{allocated // 8}")
    ds = Dataset()
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 5, 7, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = allocated, bits, bits - 1, int(signed)
    data = raw.tobytes()
    ds.add_new("PixelData", "OW", data + b"\0" * (len(data) % 2))
    ds.file_meta = Dataset()  # type: ignore[assignment]
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ((number, ours),) = stored_frames(object_of(ds))
    assert number == 1
    np.testing.assert_array_equal(ours, ds.pixel_array)


def test_the_layout_of_a_header_is_read_whole(make_image: MakeImage) -> None:
    assert PixelLayout.of(make_image()) == PixelLayout(12, 8, 1, 16, 16, 15, False, False)
