"""Stored pixel values of a frame, and their meaning after the modality rescale.

Native pixels are a view on the received bytes. Compressed ones go through pydicom with decoders whose licences fit
(docs/adr/0003-decoders.md). Which frame lies where is none of this module's business.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder

from dicom_gateway.reading.attributes import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    HIGH_BIT,
    NUMBER_OF_FRAMES,
    PHOTOMETRIC_INTERPRETATION,
    PIXEL_REPRESENTATION,
    RESCALE_INTERCEPT,
    RESCALE_SLOPE,
    ROWS,
    SAMPLES_PER_PIXEL,
    decimals,
    integer,
    string,
)  # fmt: skip
from dicom_gateway.reading.objects import ImageObject
from neuroscan_core.domain.errors import UndecodablePixels, UnreadableObject

DECODERS = {
    uid.JPEGBaseline8Bit: "gdcm",
    uid.JPEGExtended12Bit: "gdcm",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
    uid.RLELossless: "pydicom",
}
"""Transfer syntax -> plugin of pydicom that decodes it."""

DECODE_ERRORS = (
    ValueError, RuntimeError, TypeError, AttributeError, IndexError, KeyError, OSError, EOFError, struct.error,
    MemoryError, ArithmeticError,
)  # fmt: skip
"""What decoders raise on damaged data; NotImplementedError is a RuntimeError."""


@dataclass(frozen=True)
class PixelLayout:
    """The Image Pixel module (PS3.3 C.7.6.3) as far as greyscale images need it.

    Parameters
    ----------
    rows, columns, num_frames : int
    bits_allocated, bits_stored, high_bit : int
    is_signed : bool
        PixelRepresentation.
    is_inverted : bool
        MONOCHROME1: the smallest value is white.
    """

    rows: int
    columns: int
    num_frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_inverted: bool

    @classmethod
    def of(cls, header: Dataset) -> PixelLayout:
        """Read from a header.

        Raises
        ------
        UndecodablePixels
            An attribute is missing, contradicts another, or the image is not greyscale.
        """
        try:
            layout = cls(
                rows=integer(header, ROWS),
                columns=integer(header, COLUMNS),
                num_frames=max(1, integer(header, NUMBER_OF_FRAMES, 1)),
                bits_allocated=integer(header, BITS_ALLOCATED),
                bits_stored=integer(header, BITS_STORED),
                high_bit=integer(header, HIGH_BIT, integer(header, BITS_STORED) - 1),
                is_signed=integer(header, PIXEL_REPRESENTATION, 0) == 1,
                is_inverted=string(header, PHOTOMETRIC_INTERPRETATION) == "MONOCHROME1",
            )
            samples = integer(header, SAMPLES_PER_PIXEL, 1)
        except UnreadableObject as exc:
            raise UndecodablePixels(f"The image cannot be decoded: {exc.message}", remedy=exc.remedy) from exc
        is_sound = (
            layout.bits_allocated in (8, 16, 32)
            and 1 <= layout.bits_stored <= layout.high_bit + 1 <= layout.bits_allocated
            and samples == 1
            and min(layout.rows, layout.columns) > 0
        )
        if not is_sound:
            raise UndecodablePixels("The description of the pixel data contradicts itself.", remedy="Ask the sender.")
        return layout

    @property
    def frame_bytes(self) -> int:
        """Size of one native frame."""
        return self.rows * self.columns * self.bits_allocated // 8


def stored_frames(
    obj: ImageObject, frame_numbers: Sequence[int] | None = None
) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    """Decode frames.

    Parameters
    ----------
    obj : ImageObject
    frame_numbers : sequence of int, optional
        From 1, ascending; all where absent.

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
        yield from _compressed_frames(obj, layout, wanted)
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
    obj: ImageObject, layout: PixelLayout, wanted: list[int]
) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    assert obj.pixel_data is not None
    plugin = DECODERS.get(obj.transfer_syntax_uid)
    if plugin is None:
        raise UndecodablePixels(
            f"Pixels compressed with {obj.transfer_syntax_uid.name} cannot be decoded.",
            remedy="Let the sender use another transfer syntax.",
        )
    value = bytes(obj.pixel_data)
    _check_items(value)
    try:
        decoder = get_decoder(obj.transfer_syntax_uid)
        decoded = decoder.iter_array(
            value,
            indices=[number - 1 for number in wanted],
            raw=True,
            decoding_plugin=plugin,
            rows=layout.rows,
            columns=layout.columns,
            number_of_frames=layout.num_frames,
            samples_per_pixel=1,
            bits_allocated=layout.bits_allocated,
            bits_stored=layout.bits_stored,
            pixel_representation=int(layout.is_signed),
            photometric_interpretation="MONOCHROME1" if layout.is_inverted else "MONOCHROME2",
            pixel_keyword="PixelData",
        )
        for number, (pixels, _) in zip(wanted, decoded, strict=True):
            yield number, pixels
    except DECODE_ERRORS as exc:
        raise UndecodablePixels(
            f"The {obj.transfer_syntax_uid.name} pixel data does not decode.", remedy="Send the object again."
        ) from exc


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
