"""Opening a DICOM object: one walk over its header, and a view of the pixel data without copying it.

What the header means is read elsewhere; pixels are decoded in `pixels`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from dicom_gateway.reading.attributes import SOP_CLASS_UID, SOP_INSTANCE_UID, string
from dicom_gateway.reading.walk import walk_header
from neuroscan_core.domain.errors import UnreadableObject

PIXEL_DATA = BaseTag(0x7FE00010)
UNDEFINED_LENGTH = 0xFFFFFFFF
READ_ERRORS = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, OSError, NotImplementedError,
    RecursionError, struct.error, InvalidDicomError,
)  # fmt: skip
"""What pydicom raises on bytes that are not DICOM."""


@dataclass(frozen=True, eq=False)
class ImageObject:
    """A DICOM object whose pixels are not decoded yet.

    Parameters
    ----------
    header : Dataset
        All elements before the pixel data, with file meta information.
    transfer_syntax_uid : UID
    pixel_data : memoryview or None
        Value of PixelData as encoded; for encapsulated data the items and the delimiter. None where there is none.
    is_encapsulated : bool
    pixel_vr : str
        VR of PixelData.
    """

    header: Dataset
    transfer_syntax_uid: UID
    pixel_data: memoryview | None
    is_encapsulated: bool
    pixel_vr: str = "OW"


def open_object(path: Path) -> ImageObject:
    """Open a Part 10 file.

    Raises
    ------
    UnreadableObject
        The file cannot be read or is not DICOM.
    """
    try:
        return parse_object(path.read_bytes())
    except OSError as exc:
        raise UnreadableObject(f"Cannot read {path.name}: {exc.strerror}.", remedy="Check the file's rights.") from exc


def read_header(path: Path) -> Dataset:
    """Read the header of a Part 10 file, up to the pixel data.

    Raises
    ------
    UnreadableObject
        The file cannot be read or is not DICOM.
    """
    return open_object(path).header


def parse_object(encoded: bytes | bytearray | memoryview, transfer_syntax_uid: str = "") -> ImageObject:
    """Open an object in memory.

    Parameters
    ----------
    encoded : bytes-like
        A Part 10 file, or a bare data set in `transfer_syntax_uid`.
    transfer_syntax_uid : str, optional
        Needed for a bare data set.

    Raises
    ------
    UnreadableObject
        The bytes are not a DICOM object.
    """
    data = encoded if isinstance(encoded, bytes) else bytes(encoded)
    try:
        return _parse(data, transfer_syntax_uid)
    except (*READ_ERRORS, zlib.error) as exc:
        raise UnreadableObject(
            "The bytes are not a DICOM object that can be read.", remedy="Send the object again."
        ) from exc


def object_of(ds: Dataset) -> ImageObject:
    """Wrap a data set that was read whole.

    Raises
    ------
    UnreadableObject
        It does not say how its pixels are encoded.
    """
    syntax = UID(str(getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", "")))
    if not syntax:
        raise UnreadableObject("The data set does not state its transfer syntax.", remedy="Set file_meta.")
    if "PixelData" not in ds:
        return ImageObject(ds, syntax, None, False)
    element = ds["PixelData"]
    return ImageObject(ds, syntax, memoryview(element.value), syntax.is_encapsulated, element.VR)


def _parse(data: bytes, transfer_syntax_uid: str) -> ImageObject:
    stream = BytesIO(data)
    if data[128:132] == b"DICM":
        stream.seek(132)
        meta = read_dataset(stream, False, True, stop_when=_is_after_meta)
        syntax = UID(str(meta.get("TransferSyntaxUID", "")).strip(" \0"))
    else:
        syntax = UID(transfer_syntax_uid)
    if not syntax:
        raise UnreadableObject("The object does not state its transfer syntax.", remedy="Send a Part 10 file.")
    if syntax == DeflatedExplicitVRLittleEndian:
        data = zlib.decompress(data[stream.tell() :], -zlib.MAX_WBITS)
        stream = BytesIO(data)
    is_implicit, is_little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    walked = walk_header(data, stream.tell()) if is_little and not is_implicit else None
    if walked is None:
        header = read_dataset(stream, is_implicit, is_little, stop_when=_is_pixel_data)
        pixels_at = stream.tell()
    else:
        header, pixels_at = walked
    if len(header) == 0 or SOP_INSTANCE_UID not in header:
        raise UnreadableObject("The object has no SOP Instance UID.", remedy="Send the object again.")
    header.file_meta = _file_meta(header, syntax)
    pixels, vr, is_undefined = _pixel_data(data, pixels_at, is_implicit, is_little)
    return ImageObject(header, syntax, pixels, is_undefined, vr)


def _is_after_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return int(tag) >> 16 != 2


def _is_pixel_data(tag: BaseTag, vr: str | None, length: int) -> bool:
    return int(tag) == 0x7FE00010


def _file_meta(header: Dataset, syntax: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(string(header, SOP_CLASS_UID))
    meta.MediaStorageSOPInstanceUID = UID(string(header, SOP_INSTANCE_UID))
    meta.TransferSyntaxUID = syntax
    return meta


def _pixel_data(data: bytes, offset: int, is_implicit: bool, is_little: bool) -> tuple[memoryview | None, str, bool]:
    """Value, VR and whether it is encapsulated, of the PixelData element at `offset` (PS3.5 section 7.1)."""
    order = "<" if is_little else ">"
    if offset + 8 > len(data) or struct.unpack_from(f"{order}HH", data, offset) != (0x7FE0, 0x0010):
        return None, "", False
    vr = "OW" if is_implicit else data[offset + 4 : offset + 6].decode("latin-1")
    start = offset + (8 if is_implicit else 12)
    if start > len(data):
        return None, vr, False
    (length,) = struct.unpack_from(f"{order}I", data, start - 4)
    if length == UNDEFINED_LENGTH:
        return memoryview(data)[start:], vr, True
    return memoryview(data)[start : start + length], vr, False
