"""Stored pixel values of a frame, and their meaning after the modality rescale.

Native pixels are a view on the received bytes; compressed frames are handed to `decoding`, or to a `sandbox`. Which
frame lies where is none of this module's business.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from dicom_gateway.reading.attributes import RESCALE_INTERCEPT, RESCALE_SLOPE, decimals
from dicom_gateway.reading.decoding import Decode, decode_frame, does_not_decode
from dicom_gateway.reading.layout import PixelLayout
from dicom_gateway.reading.objects import ImageObject
from neuroscan_core.domain.errors import UndecodablePixels, UnreadableObject


def stored_frames(
    obj: ImageObject, frame_numbers: Sequence[int] | None = None, *, decode: Decode = decode_frame
) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    """Decode frames.

    Parameters
    ----------
    obj : ImageObject
    frame_numbers : sequence of int, optional
        From 1, ascending; all where absent.
    decode : callable
        Decompresses frames.

    Yields
    ------
    int
        Frame number.
    ndarray of integers, shape (rows, columns)
        Stored values with unused bits removed; do not write into it.

    Raises
    ------
    UndecodablePixels
        Pixel data is missing, cut short, damaged, or its compression is not supported.
    """
    layout = PixelLayout.of(obj.header)
    wanted = list(range(1, layout.num_frames + 1)) if frame_numbers is None else list(frame_numbers)
    if obj.pixel_data is None:
        raise UndecodablePixels("The object has no pixel data.", remedy="Send the object again.")
    if obj.is_encapsulated:
        yield from _compressed_frames(obj, layout, wanted, decode)
        return
    if len(obj.pixel_data) < layout.frame_bytes * layout.num_frames:
        raise UndecodablePixels(
            f"The pixel data is cut short: {len(obj.pixel_data)} of {layout.frame_bytes * layout.num_frames} bytes.",
            remedy="Send the object again.",
        )
    for number in wanted:
        yield number, _native_frame(obj, layout, number)


def _native_frame(obj: ImageObject, layout: PixelLayout, number: int) -> npt.NDArray[np.generic]:
    assert obj.pixel_data is not None
    order = ">" if obj.transfer_syntax_uid == uid.ExplicitVRBigEndian else "<"
    start = (number - 1) * layout.frame_bytes
    if order == ">" and layout.bits_allocated == 8 and obj.pixel_vr == "OW":
        # PS3.5 A.3: OW is a stream of 16-bit words, so in big endian two 8-bit pixels change places.
        words = np.frombuffer(obj.pixel_data, "<u2", len(obj.pixel_data) // 2).byteswap()
        flat = words.view(np.uint8)[start : start + layout.frame_bytes]
    else:
        flat = np.frombuffer(
            obj.pixel_data, f"{order}u{layout.bits_allocated // 8}", layout.rows * layout.columns, offset=start
        )
    return _without_unused_bits(flat, layout).reshape(layout.rows, layout.columns)


def _without_unused_bits(flat: npt.NDArray[Any], layout: PixelLayout) -> npt.NDArray[np.generic]:
    """Keep bits `high_bit` - `bits_stored` + 1 to `high_bit`: the others may hold overlays or dirt."""
    native = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    signed = np.dtype(f"i{layout.bits_allocated // 8}")
    lead, trail = layout.bits_allocated - 1 - layout.high_bit, layout.high_bit + 1 - layout.bits_stored
    if lead == trail == 0:
        return native.view(signed) if layout.is_signed else native
    if layout.is_signed:
        return np.asarray(np.left_shift(native, lead).view(signed) >> (lead + trail))
    return np.asarray((native >> trail) & native.dtype.type((1 << layout.bits_stored) - 1))


def _compressed_frames(
    obj: ImageObject, layout: PixelLayout, wanted: list[int], decode: Decode
) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    assert obj.pixel_data is not None
    value = bytes(obj.pixel_data)
    _check_items(value)
    try:
        for number, codestream in enumerate(_codestreams(obj.header, value, layout.num_frames), start=1):
            if number in wanted:
                yield number, decode(codestream, obj.transfer_syntax_uid, layout)
                wanted.remove(number)
    except (ValueError, struct.error) as exc:
        raise does_not_decode(obj.transfer_syntax_uid) from exc
    if wanted:
        raise UndecodablePixels("The object has fewer frames than it says.", remedy="Send the object again.")


def _codestreams(header: Dataset, value: bytes, num_frames: int) -> Iterator[bytes]:
    """Compressed frames, each joined from its fragments (PS3.5 A.4)."""
    offsets = None
    if "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
        offsets = (header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths)
    return generate_frames(value, number_of_frames=num_frames, extended_offsets=offsets)


def _check_items(value: bytes) -> None:
    """Walk the items (PS3.5 A.4): without the delimiter at the end, the object was cut short."""
    offset = 0
    while offset + 8 <= len(value):
        tag, length = struct.unpack_from("<I", value, offset)[0], struct.unpack_from("<I", value, offset + 4)[0]
        if tag == 0xE0DDFFFE:
            return
        if tag != 0xE000FFFE:
            break
        offset += 8 + length
    raise UndecodablePixels("The compressed pixel data is cut short or damaged.", remedy="Send the object again.")


def rescale_of(ds: Dataset) -> tuple[float, float]:
    """RescaleSlope and RescaleIntercept of a data set or functional group item; (1, 0) where absent.

    Raises
    ------
    UndecodablePixels
        They are not numbers, or the slope is 0.
    """
    try:
        slope, intercept = decimals(ds, RESCALE_SLOPE, 1), decimals(ds, RESCALE_INTERCEPT, 1)
    except UnreadableObject as exc:
        raise UndecodablePixels(f"The rescale of the pixels is not readable: {exc.message}") from exc
    values = (slope[0] if slope else 1.0, intercept[0] if intercept else 0.0)
    if values[0] == 0 or not np.all(np.isfinite(values)):
        raise UndecodablePixels("The rescale slope is 0 or not finite.", remedy="Ask the sender.")
    return values


def rescaled(
    stored_ji: npt.NDArray[np.generic], layout: PixelLayout, slope: float, intercept: float
) -> npt.NDArray[np.float32]:
    """Values after the modality rescale (PS3.3 C.11.1), bright = large also for MONOCHROME1.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
        A new array.
    """
    values = stored_ji.astype(np.float32)
    if layout.is_inverted:
        largest = -1 if layout.is_signed else (1 << layout.bits_stored) - 1
        np.subtract(np.float32(largest), values, out=values)
    if slope != 1.0:
        values *= np.float32(slope)
    if intercept != 0.0:
        values += np.float32(intercept)
    return values
