"""Reading the header of an encoded data set, whole or hostile."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_gateway.ingest.header import MAX_DEPTH, is_uid, read_header
from neuroscan_core.domain.errors import UnreadableObject
from tests.ingest.objects import (
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    UNDEFINED,
    element,
    encode,
    mr_image,
    nested_sequences,
    with_elements,
)

BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_LS = "1.2.840.10008.1.2.4.80"
WHOLE = encode(mr_image())
NESTED = with_elements(mr_image(), nested_sequences(3), 0x00081141)


@pytest.mark.parametrize(
    ("implicit", "little", "syntax"), [(True, True, IMPLICIT), (False, True, EXPLICIT), (False, False, BIG_ENDIAN)]
)
def test_finds_identity_and_pixels_in_every_encoding(implicit: bool, little: bool, syntax: str) -> None:
    ds = mr_image()
    header = read_header(encode(ds, implicit=implicit, little=little), syntax)
    assert (header.sop_class_uid, header.sop_instance_uid) == (ds.SOPClassUID, ds.SOPInstanceUID)
    assert (header.study_instance_uid, header.series_instance_uid) == (ds.StudyInstanceUID, ds.SeriesInstanceUID)
    assert header.has_pixels


def test_agrees_with_pydicom_on_all_real_images(shared_data: Path) -> None:
    num_read = 0
    for path in sorted((shared_data / "dicom_mr").glob("*/*")):
        if "too_short" in path.name:
            continue
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        data = path.read_bytes()[144 + ds.file_meta.FileMetaInformationGroupLength :]
        header = read_header(data, str(ds.file_meta.TransferSyntaxUID))
        assert header.sop_instance_uid == ds.SOPInstanceUID, path
        assert header.series_instance_uid == ds.SeriesInstanceUID, path
        assert header.has_pixels, path
        num_read += 1
    assert num_read > 200


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_refuses_a_data_set_cut_anywhere_inside_an_element(data: st.DataObject) -> None:
    cut = WHOLE[: data.draw(st.integers(1, len(WHOLE) - 1))]
    try:
        header = read_header(cut, EXPLICIT)
    except UnreadableObject:
        return
    assert not header.has_pixels, "a cut between two elements shows by what is missing"


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, JPEG_LS, DEFLATED]))
def test_arbitrary_bytes_are_read_or_refused_but_never_crash(data: bytes, syntax: str) -> None:
    with contextlib.suppress(UnreadableObject):
        read_header(data, syntax)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_flipped_byte_is_read_or_refused_but_never_crashes(data: st.DataObject) -> None:
    damaged = bytearray(NESTED)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableObject):
        read_header(bytes(damaged), EXPLICIT)


def test_refuses_hostile_depth_but_takes_what_is_deep_and_honest() -> None:
    honest = with_elements(mr_image(), nested_sequences(MAX_DEPTH), 0x00081141)
    assert read_header(honest, EXPLICIT).has_pixels
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(UnreadableObject, match="deeper"):
            read_header(with_elements(mr_image(), nested_sequences(depth), 0x00081141), EXPLICIT)


def test_refuses_an_element_longer_than_its_sequence() -> None:
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 8) + element(0x00081150, b"UI", b"", length=200)
    hostile = element(0x00081140, b"SQ", item) + bytes(200)
    with pytest.raises(UnreadableObject):
        read_header(with_elements(mr_image(), hostile, 0x00081141), EXPLICIT)


def test_refuses_a_length_beyond_the_data() -> None:
    hostile = element(0x00081140, b"SQ", b"", length=0x7FFFFFF0)
    with pytest.raises(UnreadableObject, match="sequence"):
        read_header(with_elements(mr_image(), hostile, 0x00081141), EXPLICIT)


@pytest.mark.parametrize("change", [{"Rows": 17}, {"NumberOfFrames": "2"}, {"BitsAllocated": 32}, {"Rows": 65535}])
def test_refuses_native_pixels_that_are_fewer_than_announced(change: dict[str, object]) -> None:
    with pytest.raises(UnreadableObject, match="shorter"):
        read_header(encode(mr_image(**change)), EXPLICIT)


def test_takes_subsampled_colour_of_two_samples_per_pixel() -> None:
    colour = mr_image(
        8, 8, bytes(128), SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", BitsAllocated=8
    )  # fmt: skip
    assert read_header(encode(colour), EXPLICIT).has_pixels


def test_refuses_encapsulated_pixels_in_a_native_transfer_syntax() -> None:
    ds = mr_image()
    del ds.PixelData
    data = encode(ds) + element(0x7FE00010, b"OB", b"", length=UNDEFINED)
    with pytest.raises(UnreadableObject, match="encapsulated"):
        read_header(data, EXPLICIT)


def fragments(*values: bytes) -> bytes:
    return b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(value)) + value for value in values)


SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def test_walks_fragments_to_their_delimiter() -> None:
    ds = mr_image()
    del ds.PixelData
    encapsulated = encode(ds) + element(0x7FE00010, b"OB", fragments(b"", b"\xff\xd8ab"), length=UNDEFINED)
    assert read_header(encapsulated + SEQUENCE_END, JPEG_LS).has_pixels
    with pytest.raises(UnreadableObject):
        read_header(encapsulated, JPEG_LS)


def test_an_icon_may_be_compressed_too() -> None:
    icon = element(0x7FE00010, b"OB", fragments(b"", b"\xff\xd8\xff\xd9") + SEQUENCE_END, length=UNDEFINED)
    sequence = element(0x00880200, b"SQ", fragments(icon))
    assert read_header(with_elements(mr_image(), sequence, 0x7FE00000), JPEG_LS).has_pixels


def test_an_unknown_element_of_undefined_length_holds_implicit_elements() -> None:
    inner = struct.pack("<HHL", 0x0009, 0x1001, 4) + b"\0\1\2\3"
    value = fragments(inner) + SEQUENCE_END
    data = with_elements(mr_image(), element(0x00091002, b"UN", value, length=UNDEFINED), 0x00100000)
    assert read_header(data, EXPLICIT).has_pixels


def deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def test_inflates_within_the_limit_only() -> None:
    data = deflate(encode(mr_image(2048, 2048, bytes(2 * 2048 * 2048))))
    assert len(data) < 100_000
    assert read_header(data, DEFLATED).has_pixels
    with pytest.raises(UnreadableObject, match="limit"):
        read_header(data, DEFLATED, max_inflated_bytes=1 << 20)
    with pytest.raises(UnreadableObject, match="early"):
        read_header(data[:-10], DEFLATED)


@pytest.mark.parametrize("text", ["1", "1.2.840.10008.1.1", "2.25.0", "1" * 64])
def test_knows_uids(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "..", "../../etc/passwd", "1..2", ".1", "1.", "1.02", "1.2/3", "1.2\n", "1.2\0", "1" * 65, "1.2 ",
        "\u0661.\u0662", "a",
    ],
)  # fmt: skip
def test_refuses_what_is_no_uid_and_whatever_could_be_a_path(text: str) -> None:
    assert not is_uid(text)
