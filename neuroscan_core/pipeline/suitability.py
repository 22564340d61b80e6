"""Whether a study of several series suits a model, and what its reader must be told where it does only in part.

How the series of a study were chosen and matched is not judged here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.study import StudyVolume
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.pipeline.brainlike import require_brain
from neuroscan_core.pipeline.grid import InPlaneGrid
from neuroscan_core.pipeline.normalise import slice_scale
from neuroscan_core.pipeline.orientation import CanonicalView
from neuroscan_core.pipeline.reformat import MAX_IN_PLANE_SPACING_MM
from neuroscan_core.pipeline.window25d import PreparedSlice

StudyCheck = Callable[[StudyVolume], None]
MAX_LOOKED_AT = 48  # slices of a study; enough to see a head
SKULL_WARNING = (
    "The model was trained on images whose skull had been removed. Images of this study were given to it as they are: "
    "where they show the skull, results may be wrong."
)


def require_head(study: StudyVolume) -> None:
    """Refuse a study whose last channel does not look like a head.

    Raises
    ------
    SeriesRejection
        ``not-brain-like``; ``unsupported-plane`` where the series is too coarse to be seen axially.
    """
    view = CanonicalView.of(study.geometry)
    grid = axial_grid(view, study.geometry.shape)
    volume_DHW = view.to_canonical(study.voxels_CKJI[-1])
    stride = -(-len(volume_DHW) // MAX_LOOKED_AT)
    stack = []
    for d in range(0, len(volume_DHW), stride):
        image_HW = grid.to_model(volume_DHW[d])
        offset_mm = d * view.spacing_mm[0]
        stack.append(PreparedSlice(FrameKey("axial", d + 1), grid, offset_mm, True, image_HW, slice_scale(image_HW)))
    require_brain(stack)


def axial_grid(view: CanonicalView, shape_kji: tuple[int, int, int], card: ModelCard | None = None) -> InPlaneGrid:
    """Grid of the axial slices of a study for a card, or for a look at them.

    Raises
    ------
    SeriesRejection
        ``unsupported-plane`` where the study, seen axially, is coarser than a network could use.
    """
    rows, columns = shape_kji[view.axes[1]], shape_kji[view.axes[2]]
    spacing_mm = view.spacing_mm[1:]
    if max(spacing_mm) > MAX_IN_PLANE_SPACING_MM + 0.01:
        raise SeriesRejection(
            RejectionCode.UNSUPPORTED_PLANE,
            f"Seen axially, pixels of the study would be {max(spacing_mm):.1f} mm wide; "
            f"at most {MAX_IN_PLANE_SPACING_MM:.0f} mm are usable.",
            remedy="Send axial series, or 3D acquisitions with thin slices.",
        )
    if card is None:
        return InPlaneGrid(rows, columns, spacing_mm)
    return InPlaneGrid(
        rows,
        columns,
        spacing_mm,
        size=card.plane_size,
        working_spacing_mm=card.spacing_mm,
        tolerance=card.spacing_tolerance,
    )


def channels_for(study: StudyVolume, card: ModelCard) -> list[int]:
    """Indices of the study's channels in the card's order.

    Raises
    ------
    SeriesRejection
        ``no-rule`` where the study lacks a sequence that the model needs.
    """
    missing = [name for name in card.channels if name not in study.channels]
    if missing:
        raise SeriesRejection(
            RejectionCode.NO_RULE,
            f"The study lacks {', '.join(missing)}, which {card.name} needs.",
            remedy="Send the missing series, or choose a model that does without.",
        )
    return [study.channels.index(name) for name in card.channels]


def warnings_for(card: ModelCard) -> tuple[str, ...]:
    """What a reader of this model's results must know."""
    return (SKULL_WARNING,) if card.needs_stripped else ()


def is_air(images_CHW: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bool:
    """Whether a slice shows nothing in any sequence."""
    return not any(float(image_HW.max()) > float(image_HW.min()) for image_HW in images_CHW)
