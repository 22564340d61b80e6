"""The augmentation of each kind of network: which steps, in which order.

All take and return whole batches as `training.data.batches` describes them,
on any device. All randomness comes from the generator that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from training.augment import heads, intensity, space, tissue
from training.augment.config import AugmentConfig, config_of
from training.augment.draw import generator_on

Steps = Callable[[Tensor, Tensor, torch.Generator, AugmentConfig], tuple[Tensor, Tensor]]


class Augmentation:
    """Changes a batch as another patient, scanner or position would."""

    def __init__(self, steps: Steps, config: AugmentConfig) -> None:
        self._steps, self._config = steps, config

    @torch.no_grad()
    def __call__(self, image: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return image and target as the network gets them; what was handed in stays as it is."""
        return self._steps(image, target, generator_on(generator, image.device), self._config)


def augment_windows(
    image: Tensor, target: Tensor, generator: torch.Generator, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """For `slice25d`: windows in units of tissue become windows as the node normalises them.

    Images are float32 [N, 3, H, W], masks float32 [N, 1, H, W].
    """
    image = heads.add_skull(image, generator, config)
    image = heads.remove_skull(image, target[:, 0], generator, config)
    warped = space.warp_images(torch.cat([image, target], dim=1), _grid(image, generator, config))
    image, target = warped[:, :-1], (warped[:, -1:] > 0.5).float()
    image = _intensities(image, generator, config)
    image = intensity.local_equalisation(image, generator, config)
    image, target = heads.replace_by_air(image, target, generator, config)
    return tissue.normalise_windows(image), target


def augment_slices(
    image: Tensor, target: Tensor, generator: torch.Generator, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """For `multimodal2d`: one movement for all channels, intensities of each by itself.

    Images are z-scores [N, 4, H, W], labels int64 [N, H, W].
    """
    image, scale = tissue.tissue_of_zscores(image)
    image = heads.add_skull(image, generator, config)
    image = heads.remove_skull(image, target, generator, config)
    grid = _grid(image, generator, config)
    image, target = space.warp_images(image, grid), space.warp_labels(target, grid)
    image = _intensities(image, generator, config)
    image = intensity.local_equalisation(image, generator, config)
    image = intensity.drop_channel(image, generator, config)
    image, target = heads.replace_by_air(image, target, generator, config)
    return tissue.zscores_of_tissue(image, scale), target


def augment_volumes(
    image: Tensor, target: Tensor, generator: torch.Generator, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """For `volume3d`: flips, one turn in space, intensities of each channel by itself.

    Images are z-scores [N, 4, D, H, W], regions float32 [N, 3, D, H, W].
    """
    image, scale = tissue.tissue_of_zscores(image)
    image = heads.add_skull(image, generator, config)
    image, target = space.warp_volumes(image, target, generator, config)
    image = _intensities(image, generator, config)
    image = intensity.drop_channel(image, generator, config)
    return tissue.zscores_of_tissue(image, scale), target


def augment_pictures(
    image: Tensor, target: Tensor, generator: torch.Generator, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """For `classifier`: pictures [N, 1, H, W] in -1 to 1; classes int64 [N] are returned as they are."""
    grey = space.warp_images((image + 1.0) * 0.5, _grid(image, generator, config))
    grey = _intensities(grey, generator, config)
    grey = intensity.local_equalisation(grey * intensity.CLAHE_TOP, generator, config) / intensity.CLAHE_TOP
    return grey.clamp(0.0, 1.0) * 2.0 - 1.0, target


def _grid(image: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    height = image.shape[2]
    return space.plane_grid(len(image), height, config.size or height, generator, config)


def _intensities(image: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    image = intensity.gamma_contrast(image, generator, config)
    image = intensity.bias_field(image, generator, config)
    image = intensity.low_resolution(image, generator, config)
    return intensity.rician_noise(image, generator, config)


_KINDS: dict[str, Steps] = {
    "slice25d": augment_windows,
    "multimodal2d": augment_slices,
    "volume3d": augment_volumes,
    "classifier": augment_pictures,
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
    return Augmentation(_KINDS[kind], checked)
