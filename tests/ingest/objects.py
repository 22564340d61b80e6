"""Encoded data sets, good and hostile."""

from __future__ import annotations

import io
import struct
import uuid
from typing import Any

from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, MRImageStorage

MR = str(MRImageStorage)
EXPLICIT = str(ExplicitVRLittleEndian)
IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = str(DeflatedExplicitVRLittleEndian)
UNDEFINED = 0xFFFFFFFF


def new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def mr_image(rows: int = 16, columns: int = 16, pixels: bytes | None = None, **attributes: Any) -> Dataset:
    """A small MR image with UIDs of its own."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = MR, new_uid()
    ds.Modality = "MR"
    ds.PatientName, ds.PatientID = "SECRET^NAME", "SECRET-ID"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = new_uid(), new_uid()
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.add_new(0x7FE00010, "OW", bytes(range(256)) * 2 if pixels is None else pixels)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def encode(ds: Dataset, *, implicit: bool = False, little: bool = True) -> bytes:
    """The data set without file meta information."""
    buffer = io.BytesIO()
    ds.save_as(buffer, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    return buffer.getvalue()


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """One element in explicit VR little endian, its length as it should be or as told."""
    length = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length) + value


def nested_sequences(depth: int) -> bytes:
    """Sequences within sequences, all of undefined length, all properly closed."""
    opening = struct.pack("<HH2sHLHHL", 0x0008, 0x1140, b"SQ", 0, UNDEFINED, 0xFFFE, 0xE000, UNDEFINED)
    closing = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return opening * depth + closing * depth


def with_elements(ds: Dataset, extra: bytes, before: int) -> bytes:
    """The encoded data set with `extra` in front of the element `before`."""
    first, rest = Dataset(), Dataset()
    for item in ds:
        (first if item.tag < before else rest).add(item)
    return encode(first) + extra + encode(rest)
