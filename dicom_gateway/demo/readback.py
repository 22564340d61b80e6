"""A SEG read back as another program would read it: by the references of its frames, without knowledge of the node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread

from neuroscan_core.viewer.picture import Picture, grey_picture, overlay_picture

NUM_TILES = 4
TILE_PIXELS = 384
_TRUTH_BGR = (120, 220, 90)

FrameMasks = dict[tuple[str, int], npt.NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class SegReadBack:
    """Contents of a SEG.

    Parameters
    ----------
    masks : dict of (str, int) to ndarray of bool, shape (rows, columns)
        SOP Instance UID and frame number of the source -> union of the segments in that image.
    volume_ml : float
    num_frames : int
    """

    masks: FrameMasks
    volume_ml: float
    num_frames: int


def read_seg(path: Path) -> SegReadBack:
    """Read a BINARY SEG frame by frame (PS3.3 C.8.20)."""
    ds = dcmread(path)
    frames_nji = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    masks: FrameMasks = {}
    for frame_ji, item in zip(frames_nji, ds.PerFrameFunctionalGroupsSequence, strict=True):
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        key = str(source.ReferencedSOPInstanceUID), int(source.get("ReferencedFrameNumber", 1))
        found = masks.setdefault(key, np.zeros(frame_ji.shape, dtype=np.bool_))
        found |= frame_ji > 0
    voxel_ml = _voxel_ml(ds)
    volume_ml = voxel_ml * float(sum(int(mask.sum()) for mask in masks.values()))
    return SegReadBack(masks, volume_ml, len(frames_nji))


def dice(found: FrameMasks, truth: FrameMasks) -> float:
    """Overlap of two masks over all images, pooled: 2 |A and B| / (|A| + |B|)."""
    common = sum(int((found[key] & truth[key]).sum()) for key in found.keys() & truth.keys())
    total = sum(int(mask.sum()) for mask in (*found.values(), *truth.values()))
    return 2.0 * common / total if total else 1.0


def montage(sources: list[Path], found: FrameMasks, truth: FrameMasks | None) -> Picture:
    """Some slices through the tumour: above the source, below it with the mask (tinted) and the truth (green line).

    Parameters
    ----------
    sources : list of Path
        Objects of the series in order.
    """
    frames = [(path, key) for path in sources for key in _frame_keys(path)]
    chosen = _spread([frame for frame in frames if frame[1] in found] or frames)
    columns = []
    for path, key in chosen:
        ds = dcmread(path)
        pixels_ji = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)[key[1] - 1]
        mask_ji = found.get(key, np.zeros(pixels_ji.shape, dtype=np.bool_))
        below = overlay_picture(pixels_ji, mask_ji.astype(np.uint8))
        if truth is not None:
            _outline(below, truth[key])
        columns.append(np.vstack([_tile(grey_picture(pixels_ji)), _tile(below)]))
    picture = np.hstack(columns)
    legend = "NeuroScan: mask tinted" + (", known extent outlined green" if truth is not None else "")
    cv2.putText(picture, f"{legend}. Research use only.", (12, picture.shape[0] - 14), cv2.FONT_HERSHEY_SIMPLEX, 0.55,
                (220, 220, 220), 1, cv2.LINE_AA)  # fmt: skip
    return np.asarray(picture, dtype=np.uint8)


def _voxel_ml(ds: Dataset) -> float:
    shared = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    row_mm, column_mm = (float(spacing) for spacing in shared.PixelSpacing)
    gap_mm = float(shared.get("SpacingBetweenSlices", None) or shared.SliceThickness)
    return row_mm * column_mm * gap_mm / 1000.0


def _frame_keys(path: Path) -> list[tuple[str, int]]:
    ds = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "NumberOfFrames"])
    return [(str(ds.SOPInstanceUID), number) for number in range(1, int(ds.get("NumberOfFrames", 1) or 1) + 1)]


def _spread(frames: list[tuple[Path, tuple[str, int]]]) -> list[tuple[Path, tuple[str, int]]]:
    positions = np.linspace(0, len(frames) - 1, min(NUM_TILES, len(frames)) + 2)[1:-1]
    return [frames[round(float(position))] for position in positions]


def _tile(picture: Picture) -> Picture:
    scale = TILE_PIXELS / max(picture.shape[:2])
    resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    tile = np.zeros((TILE_PIXELS, TILE_PIXELS, 3), dtype=np.uint8)
    top, left = (TILE_PIXELS - resized.shape[0]) // 2, (TILE_PIXELS - resized.shape[1]) // 2
    tile[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    return tile


def _outline(picture: Picture, mask_ji: npt.NDArray[np.bool_]) -> None:
    contours, _ = cv2.findContours(mask_ji.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, _TRUTH_BGR, 1)
