"""Augmentation of whole batches with torch, on the device where the batch is."""

from __future__ import annotations

from training.augment.slices import AugmentConfig, augment_batch, scale_to_tissue, warp

__all__ = ["AugmentConfig", "augment_batch", "scale_to_tissue", "warp"]
