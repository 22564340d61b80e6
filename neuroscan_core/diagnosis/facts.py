"""Findings as names and values for people, as agents and report show them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuroscan_core.diagnosis.agent import Facts
from neuroscan_core.diagnosis.case import InputKind, ModelResult, Reading
from neuroscan_core.diagnosis.head import head_mask
from neuroscan_core.diagnosis.quality import Quality
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.segmentation import GLIOMA_REGIONS, CompositeMeasurement, RegionMeasurement

_TITLES = {region.name: region.title for region in GLIOMA_REGIONS}
_LABELS = {region.name: region.labels for region in GLIOMA_REGIONS}
_AXES = (("right", "left"), ("front", "back"), ("feet", "head"))  # towards which x, y, z of LPS grow
Measured = RegionMeasurement | CompositeMeasurement


def plane_text(geometry: StackGeometry) -> str:
    """Plane, and by how much it is oblique."""
    angle = float(np.degrees(np.arccos(np.clip(np.max(np.abs(geometry.first.normal)), 0.0, 1.0))))
    return geometry.first.plane.value + (f", tilted by {angle:.0f} degrees" if angle >= 1.0 else "")


def orientation_text(geometry: StackGeometry) -> str:
    """Where columns, rows and slices grow to, in the patient."""
    directions = [geometry.first.orientation[:3], geometry.first.orientation[3:], tuple(geometry.first.normal)]
    names = []
    for direction in directions:
        axis = int(np.argmax(np.abs(direction)))
        names.append(_AXES[axis][1 if direction[axis] > 0 else 0])
    return f"columns towards the patient's {names[0]}, rows towards the {names[1]}, slices towards the {names[2]}"


def quality_facts(quality: Quality, kind: InputKind) -> Facts:
    """Numbers of quality as names and values."""
    snr = "no noise found (processed images)" if quality.snr is None else f"{quality.snr:.0f}"
    how = "from the air" if quality.is_noise_from_air else "estimated inside the head; fine anatomy makes it larger"
    ghost = (
        "cannot be measured: there is no air" if quality.ghost is None else f"{100 * quality.ghost:.1f} % of the signal"
    )
    facts = [
        ("noise", f"{quality.noise:.3g} ({how})"),
        ("signal to noise", snr),
        ("clipped", f"{100 * quality.clipped:.2f} % of the tissue at the largest value"),
        ("ghosts", ghost),
        ("grey levels", f"{quality.levels}" if quality.levels < 4096 else "4096 or more"),
    ]
    if kind.has_millimetres:
        facts.append(("longest to shortest voxel edge", f"{quality.anisotropy:.1f}"))
        depth, height, width = quality.head_mm
        facts.append(("tissue", f"{width:.0f} x {height:.0f} x {depth:.0f} mm (width, depth, height)"))
    return tuple(facts)


def size_facts(result: ModelResult, reading: Reading) -> Facts:
    """Size of every region, as names and values."""
    found = result.segmentation
    if found.is_empty:
        return (("finding", "nothing was marked as tumour"),)
    if not reading.has_millimetres:
        return _pixel_facts(result, head_mask(reading.volume))
    names = {label.value: label.name for label in result.card.labels}
    facts = [(names[m.label], size_text(m)) for m in found.measurements]
    facts += [(_TITLES[m.region], size_text(m)) for m in found.composites if len(_LABELS[m.region]) > 1]
    return tuple(facts)


def size_text(measured: Measured) -> str:
    """Volume, parts and diameters of a region."""
    if measured.diameter is None:
        return "none"
    parts = f"{measured.num_components} part{'s' * (measured.num_components != 1)}"
    return (
        f"{measured.volume_ml:.1f} ml in {parts}; "
        f"{measured.diameter.long_mm:.0f} x {measured.diameter.short_mm:.0f} mm in its largest slice"
    )


def _pixel_facts(result: ModelResult, head_kji: npt.NDArray[np.bool_]) -> Facts:
    num_head = max(int(head_kji.sum()), 1)
    facts = []
    for label in result.card.labels:
        mask = result.segmentation.labels_kji == label.value
        share = int((mask & head_kji).sum()) / num_head
        facts.append((label.name, f"{int(mask.sum())} pixels, {100 * share:.1f} % of what is shown of the head"))
    return tuple(facts)
