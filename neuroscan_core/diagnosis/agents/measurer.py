"""How large is it, and where? Volumes and diameters, side by an estimate of the midline, box in the patient."""

from __future__ import annotations

import numpy as np

from neuroscan_core.diagnosis.agent import Facts, Finding, Progress, Skipped
from neuroscan_core.diagnosis.case import CaseFile, Reading
from neuroscan_core.diagnosis.facts import size_facts
from neuroscan_core.diagnosis.head import head_mask
from neuroscan_core.diagnosis.location import NO_ATLAS, Location, locate
from neuroscan_core.diagnosis.midline import find_midline
from neuroscan_core.diagnosis.steps import STEPS


class Measurer:
    """Measures what the segmenters found."""

    name, title = STEPS[3]

    def run(self, case: CaseFile, progress: Progress) -> Finding:
        """See `Agent`."""
        reading = case.reading
        if reading is None or not case.results:
            raise Skipped("Nothing was segmented, so there is nothing to measure.")
        found = np.any([one.segmentation.labels_kji > 0 for one in case.results], axis=0)
        progress(1, 3)
        midline = find_midline(reading.volume, found)
        progress(2, 3)
        head_kji = head_mask(reading.volume)
        locations = {}
        for one in case.results:
            location = locate(one.segmentation.labels_kji > 0, head_kji, reading.volume.geometry, midline)
            if location is not None:
                locations[one.card.name] = location
        first = case.results[0]
        return Finding(
            case.adding(locations=locations),
            (("of", f"{first.card.name} {first.card.version}"), ("midline", _midline_text(midline.correlation))),
            (*size_facts(first, reading), *_place_facts(locations.get(first.card.name), reading)),
            None if midline.correlation < 0 else float(min(1.0, midline.correlation)),
            _notes(reading, bool(locations)),
        )


def _place_facts(location: Location | None, reading: Reading) -> Facts:
    if location is None:
        return ()
    if not reading.has_millimetres:
        left, right = round(100 * location.left_share), 100 - round(100 * location.left_share)
        return (("side", f"{left} % right and {right} % left of the middle as the picture is seen"),)
    low, high = location.box_mm[:3], location.box_mm[3:]
    box = "; ".join(f"{axis} {a:.0f} to {b:.0f}" for axis, a, b in zip("xyz", low, high, strict=True))
    return (
        ("side", location.sentence),
        ("place", location.place_words),
        ("box (LPS, mm)", box),
        ("centre (LPS, mm)", ", ".join(f"{value:.0f}" for value in location.centre_mm)),
    )


def _midline_text(correlation: float) -> str:
    return "not found" if correlation < 0 else f"the halves of the head correlate by {correlation:.2f}"


def _notes(reading: Reading, is_somewhere: bool) -> list[str]:
    if not reading.has_millimetres:
        return [
            "A picture has no millimetres: volumes and diameters cannot be given.",
            "A picture does not say which side is which; by radiological convention its left is the patient's right.",
        ]
    return [NO_ATLAS] if is_somewhere else []
