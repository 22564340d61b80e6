"""From a DICOM SEG to labels on the slices of a series.

Frames find their slice by the SOP Instance UID that they were derived from,
or, where a SEG names none, by their position. Segments are told by the code of
their property type, and by their label where the code says neoplasm only.
Where parts of a tumour are there, composites of them are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom

from neuroscan_core.domain import codes
from training.data.errors import ShapeMismatchError, UnknownLabelError, UnreadableCaseError

NECROTIC, OEDEMA, ENHANCING, WHOLE, COMPOSITE = 1, 2, 3, 101, 102
_BY_CODE = {
    codes.NECROSIS.value: NECROTIC,
    codes.NON_ENHANCING_LESION.value: NECROTIC,
    codes.EDEMA.value: OEDEMA,
    codes.ENHANCING_LESION.value: ENHANCING,
    codes.TUMOUR_CORE.value: COMPOSITE,
    # SRT, before SNOMED CT codes were used in DICOM.
    "M-54000": NECROTIC,
    "M-36300": OEDEMA,
}
#: DCM 125040, a segment that label maps list and that shows nothing.
BACKGROUND_CODE = "125040"
_WORDS = (
    (("non-enhancing", "nonenhancing", "necro"), NECROTIC),
    (("edema", "oedema"), OEDEMA),
    (("enhancing",), ENHANCING),
    (("core",), COMPOSITE),
    (("tumour", "tumor", "neoplasm", "lesion", "glioma", "abnormality"), WHOLE),
)
#: Where segments overlap, the later one wins: what lies inside.
_ORDER = (WHOLE, OEDEMA, NECROTIC, ENHANCING)
POSITION_TOLERANCE_MM = 0.5
ORIENTATION_TOLERANCE = 1e-2


@dataclass(frozen=True)
class SegObject:
    """A SEG by its header; pixels are read when they are needed."""

    path: Path
    header: pydicom.Dataset

    @property
    def made_at(self) -> str:
        """Date and time of its content, sortable."""
        return f"{self.header.get('ContentDate', '')}{self.header.get('ContentTime', '')}"

    @property
    def series_uid(self) -> str:
        """Series that it was drawn on; empty where it does not say."""
        references = self.header.get("ReferencedSeriesSequence", [])
        return str(references[0].get("SeriesInstanceUID", "")) if references else ""

    @cached_property
    def meanings(self) -> dict[int, int]:
        """Segment number -> what it shows.

        Raises
        ------
        UnknownLabelError
            If a segment is not a part of a tumour.
        """
        items = [item for item in self.header.SegmentSequence if _code(item) != BACKGROUND_CODE]
        return {int(item.SegmentNumber): _meaning(item, self.path) for item in items}

    @property
    def tells_parts(self) -> bool:
        """Whether oedema, core and enhancing part are told apart."""
        return any(meaning in (NECROTIC, OEDEMA, ENHANCING) for meaning in self.meanings.values())


def newest(segs: Sequence[SegObject]) -> SegObject:
    """Return the SEG that was made last: the corrected one, where there are several."""
    return max(segs, key=lambda seg: (seg.made_at, str(seg.path)))


def labels_of(seg: SegObject, headers: Sequence[pydicom.Dataset], name: str) -> npt.NDArray[np.uint8]:
    """Return labels [S, rows, columns] on the slices of a series.

    Parameters
    ----------
    headers : sequence of pydicom.Dataset
        Of the slices, in the order wanted.
    name : str
        Of the case, for errors.

    Raises
    ------
    ShapeMismatchError
        If the SEG belongs to other slices, or lies on another grid.
    UnknownLabelError
        If a segment is not a part of a tumour.
    """
    rows, columns = int(headers[0].Rows), int(headers[0].Columns)
    if (int(seg.header.Rows), int(seg.header.Columns)) != (rows, columns):
        raise ShapeMismatchError(
            f"{name}: SEG of {seg.header.Rows} x {seg.header.Columns}, slices of {rows} x {columns}.",
            remedy="Is it the SEG of this series?",
        )
    _check_orientation(seg, headers[0], name)
    masks = {meaning: np.zeros((len(headers), rows, columns), dtype=bool) for meaning in set(seg.meanings.values())}
    for frame, (index, pixels) in enumerate(zip(_slices(seg, headers, name), _pixels(seg), strict=True)):
        for meaning, mask in _frame_masks(seg, frame, pixels):
            masks[meaning][index] |= mask
    labels = np.zeros((len(headers), rows, columns), dtype=np.uint8)
    for meaning in _ORDER:
        if meaning in masks and not (meaning == WHOLE and seg.tells_parts):
            labels[masks[meaning]] = 1 if meaning == WHOLE else meaning
    return labels


def _code(item: pydicom.Dataset) -> str:
    types = item.get("SegmentedPropertyTypeCodeSequence", [])
    return str(types[0].get("CodeValue", "")) if types else ""


def _meaning(item: pydicom.Dataset, path: Path) -> int:
    types = item.get("SegmentedPropertyTypeCodeSequence", [])
    code = _code(item)
    if code in _BY_CODE:
        return _BY_CODE[code]
    texts = [str(item.get("SegmentLabel", "")), str(types[0].get("CodeMeaning", "")) if types else ""]
    for text in texts:
        for words, meaning in _WORDS:
            if any(word in text.lower() for word in words):
                return meaning
    raise UnknownLabelError(
        f"{path}: segment {item.SegmentNumber} is {texts[0]!r} ({code}), no part of a tumour.",
        remedy="Remove other segments, or code them as necrosis, oedema, enhancing lesion or neoplasm.",
    )


def _pixels(seg: SegObject) -> npt.NDArray[np.generic]:
    try:
        pixels = pydicom.dcmread(seg.path).pixel_array
    except (AttributeError, NotImplementedError, OSError, RuntimeError, ValueError) as exc:
        raise UnreadableCaseError(f"{seg.path}: does not decode: {exc}", remedy="Store it uncompressed.") from exc
    return pixels if pixels.ndim == 3 else pixels[None]


def _frame_masks(
    seg: SegObject, frame: int, pixels: npt.NDArray[np.generic]
) -> list[tuple[int, npt.NDArray[np.bool_]]]:
    """Return what a frame shows: one segment, or all of a label map (PS3.3 C.8.20.2)."""
    kind = str(seg.header.get("SegmentationType", "BINARY"))
    if kind == "LABELMAP":
        return [(meaning, pixels == number) for number, meaning in seg.meanings.items()]
    number = int(_item(seg, frame, "SegmentIdentificationSequence").ReferencedSegmentNumber)
    threshold = int(seg.header.get("MaximumFractionalValue", 1)) / 2 if kind == "FRACTIONAL" else 0
    return [(seg.meanings[number], pixels > threshold)]


def _slices(seg: SegObject, headers: Sequence[pydicom.Dataset], name: str) -> list[int]:
    """Return for each frame the index of its slice."""
    by_uid = {str(header.SOPInstanceUID): index for index, header in enumerate(headers)}
    positions = np.array([header.ImagePositionPatient for header in headers], dtype=np.float64)
    indices = []
    for frame in range(int(seg.header.NumberOfFrames)):
        uid = _source(seg, frame)
        index = by_uid.get(uid) if uid else None
        if index is None:
            index = _by_position(seg, frame, positions)
        if index is None:
            raise ShapeMismatchError(
                f"{name}: frame {frame + 1} of {seg.path.name} belongs to no slice of the series.",
                remedy="Put the series that the SEG was drawn on beside it.",
            )
        indices.append(index)
    return indices


def _source(seg: SegObject, frame: int) -> str:
    for derivation in _item(seg, frame).get("DerivationImageSequence", []):
        for source in derivation.get("SourceImageSequence", []):
            return str(source.ReferencedSOPInstanceUID)
    return ""


def _by_position(seg: SegObject, frame: int, positions_S3: npt.NDArray[np.float64]) -> int | None:
    planes = _item(seg, frame).get("PlanePositionSequence", [])
    if not planes:
        return None
    distances = np.linalg.norm(positions_S3 - np.array(planes[0].ImagePositionPatient, dtype=np.float64), axis=1)
    nearest = int(distances.argmin())
    return nearest if distances[nearest] <= POSITION_TOLERANCE_MM else None


def _item(seg: SegObject, frame: int, macro: str = "") -> pydicom.Dataset:
    """Return the functional groups of a frame, or one macro of them, shared or its own."""
    groups = seg.header.get("PerFrameFunctionalGroupsSequence", [])
    own = groups[frame] if frame < len(groups) else pydicom.Dataset()
    if not macro:
        return own
    shared = seg.header.get("SharedFunctionalGroupsSequence", [pydicom.Dataset()])[0]
    for item in (own, shared):
        if macro in item:
            found: pydicom.Dataset = item[macro].value[0]
            return found
    raise UnreadableCaseError(f"{seg.path}: frame {frame + 1} has no {macro}.", remedy="The SEG is not complete.")


def _check_orientation(seg: SegObject, header: pydicom.Dataset, name: str) -> None:
    try:
        orientation = _item(seg, 0, "PlaneOrientationSequence").ImageOrientationPatient
    except UnreadableCaseError:  # optional where frames are derived from slices one by one
        return
    if not np.allclose(orientation, header.ImageOrientationPatient, atol=ORIENTATION_TOLERANCE):
        raise ShapeMismatchError(
            f"{name}: the SEG is oriented otherwise than the series.", remedy="Resample the SEG onto the series."
        )
