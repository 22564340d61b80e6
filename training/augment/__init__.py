"""Augmentation of whole batches with torch, on the device where the batch is."""

from __future__ import annotations

from training.augment.config import AugmentConfig, config_of
from training.augment.pipelines import Augmentation, build_augmentation

__all__ = ["AugmentConfig", "Augmentation", "build_augmentation", "config_of"]
