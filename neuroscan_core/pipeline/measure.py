"""Sizes of what was found: volume, number of parts, largest axial diameters.

The diameters are those of response criteria (RANO, Wen 2010): in the slice where it is longest, the greatest distance
between two points of one connected part, and the longest chord perpendicular to it. Points are the midpoints of the
outer edges of its pixels, so a single pixel is as long as it is wide. Distances are in mm.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import (
    GLIOMA_LABELS,
    GLIOMA_REGIONS,
    CompositeMeasurement,
    Diameter,
    RegionMeasurement,
    Segmentation,
)
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.pipeline.postprocess import bounding_box, remove_small_components, remove_small_tumours

Points = npt.NDArray[np.float64]  # (n, 2) in mm or voxel indices, column first

_EDGE_MIDPOINTS = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)])


def finish_segmentation(
    labels_kji: npt.NDArray[np.uint8], geometry: StackGeometry, keys: Sequence[FrameKey], card: ModelCard
) -> Segmentation:
    """Postprocess and measure the raw labels of a volume.

    Where the labels are the parts of a glioma, small parts of the whole tumour are removed, labels inside what stays
    are left alone, and composite regions are measured as well. Otherwise each label stands for itself.
    """
    if tuple(label.value for label in card.labels) == GLIOMA_LABELS:
        return _finish_glioma(labels_kji, geometry, keys, card)
    final_kji = np.zeros(labels_kji.shape, dtype=np.uint8)
    measurements = []
    for label in card.labels:
        mask_kji, num_components = remove_small_components(
            labels_kji == label.value, geometry.voxel_volume_ml, card.min_component_ml
        )
        box = bounding_box(mask_kji)
        if box is not None:
            # Labels are disjoint, so a sum does; memory outside the box is never touched.
            final_kji[box] += mask_kji[box].view(np.uint8) * np.uint8(label.value)
        measurements.append(measure_region(label.value, mask_kji, num_components, geometry, keys))
    return Segmentation(geometry, tuple(keys), final_kji, tuple(measurements))


def _finish_glioma(
    labels_kji: npt.NDArray[np.uint8], geometry: StackGeometry, keys: Sequence[FrameKey], card: ModelCard
) -> Segmentation:
    final_kji = remove_small_tumours(labels_kji, geometry.voxel_volume_ml, card.min_component_ml)

    @functools.cache  # the enhancing tumour is a label and a region
    def measured(values: tuple[int, ...]) -> RegionMeasurement:
        mask_kji = np.isin(final_kji, values)
        _, num_components = remove_small_components(mask_kji, geometry.voxel_volume_ml, 0.0)
        return measure_region(values[0], mask_kji, num_components, geometry, keys)

    labels = tuple(measured((label.value,)) for label in card.labels)
    composites = []
    for region in GLIOMA_REGIONS:
        size = measured(region.labels)
        composites.append(CompositeMeasurement(region.name, size.volume_ml, size.num_components, size.diameter))
    return Segmentation(geometry, tuple(keys), final_kji, labels, tuple(composites))


def measure_region(
    label: int,
    mask_kji: npt.NDArray[np.bool_],
    num_components: int,
    geometry: StackGeometry,
    keys: Sequence[FrameKey],
) -> RegionMeasurement:
    """Measure one region."""
    volume_ml = float(np.count_nonzero(mask_kji)) * geometry.voxel_volume_ml
    return RegionMeasurement(label, volume_ml, num_components, largest_diameter(mask_kji, geometry, keys))


def largest_diameter(
    mask_kji: npt.NDArray[np.bool_], geometry: StackGeometry, keys: Sequence[FrameKey]
) -> Diameter | None:
    """Find the slice with the longest diameter; None for an empty mask.

    Slices are visited by the diagonal of their largest part, an upper bound, so few are measured.
    """
    box = bounding_box(mask_kji)
    if box is None:
        return None
    row_mm, column_mm = geometry.first.spacing_mm
    scale_mm = np.array([column_mm, row_mm])
    best: tuple[float, int, Points, Points] | None = None
    for bound_mm, k, outline in _outlines_by_size(mask_kji, box, scale_mm):
        if best is not None and bound_mm <= best[0]:
            break
        hull = _convex_hull(outline)
        long_axis = _longest_distance(hull * scale_mm)
        long_mm = float(np.linalg.norm(long_axis[1] - long_axis[0]))
        if best is None or long_mm > best[0]:
            best = (long_mm, k, long_axis, hull)
    assert best is not None
    long_mm, k, long_axis, hull = best
    short_axis = _longest_perpendicular(hull * scale_mm, long_axis)
    return Diameter(
        keys[k],
        long_mm,
        float(np.linalg.norm(short_axis[1] - short_axis[0])),
        _end_points(long_axis / scale_mm),
        _end_points(short_axis / scale_mm),
    )


def _outlines_by_size(
    mask_kji: npt.NDArray[np.bool_], box: tuple[slice, slice, slice], scale_mm: Points
) -> list[tuple[float, int, Points]]:
    """Outlines of all parts of all slices with an upper bound of their diameter in mm, largest first."""
    slices, rows, columns = box
    corner = np.array([columns.start, rows.start])
    found = []
    for k in range(slices.start, slices.stop):
        image = np.ascontiguousarray(mask_kji[k, rows, columns]).view(np.uint8)
        contours, _ = cv2.findContours(image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            outline = contour[:, 0, :].astype(np.float64) + corner
            extent = outline.max(axis=0) - outline.min(axis=0) + 1
            found.append((float(np.linalg.norm(extent * scale_mm)), k, outline))
    return sorted(found, key=lambda entry: (-entry[0], entry[1]))


def _convex_hull(pixels: Points) -> Points:
    points = (pixels[:, None] + _EDGE_MIDPOINTS).reshape(-1, 2).astype(np.float32)
    return np.asarray(cv2.convexHull(points)[:, 0, :], dtype=np.float64)


def _longest_distance(hull_mm: Points) -> Points:
    squared = ((hull_mm[:, None] - hull_mm[None]) ** 2).sum(axis=2)
    a, b = np.unravel_index(int(np.argmax(squared)), squared.shape)
    return hull_mm[[a, b]]


def _longest_perpendicular(hull_mm: Points, long_axis: Points) -> Points:
    """Return the longest chord of a convex polygon perpendicular to an axis; it starts in one of the corners."""
    along = long_axis[1] - long_axis[0]
    along = along / np.linalg.norm(along)
    across = np.array([-along[1], along[0]])
    t, s = hull_mm @ along, hull_mm @ across
    t_next, s_next = np.roll(t, -1), np.roll(s, -1)
    best: tuple[float, float, float, float] = (-1.0, 0.0, 0.0, 0.0)
    for t_corner in t:
        crosses = (np.minimum(t, t_next) <= t_corner) & (t_corner <= np.maximum(t, t_next))
        run = t_next - t
        is_flat = np.abs(run) < 1e-9
        weight = np.where(is_flat, 0.0, (t_corner - t) / np.where(is_flat, 1.0, run))
        at = (s + weight * (s_next - s))[crosses]
        at = np.concatenate([at, s_next[crosses & is_flat]])
        if at.max() - at.min() > best[0]:
            best = (float(at.max() - at.min()), float(t_corner), float(at.min()), float(at.max()))
    _, t_best, s_low, s_high = best
    return np.array([t_best * along + s_low * across, t_best * along + s_high * across])


def _end_points(axis_ij: Points) -> tuple[float, float, float, float]:
    (i0, j0), (i1, j1) = axis_ij.round(3).tolist()
    return (i0, j0, i1, j1)
