"""What a header says of its whole series: how many slices it has and how far they are apart.

Both are hints. The number triggers a look at the geometry, which decides; a wrong one costs waiting, or a new version.
"""

from __future__ import annotations

import re
from itertools import pairwise

from pydicom.dataset import Dataset

from dicom_gateway.reading.attributes import (
    IMAGES_IN_ACQUISITION,
    IN_CONCATENATION_TOTAL_NUMBER,
    MR_ACQUISITION_TYPE,
    SLICE_THICKNESS,
    SPACING_BETWEEN_SLICES,
    decimal,
    integer,
    string,
)  # fmt: skip
from dicom_gateway.reading.plane import FrameFacts
from neuroscan_core.domain.errors import UnreadableObject

LARGEST_PLAUSIBLE = 4096
PRIVATE_COUNTS = (
    (0x0021, "GEMS_RELA_01", 0x4F),  # GE: locations in acquisition
    (0x2001, "Philips Imaging DD 001", 0x18),  # Philips: number of slices
)
SIEMENS_SLICES = re.compile(rb"sSliceArray\.lSize\s*=\s*(\d+)")
SIEMENS_PARTITIONS = re.compile(rb"sKSpace\.lImagesPerSlab\s*=\s*(\d+)")


def expected_num_slices(header: Dataset) -> int | None:
    """Slices of the series that a classic image announces, if it does."""
    candidates = [_integer_or_zero(header, IMAGES_IN_ACQUISITION)]
    candidates += [_private(header, *count) for count in PRIVATE_COUNTS]
    candidates.append(_siemens(header))
    return next((count for count in candidates if 1 < count <= LARGEST_PLAUSIBLE), None)


def is_concatenated(header: Dataset) -> bool:
    """Whether a multi-frame object is only a part of its image (PS3.3 C.7.6.16)."""
    return _integer_or_zero(header, IN_CONCATENATION_TOTAL_NUMBER) > 1


def spacing_hint_mm(header: Dataset, frames: list[FrameFacts]) -> float | None:
    """Distance of neighbouring slices, where the header can be trusted.

    SpacingBetweenSlices is from centre to centre, but some makers wrote the gap there; below the slice thickness it is
    believed for 3D acquisitions only, whose slices may overlap.
    """
    if len(frames) > 1:
        offsets = sorted(frame.geometry.offset_mm for frame in frames)
        gaps = sorted(b - a for a, b in pairwise(offsets))
        return gaps[len(gaps) // 2] or None
    spacing, thickness = decimal(header, SPACING_BETWEEN_SLICES), decimal(header, SLICE_THICKNESS)
    if spacing is None or not spacing > 0:
        return None
    is_overlap = thickness is not None and spacing < 0.99 * thickness
    return None if is_overlap and string(header, MR_ACQUISITION_TYPE) != "3D" else spacing


def _integer_or_zero(header: Dataset, tag: int) -> int:
    try:
        return integer(header, tag, 0)  # type: ignore[arg-type]
    except UnreadableObject:
        return 0


def _private(header: Dataset, group: int, creator: str, element: int) -> int:
    try:
        return int(header.private_block(group, creator)[element].value)
    except (KeyError, TypeError, ValueError):
        return 0


def _siemens(header: Dataset) -> int:
    """Slices times partitions, from the measurement protocol inside the CSA series header (0029,1020)."""
    try:
        protocol = bytes(header.private_block(0x0029, "SIEMENS CSA HEADER")[0x20].value)
    except (KeyError, TypeError, ValueError):
        return 0
    slices, partitions = SIEMENS_SLICES.search(protocol), SIEMENS_PARTITIONS.search(protocol)
    if slices is None:
        return 0
    is_3d = string(header, MR_ACQUISITION_TYPE) == "3D" and partitions is not None
    return int(slices[1]) * (int(partitions[1]) if is_3d and partitions is not None else 1)
