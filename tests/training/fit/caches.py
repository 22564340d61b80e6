"""Tiny caches in memory, one per kind, and configurations that train them within a second."""

from __future__ import annotations

import numpy as np

from training.data.cache import ArrayCache, CachedCase
from training.data.splits import Split
from training.fit.compose import compose_config
from training.fit.config import FitConfig

SIZE, NUM_SLICES, NUM_CASES, NUM_PICTURES = 32, 8, 6, 24
VIEWS = {"slice25d": "flair", "multimodal2d": "multimodal", "volume3d": "multimodal", "classifier": "pictures"}
EXPERIMENTS = {
    "slice25d": "mobilenetv2-unet-flair",
    "multimodal2d": "unet-brats-strong",
    "volume3d": "segresnet",
    "classifier": "classifier",
}
NETWORKS = {
    "slice25d": ["network=unet", "network.options.in_channels=3", "network.options.out_channels=1"],
    "multimodal2d": [],
    "volume3d": [
        "network.options.init_filters=8",
        "network.options.blocks_down=[1,1]",
        "network.options.blocks_up=[1]",
    ],
    "classifier": ["network.options.widths=[4,8]", "network.options.num_blocks=[1,1]", "data.options.patch_size=24"],
}
NARROW = "network.options.widths=[4,8]"


def tiny_cache(kind: str) -> tuple[ArrayCache, Split]:
    """Noise with a bright square, which is the tumour; the class of a picture is its number modulo 4."""
    rng = np.random.default_rng(42)
    pictures = kind == "classifier"
    num_cases, num_slices = (NUM_PICTURES, 1) if pictures else (NUM_CASES, NUM_SLICES)
    channels = 4 if VIEWS[kind] == "multimodal" else 1
    num = num_cases * num_slices
    images = rng.integers(50, 200, (num, channels, SIZE, SIZE)).astype(np.uint8 if pictures else np.uint16)
    labels = np.zeros((num, SIZE, SIZE), dtype=np.uint8)
    labels[:, 8:20, 8:20] = 1 + np.arange(num)[:, None, None] % 3
    images[:, :, 8:20, 8:20] = 240
    cases = tuple(
        CachedCase(
            f"case{n}",
            "brats" if n % 2 else "lgg",
            n * num_slices,
            num_slices,
            f"patient{n}",
            (1.0, 1.0, 1.0),
            (120.0,) * channels,
            (40.0,) * channels,
        )
        for n in range(num_cases)
    )
    counts = np.stack([(labels == value).sum(axis=(1, 2)) for value in range(4)], axis=1).astype(np.int32)
    cache = ArrayCache(
        VIEWS[kind],
        images,
        labels,
        cases,
        np.full(num, 120.0, dtype=np.float32),
        np.full(num, SIZE * SIZE, dtype=np.int32),
        counts,
        (np.arange(num) % 4).astype(np.uint8),
    )
    names = tuple(case.name for case in cases)
    num_val = 8 if pictures else 2
    return cache, Split("tiny", {"train": names[:-num_val], "val": names[-num_val:], "test": ()}, {})


def tiny_config(kind: str, *changes: str) -> FitConfig:
    """A few steps of a tiny network on one CPU thread; `changes` come last and win."""
    common = [
        "trainer=cpu",
        "logger=none",
        "data.batch_size=2",
        "schedule.max_steps=6",
        "schedule.warmup=0",
        "trainer.log_every_steps=2",
        "validation.every_epochs=1",
    ]
    if kind == "volume3d":
        common += ["data.options.patch_size=[8,16,16]", "data.options.epoch_length=4"]
    narrow = [] if kind in ("volume3d", "classifier") else [NARROW]
    return compose_config(EXPERIMENTS[kind], [*NETWORKS[kind], *narrow, *common, *changes])
