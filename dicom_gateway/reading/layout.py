"""How the pixels of an object are stored."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_gateway.reading.attributes import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    HIGH_BIT,
    NUMBER_OF_FRAMES,
    PHOTOMETRIC_INTERPRETATION,
    PIXEL_REPRESENTATION,
    ROWS,
    SAMPLES_PER_PIXEL,
    integer,
    string,
)  # fmt: skip
from neuroscan_core.domain.errors import UndecodablePixels, UnreadableObject


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
