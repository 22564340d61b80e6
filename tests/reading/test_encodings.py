"""The same image in every encoding gives the same numbers; damaged data gives an error, never numbers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicom_gateway.reading import object_of, open_object, parse_object, read_series, slices_of
from dicom_gateway.reading.pixels import stored_frames
from neuroscan_core.config import SeriesConfig
from neuroscan_core.domain.errors import RejectionCode, UndecodablePixels, UnreadableObject

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

HTJ2K_16x12 = (
    "/0//UQApQAAAAAAMAAAAEAAAAAAAAAAAAAAADAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCI"
    "kJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAQgAAf+TwAAmP/QFB3QAAMAAE0AAEsAAEwBY"
    "8QOHdABkAod0AD/+Agd0AMAAE0AAFVAABOCZqAELdABdAau9cOMAwZQAAiDoAot0AMAAFoQAAWtAABaI3OTlAzOOYL+4+4mdsot2"
    "ANf1el33FbTpAIX8wVT8BBAzR5D5uAD/H3iGD/ui/3+AEEDMMI94AMAALdgABdvAAC0wKFCgQOEfKKa6+u8//NN//wuKocjeAMDw"
    "OnICeQBVa1VVVVVVrVVVVVVVtVZVVQXQg74KVeBTgU8F8FmFBDb6A1NhPv0AABAlHGJesv1+svhqMbAB/ud//3f/f/f/f+/7AcJx"
    "swl4AP/Z"
)
"""Lossless HTJ2K codestream of ((277 i + 11 j^2) mod 4096) for 16 rows j and 12 columns i, 16 bit."""


def test_nine_encodings_of_one_mosaic_have_equal_voxels(mr_data: Path) -> None:
    files = sorted((mr_data / "siemens_trio_transfer_syntaxes").iterdir())
    volumes = [read_series([path], SeriesConfig())[0].require_volume() for path in files]
    assert len(volumes) == 9
    assert len({open_object(path).transfer_syntax_uid for path in files}) == 7
    for volume in volumes[1:]:
        np.testing.assert_array_equal(volume.voxels_kji, volumes[0].voxels_kji)
        np.testing.assert_array_equal(volume.geometry.affine_lps, volumes[0].geometry.affine_lps)


def test_five_encodings_of_one_multi_frame_object_have_equal_frames(mr_data: Path) -> None:
    folder = mr_data / "enhanced_mr_transfer_syntaxes"
    names = ["", "_RLE", "_big_endian", "_jpeg_2k_lossless", "_jpeg_ls_lossless"]
    stacks = [
        np.stack([frame for _, frame in stored_frames(open_object(folder / f"emri_small{name}.dcm"))]) for name in names
    ]
    assert stacks[0].shape == (10, 64, 64)
    for stack in stacks[1:]:
        np.testing.assert_array_equal(stack, stacks[0])


@pytest.mark.parametrize("name", ["", "_RLE", "_jpeg_2k_lossless", "_jpeg_ls_lossless", "_big_endian"])
def test_single_frames_can_be_decoded_alone(mr_data: Path, name: str) -> None:
    obj = open_object(mr_data / "enhanced_mr_transfer_syntaxes" / f"emri_small{name}.dcm")
    every = dict(stored_frames(obj))
    some = dict(stored_frames(obj, [1, 4, 10]))
    assert list(some) == [1, 4, 10]
    for number, frame in some.items():
        np.testing.assert_array_equal(frame, every[number])


def test_compressed_data_that_was_cut_short_is_refused(mr_data: Path) -> None:
    obj = open_object(mr_data / "enhanced_mr_transfer_syntaxes" / "emri_small_jpeg_2k_lossless_too_short.dcm")
    with pytest.raises(UndecodablePixels, match="cut short"):
        list(stored_frames(obj))


def test_native_data_that_was_cut_short_is_refused(mr_data: Path, tmp_path: Path) -> None:
    whole = sorted((mr_data / "ge_signa_pioneer_t1_mprage").iterdir())[0].read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-3000])
    with pytest.raises(UndecodablePixels, match="cut short"):
        list(slices_of(open_object(tmp_path / "cut")))
    (series,) = read_series([tmp_path / "cut"], SeriesConfig())
    assert series.rejection is not None and series.rejection.code is RejectionCode.UNDECODABLE


@pytest.mark.parametrize("size", [0, 100, 131, 200, 400])
def test_a_file_that_ends_in_its_header_is_unreadable(mr_data: Path, size: int) -> None:
    whole = sorted((mr_data / "ge_signa_pioneer_t1_mprage").iterdir())[0].read_bytes()
    with pytest.raises(UnreadableObject):
        parse_object(whole[:size])


def test_a_file_that_ends_between_header_and_pixels_has_no_pixels(mr_data: Path) -> None:
    whole = sorted((mr_data / "ge_signa_pioneer_t1_mprage").iterdir())[0].read_bytes()
    with pytest.raises((UndecodablePixels, UnreadableObject)):
        list(slices_of(parse_object(whole[: len(whole) - 131072 - 12])))


def test_a_bare_data_set_reads_like_the_file(mr_data: Path) -> None:
    whole = sorted((mr_data / "ge_signa_pioneer_t1_mprage").iterdir())[0].read_bytes()
    start = 144 + int.from_bytes(whole[140:144], "little")
    (a,), (b,) = (
        list(slices_of(obj))
        for obj in (parse_object(whole), parse_object(memoryview(whole)[start:], uid.ExplicitVRLittleEndian))
    )
    assert a.key == b.key and a.geometry == b.geometry
    np.testing.assert_array_equal(a.pixels_ji, b.pixels_ji)


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian]
)
def test_native_transfer_syntaxes_are_equal(
    make_image: Callable[..., Dataset], as_file: Callable[[Dataset], bytes], syntax: uid.UID
) -> None:
    pixels = np.arange(96, dtype=np.int16).reshape(12, 8) * 300 - 9000
    expected = pixels.astype(np.float32)
    ds = make_image(pixels_ji=pixels)
    if syntax == uid.ExplicitVRBigEndian:
        ds["PixelData"].value = pixels.astype(">i2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    (one,) = slices_of(parse_object(as_file(ds)))
    np.testing.assert_array_equal(one.pixels_ji, expected)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_compression_keeps_every_value(
    make_image: Callable[..., Dataset], as_file: Callable[[Dataset], bytes], syntax: uid.UID, dtype: type[np.generic]
) -> None:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(0)
    pixels = random.integers(limits.min, limits.max, (40, 36), dtype=dtype, endpoint=True)
    ds = make_image(pixels_ji=pixels)
    ds.compress(syntax, generate_instance_uid=False)
    (one,) = slices_of(parse_object(as_file(ds)))
    np.testing.assert_array_equal(one.pixels_ji, pixels.astype(np.float32))


def test_htj2k_decodes(make_image: Callable[..., Dataset], as_file: Callable[[Dataset], bytes]) -> None:
    j, i = np.mgrid[:16, :12]
    ds = make_image(pixels_ji=((i * 277 + j * j * 11) % 4096).astype(np.uint16))
    expected = ds.pixel_array.astype(np.float32)
    ds.file_meta.TransferSyntaxUID = uid.HTJ2KLossless
    ds.add_new("PixelData", "OB", encapsulate([base64.b64decode(HTJ2K_16x12)]))
    ds["PixelData"].is_undefined_length = True
    (one,) = slices_of(parse_object(as_file(ds)))
    np.testing.assert_array_equal(one.pixels_ji, expected)


def test_damaged_compressed_data_is_refused(
    make_image: Callable[..., Dataset], as_file: Callable[[Dataset], bytes]
) -> None:
    ds = make_image()
    ds.compress(uid.JPEGLSLossless, generate_instance_uid=False)
    frame = bytearray(next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)))
    frame[4:40] = bytes(36)
    ds.add_new("PixelData", "OB", encapsulate([bytes(frame)]))
    ds["PixelData"].is_undefined_length = True
    with pytest.raises(UndecodablePixels, match="does not decode"):
        list(slices_of(parse_object(as_file(ds))))


def test_an_unknown_compression_is_refused(
    make_image: Callable[..., Dataset], as_file: Callable[[Dataset], bytes]
) -> None:
    ds = make_image()
    ds.compress(uid.RLELossless, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    with pytest.raises(UndecodablePixels, match="cannot be decoded"):
        list(slices_of(parse_object(as_file(ds))))


def test_a_data_set_in_memory_reads_like_its_file(
    make_image: Callable[..., Dataset], as_file: Callable[[Dataset], bytes]
) -> None:
    ds = make_image()
    (a,), (b,) = list(slices_of(ds)), list(slices_of(parse_object(as_file(ds))))
    np.testing.assert_array_equal(a.pixels_ji, b.pixels_ji)
    del ds.file_meta
    with pytest.raises(UnreadableObject, match="transfer syntax"):
        object_of(ds)
