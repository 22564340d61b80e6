"""Values of header attributes, read straight from their encoded bytes.

pydicom converts an element on first access and validates it with warnings; a slice needs a dozen numbers per object
at scanner speed, and real headers are full of harmless violations. So numbers and short texts are taken from the raw
element. Person names and free text are not read here.
"""

from __future__ import annotations

import struct
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from neuroscan_core.domain.errors import UnreadableObject

IMAGE_TYPE = BaseTag(0x00080008)
SOP_CLASS_UID = BaseTag(0x00080016)
SOP_INSTANCE_UID = BaseTag(0x00080018)
MODALITY = BaseTag(0x00080060)
SERIES_DESCRIPTION = BaseTag(0x0008103E)
COMPLEX_IMAGE_COMPONENT = BaseTag(0x00089208)
BODY_PART_EXAMINED = BaseTag(0x00180015)
MR_ACQUISITION_TYPE = BaseTag(0x00180023)
SLICE_THICKNESS = BaseTag(0x00180050)
SPACING_BETWEEN_SLICES = BaseTag(0x00180088)
STUDY_INSTANCE_UID = BaseTag(0x0020000D)
SERIES_INSTANCE_UID = BaseTag(0x0020000E)
IMAGE_POSITION_PATIENT = BaseTag(0x00200032)
IMAGE_ORIENTATION_PATIENT = BaseTag(0x00200037)
FRAME_OF_REFERENCE_UID = BaseTag(0x00200052)
IMAGES_IN_ACQUISITION = BaseTag(0x00201002)
IN_CONCATENATION_TOTAL_NUMBER = BaseTag(0x00209163)
SAMPLES_PER_PIXEL = BaseTag(0x00280002)
PHOTOMETRIC_INTERPRETATION = BaseTag(0x00280004)
NUMBER_OF_FRAMES = BaseTag(0x00280008)
ROWS = BaseTag(0x00280010)
COLUMNS = BaseTag(0x00280011)
PIXEL_SPACING = BaseTag(0x00280030)
BITS_ALLOCATED = BaseTag(0x00280100)
BITS_STORED = BaseTag(0x00280101)
HIGH_BIT = BaseTag(0x00280102)
PIXEL_REPRESENTATION = BaseTag(0x00280103)
RESCALE_INTERCEPT = BaseTag(0x00281052)
RESCALE_SLOPE = BaseTag(0x00281053)
LOSSY_IMAGE_COMPRESSION = BaseTag(0x00282110)


def strings(ds: Dataset, tag: BaseTag) -> tuple[str, ...]:
    """Values of a text, UID or decimal-string attribute without padding; empty where absent or empty."""
    if tag not in ds:
        return ()
    element = ds.get_item(tag)
    if isinstance(element, RawDataElement):
        raw = element.value
        if not raw:
            return ()
        if isinstance(raw, bytes):
            return tuple(part.strip(" \0") for part in raw.decode("latin-1").split("\\"))
        element = ds[tag]
    assert element is not None
    value: Any = element.value  # Any: what pydicom makes of the element
    if value is None or value == "":
        return ()
    parts = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
    return tuple(str(part).strip(" \0") for part in parts)


def string(ds: Dataset, tag: BaseTag) -> str:
    """First value of a text attribute; empty where absent."""
    values = strings(ds, tag)
    return values[0] if values else ""


def decimals(ds: Dataset, tag: BaseTag, count: int) -> tuple[float, ...] | None:
    """Exactly `count` numbers of a DS or IS attribute; None where absent.

    Raises
    ------
    UnreadableObject
        It holds something else.
    """
    values = strings(ds, tag)
    if not values or not any(values):
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except ValueError as exc:
        raise UnreadableObject(f"The attribute {tag} does not hold numbers.") from exc
    if len(numbers) != count:
        raise UnreadableObject(f"The attribute {tag} has {len(numbers)} values; {count} are needed.")
    return numbers


def decimal(ds: Dataset, tag: BaseTag) -> float | None:
    """First number of a DS or IS attribute; None where absent or not a number."""
    try:
        return float(string(ds, tag) or "nan")
    except ValueError:
        return None


def integer(ds: Dataset, tag: BaseTag, default: int | None = None) -> int:
    """A number of an IS, US or UL attribute.

    Raises
    ------
    UnreadableObject
        It is absent and there is no default, or is not a number.
    """
    element = ds.get_item(tag) if tag in ds else None
    try:
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes) and element.value:
            return _raw_integer(element)
        if element is not None and element.value not in (None, "", b""):
            return int(ds[tag].value)
    except (ValueError, TypeError, struct.error) as exc:
        raise UnreadableObject(f"The attribute {tag} is not a whole number.") from exc
    if default is None:
        raise UnreadableObject(f"The attribute {tag} is missing.", remedy="The sender must state it for every image.")
    return default


def _raw_integer(element: RawDataElement) -> int:
    order = "<" if element.is_little_endian else ">"
    is_binary = element.VR in ("US", "UL", "SS") or (
        element.VR in (None, "UN") and element.tag.group == 0x0028 and element.length == 2
    )
    raw = element.value
    assert raw is not None
    if is_binary and element.tag != NUMBER_OF_FRAMES:
        kind = {2: "h" if element.VR == "SS" else "H", 4: "I"}[len(raw)] if len(raw) in (2, 4) else "H"
        return int(struct.unpack_from(order + kind, raw)[0])
    return int(float(raw.decode("latin-1").split("\\")[0].strip(" \0")))
