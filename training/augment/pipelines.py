"""The augmentation of each kind of network: which steps, in which order.

All take and return whole batches as `training.data.batches` describes them,
on any device. All randomness comes from the generator that is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from training.augment import heads, intensity, space, tissue
from training.augment.config import AugmentConfig, config_of
from training.augment.draw import generator_on


class Augmentation(Protocol):
    """Changes a batch as another patient, scanner or position would."""

    def __call__(self, image: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return image and target as the network gets them; what was handed in stays as it is."""


class WindowAugmentation:
    """For `slice25d`: windows in units of tissue become windows as the node normalises them."""

    def __init__(self, config: AugmentConfig) -> None:
        self._config = config

    @torch.no_grad()
    def __call__(self, image: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augment float32 [N, 3, H, W] and masks float32 [N, 1, H, W]."""
        config, generator = self._config, generator_on(generator, image.device)
        image = heads.add_skull(image, generator, config)
        image = heads.remove_skull(image, target[:, 0], generator, config)
        size = config.size or image.shape[2]
        grid = space.plane_grid(len(image), image.shape[2], size, generator, config)
        warped = space.warp_images(torch.cat([image, target], dim=1), grid)
        image, target = warped[:, :-1], (warped[:, -1:] > 0.5).float()
        image = _intensities(image, generator, config)
        image = intensity.local_equalisation(image, generator, config)
        image, target = heads.replace_by_air(image, target, generator, config)
        return tissue.normalise_windows(image), target


class SliceAugmentation:
    """For `multimodal2d`: one movement for all channels, intensities of each by itself."""

    def __init__(self, config: AugmentConfig) -> None:
        self._config = config

    @torch.no_grad()
    def __call__(self, image: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augment z-scores [N, 4, H, W] and labels int64 [N, H, W]."""
        config, generator = self._config, generator_on(generator, image.device)
        image, scale = tissue.tissue_of_zscores(image)
        image = heads.add_skull(image, generator, config)
        image = heads.remove_skull(image, target, generator, config)
        size = config.size or image.shape[2]
        grid = space.plane_grid(len(image), image.shape[2], size, generator, config)
        image, target = space.warp_images(image, grid), space.warp_labels(target, grid)
        image = _intensities(image, generator, config)
        image = intensity.local_equalisation(image, generator, config)
        image = intensity.drop_channel(image, generator, config)
        image, target = heads.replace_by_air(image, target, generator, config)
        return tissue.zscores_of_tissue(image, scale), target


class VolumeAugmentation:
    """For `volume3d`: flips, one turn in space, intensities of each channel by itself."""

    def __init__(self, config: AugmentConfig) -> None:
        self._config = config

    @torch.no_grad()
    def __call__(self, image: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augment z-scores [N, 4, D, H, W] and regions float32 [N, 3, D, H, W]."""
        config, generator = self._config, generator_on(generator, image.device)
        image, scale = tissue.tissue_of_zscores(image)
        image = heads.add_skull(image, generator, config)
        image, target = space.warp_volumes(image, target, generator, config)
        image = _intensities(image, generator, config)
        image = intensity.drop_channel(image, generator, config)
        return tissue.zscores_of_tissue(image, scale), target


class PictureAugmentation:
    """For `classifier`: pictures in -1 to 1; the class stays."""

    def __init__(self, config: AugmentConfig) -> None:
        self._config = config

    @torch.no_grad()
    def __call__(self, image: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augment pictures [N, 1, H, W]; classes int64 [N] are returned as they are."""
        config, generator = self._config, generator_on(generator, image.device)
        size = config.size or image.shape[2]
        grid = space.plane_grid(len(image), image.shape[2], size, generator, config)
        grey = space.warp_images((image + 1.0) * 0.5, grid)
        grey = _intensities(grey, generator, config)
        grey = intensity.local_equalisation(grey * intensity.CLAHE_TOP, generator, config) / intensity.CLAHE_TOP
        return grey.clamp(0.0, 1.0) * 2.0 - 1.0, target


def _intensities(image: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    image = intensity.gamma_contrast(image, generator, config)
    image = intensity.bias_field(image, generator, config)
    image = intensity.low_resolution(image, generator, config)
    return intensity.rician_noise(image, generator, config)


_KINDS: dict[str, type] = {
    "slice25d": WindowAugmentation,
    "multimodal2d": SliceAugmentation,
    "volume3d": VolumeAugmentation,
    "classifier": PictureAugmentation,
}


def build_augmentation(kind: str, config: Mapping[str, Any] | AugmentConfig | None = None) -> Augmentation:
    """Return the augmentation of a kind of network.

    Parameters
    ----------
    kind : str
        `slice25d`, `multimodal2d`, `volume3d` or `classifier`.
    config : mapping or AugmentConfig, optional
        Changes to the defaults of the kind, by the names of `AugmentConfig`.

    Raises
    ------
    DataError
        For an unknown kind or key, or a value out of its range.
    """
    checked = config_of(kind, config)
    augmentation: Augmentation = _KINDS[kind](checked)
    return augmentation
