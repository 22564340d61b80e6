"""How a trained network is fed: size, spacing, channels, normalisation; read from its run's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neuroscan_core.domain.model_card import SKULL_ANY, SKULL_STRIPPED, ModelKind
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.pipeline.grid import MODEL_SIZE, WORKING_SPACING_MM
from neuroscan_core.pipeline.normalise import NORMALISATION, VOLUME_NORMALISATION
from neuroscan_core.pipeline.picture import PICTURE_NORMALISATION
from training.export.errors import ExportError
from training.export.trained import TrainedNetwork

DEFAULT_PATCH, DEFAULT_PICTURE = 64, 224


@dataclass(frozen=True)
class Feed:
    """What a network takes.

    Parameters
    ----------
    size : tuple of int
        Rows and columns; slices, rows and columns for ``volume3d``.
    spacing_mm : float
        Of pixels or voxels; 0 for pictures, which have none.
    channels : tuple of str
    sequence, normalisation, skull : str
        As in the card.
    """

    size: tuple[int, ...]
    spacing_mm: float
    channels: tuple[str, ...]
    sequence: str
    normalisation: str
    skull: str


def feed_of(trained: TrainedNetwork) -> Feed:
    """Return how a network is fed.

    Raises
    ------
    ExportError
        The configuration of its run gives a size that the kind cannot have.
    """
    kind = trained.kind
    if kind is ModelKind.SLICE25D:
        return Feed(MODEL_SIZE, WORKING_SPACING_MM, ("z-1", "z", "z+1"), "FLAIR", NORMALISATION, SKULL_ANY)
    if kind is ModelKind.MULTIMODAL2D:
        return _brats_feed(MODEL_SIZE, WORKING_SPACING_MM)
    if kind is ModelKind.VOLUME3D:
        patch = _lengths(trained.data_option("patch_size", DEFAULT_PATCH), 3)
        return _brats_feed(patch, float(trained.data_option("spacing_mm", WORKING_SPACING_MM)))
    # The small network has one size only, and says it.
    size = trained.options.get("size") or trained.data_option("patch_size", _default_picture(trained.name))
    return Feed(_lengths(size, 2), 0.0, ("grey",), "any", PICTURE_NORMALISATION, SKULL_ANY)


def _brats_feed(size: tuple[int, ...], spacing_mm: float) -> Feed:
    return Feed(size, spacing_mm, SEQUENCES, ",".join(SEQUENCES), VOLUME_NORMALISATION, SKULL_STRIPPED)


def _default_picture(network: str) -> int:
    return 150 if network == "classifier-small" else DEFAULT_PICTURE


def _lengths(size: int | Sequence[int], num_axes: int) -> tuple[int, ...]:
    lengths = (size,) * num_axes if isinstance(size, int) else tuple(int(length) for length in size)
    if len(lengths) != num_axes or min(lengths) <= 0:
        raise ExportError(
            f"The run's configuration says data.options.patch_size: {size}; {num_axes} lengths are needed."
        )
    return lengths
