"""Frames of enhanced multi-frame objects, from shared and per-frame functional groups (PS3.3 C.7.6.16).

An object is read if its frames are one volume. Several volumes in one object (time points, b-values, echoes,
magnitude beside phase) are refused with a sentence that says what distinguishes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from dicom_gateway.reading.attributes import FRAME_OF_REFERENCE_UID, string
from dicom_gateway.reading.layout import PixelLayout
from dicom_gateway.reading.pixels import rescale_of
from dicom_gateway.reading.plane import FrameFacts, missing_geometry, plane_of
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection

SAME_POSITION_MM = 1e-3

VARYING = (
    ("time points", "FrameContentSequence", "TemporalPositionIndex"),
    ("b-values", "MRDiffusionSequence", "DiffusionBValue"),
    ("diffusion directions", "MRDiffusionSequence", "DiffusionDirectionality"),
    ("echoes", "MREchoSequence", "EffectiveEchoTime"),
    ("complex components", "MRImageFrameTypeSequence", "ComplexImageComponent"),
    ("frame types", "MRImageFrameTypeSequence", "FrameType"),
    ("acquisitions", "FrameContentSequence", "FrameAcquisitionNumber"),
)
"""What may tell volumes of one object apart: its name, functional group, attribute."""


def is_multi_frame(header: Dataset) -> bool:
    """Whether functional groups describe the frames."""
    return "PerFrameFunctionalGroupsSequence" in header or "SharedFunctionalGroupsSequence" in header


def enhanced_frames(header: Dataset, layout: PixelLayout) -> list[FrameFacts]:
    """Facts of every frame, in order of frame number.

    Raises
    ------
    SeriesRejection
        MISSING_GEOMETRY, or DUPLICATE_POSITIONS where the frames are several volumes.
    """
    groups = _FunctionalGroups(header, layout.num_frames)
    frames = [_frame(header, groups, layout, index) for index in range(layout.num_frames)]
    _check_one_volume(groups, frames)
    return frames


class _FunctionalGroups:
    """Per-frame items with shared ones behind them."""

    def __init__(self, header: Dataset, num_frames: int) -> None:
        shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
        self._shared = shared[0]
        self._frames = header.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * num_frames
        if len(self._frames) != num_frames:
            raise missing_geometry(
                f"The object has {num_frames} frames but describes {len(self._frames)} of them.",
                "Send the object again.",
            )

    def group(self, index: int, name: str) -> Dataset:
        """One functional group of a frame; an empty data set where absent."""
        sequence = self._frames[index].get(name) or self._shared.get(name) or [Dataset()]
        item: Dataset = sequence[0]
        return item

    def distinct(self, name: str, keyword: str, num_frames: int) -> list[str]:
        """The different values of an attribute over all frames, in order of appearance."""
        values: list[Any] = [self.group(index, name).get(keyword) for index in range(num_frames)]
        return list(dict.fromkeys(str(value) for value in values if value is not None))


def _frame(header: Dataset, groups: _FunctionalGroups, layout: PixelLayout, index: int) -> FrameFacts:
    geometry = plane_of(
        groups.group(index, "PlanePositionSequence"),
        groups.group(index, "PlaneOrientationSequence"),
        groups.group(index, "PixelMeasuresSequence"),
        frame_of_reference_uid=string(header, FRAME_OF_REFERENCE_UID),
        shape=(layout.rows, layout.columns),
    )
    return FrameFacts(index + 1, geometry, *rescale_of(groups.group(index, "PixelValueTransformationSequence")))


def _check_one_volume(groups: _FunctionalGroups, frames: Sequence[FrameFacts]) -> None:
    positions = {tuple(round(x / SAME_POSITION_MM) for x in frame.geometry.position_mm) for frame in frames}
    if len(positions) == len(frames):
        return
    found = [(what, groups.distinct(group, keyword, len(frames))) for what, group, keyword in VARYING]
    reasons = [f"{len(values)} {what} ({', '.join(values[:4])})" for what, values in found if len(values) > 1]
    raise SeriesRejection(
        RejectionCode.DUPLICATE_POSITIONS,
        f"The object holds {len(frames)} frames at {len(positions)} positions: "
        f"{' and '.join(reasons) or 'several images per position'}.",
        remedy="Send one volume per series, without maps and phase images.",
    )
