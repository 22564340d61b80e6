"""Decompression of single frames, with decoders whose licences fit (docs/adr/0003-decoders.md).

Where frames lie in an object is none of this module's business.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from dicom_gateway.reading.layout import PixelLayout
from neuroscan_core.domain.errors import UndecodablePixels

Decode = Callable[[bytes, uid.UID, PixelLayout], npt.NDArray[np.generic]]
"""Turns one compressed frame into stored values, shape (rows, columns); raises `UndecodablePixels`."""

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


def decode_frame(codestream: bytes, transfer_syntax_uid: uid.UID, layout: PixelLayout) -> npt.NDArray[np.generic]:
    """Decompress one frame in this process.

    The libraries are written in C and C++: a damaged frame may end the process. For data from the network there is
    `sandbox`.

    Returns
    -------
    ndarray of integers, shape (rows, columns)
        Stored values.

    Raises
    ------
    UndecodablePixels
        The frame is damaged, or there is no decoder for its compression.
    """
    plugin = DECODERS.get(transfer_syntax_uid)
    if plugin is None:
        raise UndecodablePixels(
            f"Pixels compressed with {transfer_syntax_uid.name} cannot be decoded.",
            remedy="Let the sender use another transfer syntax.",
        )
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.is_signed),
        "photometric_interpretation": "MONOCHROME1" if layout.is_inverted else "MONOCHROME2",
        "pixel_keyword": "PixelData",
    }
    try:
        decoder = get_decoder(transfer_syntax_uid)
        pixels, _ = decoder.as_array(encapsulate([codestream]), raw=True, decoding_plugin=plugin, **options)
    except DECODE_ERRORS as exc:
        raise does_not_decode(transfer_syntax_uid) from exc
    return pixels.reshape(layout.rows, layout.columns)


def does_not_decode(transfer_syntax_uid: uid.UID) -> UndecodablePixels:
    """The error for a damaged frame."""
    return UndecodablePixels(
        f"The {transfer_syntax_uid.name} pixel data does not decode.", remedy="Send the object again."
    )
