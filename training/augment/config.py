"""Strengths of the augmentation, and what they are by default for each kind of network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.data.errors import DataError

Range = tuple[float, float]


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths; `p_*` are probabilities per item of the batch.

    Lengths are in pixels or voxels of the batch, intensities in units of
    tissue (1 = typical tissue, 0 = air; white for pictures).

    Parameters
    ----------
    size : int
        Rows and columns to return, 0 for those of the batch; less than these crops near the head. Images only.
    p_spatial : float
        Share that is rotated, zoomed and shifted (flips have their own).
    p_flip_lr, p_flip_ud, p_flip_depth : float
        Mirrored along columns, rows, slices.
    max_rotation_deg, max_tilt_deg : float
        In the plane, and of volumes about the other two axes.
    zoom : tuple of float
        Drawn uniformly in the logarithm.
    max_shift : float
        In half images.
    elastic_cells, elastic_px : int, float
        Nodes of the deformation per axis, and its standard deviation.
    gamma, contrast : tuple of float
        Exponent, and gain.
    channel_gain : tuple of float
        Gain of each channel by itself, always.
    per_channel : bool
        Gamma, gain and bias field of each channel by itself.
    bias, noise : float
        Strength of the bias field; largest standard deviation of the noise.
    lowres : tuple of float
        Factor of coarser pixels.
    p_clahe : float
        Equalised locally.
    p_air : float
        Replaced by noise alone, without tumour.
    p_skull, p_strip : float
        Of heads without a skull, the share that gets one; of those with a skull, the share that loses it (slices
        only).
    p_channel_drop : float
        One channel becomes air.
    """

    size: int = 0
    p_spatial: float = 1.0
    p_flip_lr: float = 0.5
    p_flip_ud: float = 0.1
    p_flip_depth: float = 0.0
    max_rotation_deg: float = 35.0
    max_tilt_deg: float = 10.0
    zoom: Range = (0.8, 1.25)
    max_shift: float = 0.08
    p_elastic: float = 0.5
    elastic_cells: int = 6
    elastic_px: float = 6.0
    p_gamma: float = 0.5
    gamma: Range = (0.7, 1.5)
    contrast: Range = (0.8, 1.25)
    channel_gain: Range = (0.95, 1.05)
    per_channel: bool = False
    p_bias: float = 0.4
    bias: float = 0.35
    p_noise: float = 0.3
    noise: float = 0.12
    p_lowres: float = 0.2
    lowres: Range = (1.3, 2.5)
    p_clahe: float = 0.05
    p_air: float = 0.03
    p_skull: float = 0.0
    p_strip: float = 0.0
    p_channel_drop: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.startswith("p_") and not 0.0 <= value <= 1.0:
                raise DataError(f"augmentation: {field.name} is {value}.", remedy="A probability lies in 0 to 1.")
        for name in ("zoom", "gamma", "contrast", "channel_gain", "lowres"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise DataError(f"augmentation: {name} is {low} to {high}.", remedy="Give 0 < low <= high.")


#: What differs from `AugmentConfig` for each kind.
DEFAULTS: dict[str, dict[str, Any]] = {
    "slice25d": {"p_skull": 0.15, "p_strip": 0.15},
    "multimodal2d": {
        "contrast": (0.9, 1.1), "per_channel": True, "noise": 0.08, "bias": 0.25, "p_clahe": 0.0, "p_air": 0.0,
    },
    "volume3d": {
        "p_spatial": 0.5, "p_elastic": 0.0, "contrast": (0.9, 1.1), "per_channel": True, "p_gamma": 0.3, "p_bias": 0.3,
        "bias": 0.25, "noise": 0.08, "p_noise": 0.2, "p_lowres": 0.1, "p_clahe": 0.0, "p_air": 0.0,
    },
    "classifier": {
        "max_rotation_deg": 20.0, "zoom": (0.85, 1.15), "p_elastic": 0.2, "elastic_px": 3.0, "noise": 0.05, "bias": 0.2,
        "p_air": 0.0, "p_flip_ud": 0.0,
    },
}  # fmt: skip


def config_of(kind: str, changes: Mapping[str, Any] | AugmentConfig | None = None) -> AugmentConfig:
    """Return the configuration of a kind, with changes.

    Raises
    ------
    DataError
        For an unknown kind or key, or a value out of its range.
    """
    if isinstance(changes, AugmentConfig):
        return changes
    if kind not in DEFAULTS:
        raise DataError(f"there is no kind of network {kind!r}.", remedy=f"Known: {', '.join(DEFAULTS)}.")
    known = {field.name for field in dataclasses.fields(AugmentConfig)}
    unknown = set(changes or {}) - known
    if unknown:
        raise DataError(f"augmentation has no {', '.join(sorted(unknown))}.", remedy=f"Known: {', '.join(known)}.")
    values = {**DEFAULTS[kind], **(changes or {})}
    return AugmentConfig(**{key: tuple(v) if isinstance(v, (list, tuple)) else v for key, v in values.items()})
