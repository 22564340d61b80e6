"""Siemens mosaics: the slices of one volume tiled in a single frame.

Number of tiles and slice normal stand in the private CSA image header (0029,1010) alone. A mosaic is unpacked for
reading; its tiles have no standard way of being referred to, so the gateway does not segment one (see `policy`).
Source of the tile geometry: ImagePositionPatient belongs to the whole mosaic, as if it were one large slice around
the centre of the first tile.
"""

from __future__ import annotations

import math
import struct

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_gateway.reading.attributes import IMAGE_TYPE, SPACING_BETWEEN_SLICES, decimal, strings
from dicom_gateway.reading.layout import PixelLayout
from dicom_gateway.reading.plane import FrameFacts, classic_frame, missing_geometry
from neuroscan_core.domain.errors import SeriesRejection
from neuroscan_core.domain.geometry import SliceGeometry

CSA_GROUP, CSA_CREATOR, CSA_IMAGE_HEADER = 0x0029, "SIEMENS CSA HEADER", 0x10


def is_mosaic(header: Dataset) -> bool:
    """Whether ImageType says that the frame is a mosaic."""
    return "MOSAIC" in strings(header, IMAGE_TYPE)


def mosaic_tiles(header: Dataset, layout: PixelLayout) -> list[FrameFacts]:
    """Facts of every tile, in order of tile number.

    Raises
    ------
    SeriesRejection
        MISSING_GEOMETRY where the CSA header is missing or does not fit the frame.
    """
    csa = csa_image_header(header)
    spacing_mm = decimal(header, SPACING_BETWEEN_SLICES)
    try:
        num_tiles = int(csa["NumberOfImagesInMosaic"][0])
        normal = np.array([float(value) for value in csa["SliceNormalVector"][:3]])
    except (KeyError, IndexError, ValueError) as exc:
        raise _no_csa() from exc
    if spacing_mm is None or not spacing_mm > 0 or normal.shape != (3,) or num_tiles < 1:
        raise _no_csa()
    side = tiles_per_side(num_tiles)
    if layout.rows % side or layout.columns % side:
        raise missing_geometry(f"{num_tiles} tiles do not fit into a mosaic of {layout.rows} x {layout.columns}.")
    whole = classic_frame(header, layout)
    shape = (layout.rows // side, layout.columns // side)
    return [
        FrameFacts(k + 1, _tile(whole.geometry, shape, k * spacing_mm, normal), whole.slope, whole.intercept)
        for k in range(num_tiles)
    ]


def tiles_per_side(num_tiles: int) -> int:
    """Tiles of a row of the (square) mosaic."""
    return math.ceil(math.sqrt(num_tiles))


def tile_pixels(mosaic_ji: npt.NDArray[np.generic], tile: int, num_tiles: int) -> npt.NDArray[np.generic]:
    """The part of a mosaic that is tile number `tile`, from 1, row by row."""
    side = tiles_per_side(num_tiles)
    rows, columns = mosaic_ji.shape[0] // side, mosaic_ji.shape[1] // side
    j, i = divmod(tile - 1, side)
    return mosaic_ji[j * rows : (j + 1) * rows, i * columns : (i + 1) * columns]


def _tile(
    whole: SliceGeometry, shape: tuple[int, int], offset_mm: float, csa_normal: npt.NDArray[np.float64]
) -> SliceGeometry:
    row, column = np.array(whole.orientation[:3]), np.array(whole.orientation[3:])
    # The CSA normal is rounded and may point against row x column: only its direction counts.
    normal = whole.normal * (1.0 if float(whole.normal @ csa_normal) >= 0 else -1.0)
    margin_j = (whole.shape[0] - shape[0]) / 2 * whole.spacing_mm[0]
    margin_i = (whole.shape[1] - shape[1]) / 2 * whole.spacing_mm[1]
    x, y, z = np.array(whole.position_mm) + row * margin_i + column * margin_j + normal * offset_mm
    return SliceGeometry(
        (float(x), float(y), float(z)), whole.orientation, whole.spacing_mm, shape, whole.frame_of_reference_uid
    )


def csa_image_header(header: Dataset) -> dict[str, list[str]]:
    """Fields of the Siemens CSA image header; empty values left out.

    Raises
    ------
    SeriesRejection
        MISSING_GEOMETRY where there is none or it is damaged.
    """
    try:
        raw = header.private_block(CSA_GROUP, CSA_CREATOR)[CSA_IMAGE_HEADER].value
        return _parse_csa(bytes(raw))
    except (KeyError, TypeError, ValueError, struct.error) as exc:
        raise _no_csa() from exc


def _parse_csa(raw: bytes) -> dict[str, list[str]]:
    """Both layouts: CSA2 starts with ``SV10``, CSA1 with the number of fields."""
    is_csa2 = raw[:4] == b"SV10"
    offset = 8 if is_csa2 else 0
    num_fields, _ = struct.unpack_from("<II", raw, offset)
    if not 0 < num_fields <= 512:
        raise ValueError("implausible number of fields")
    offset += 8
    fields: dict[str, list[str]] = {}
    shift = 0
    for field in range(num_fields):
        name = raw[offset : offset + 64].split(b"\0")[0].decode("latin-1")
        (num_items,) = struct.unpack_from("<i", raw, offset + 76)
        offset += 84
        shift = num_items if field == 0 else shift
        values = []
        for _ in range(num_items):
            first, second = struct.unpack_from("<ii", raw, offset)
            # CSA1 stores lengths shifted by the first field's number of items; CSA2 stores them twice.
            length = second if is_csa2 else first - shift
            if length < 0 or offset + 16 + length > len(raw):
                raise ValueError("field beyond the end")
            text = raw[offset + 16 : offset + 16 + length].split(b"\0")[0].decode("latin-1").strip()
            offset += 16 + (length + 3) // 4 * 4
            if text:
                values.append(text)
        fields[name] = values
    return fields


def _no_csa() -> SeriesRejection:
    return missing_geometry(
        "The image is a Siemens mosaic without a readable CSA header: its slices have no positions.",
        "Export the series without anonymising private elements, or as single slices.",
    )
