"""Checkpoints of small networks, as a run leaves them, without the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from training.networks import build_network

# kind, network, options, data options: small where the network can be, and quick to export.
SMALL: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "slice25d": ("drunet-v2-flair", "drunet-v2", {"widths": [4, 8, 8], "dilations": [1, 1, 2]}, {}),
    "multimodal2d": ("unet-brats", "unet", {"widths": [4, 8, 8]}, {}),
    "volume3d": (
        "segresnet-2mm",
        "segresnet",
        {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
        {"patch_size": [16, 24, 32], "spacing_mm": 2.0},
    ),
    "classifier": ("tumour-classifier", "classifier", {"widths": [8, 8, 8, 8]}, {"patch_size": 64}),
}
SPLITS = {"slice25d": "flair-v1", "multimodal2d": "brats-v1", "volume3d": "brats-v1", "classifier": "pictures-v1"}


def write_run(kind: str, folder: Path, /, **changes: Any) -> Path:
    """Write `best.pt` of a run of this kind; its batch norms have seen one batch."""
    experiment, name, options, data_options = SMALL[kind]
    torch.manual_seed(42)
    network = build_network(name, **options)
    _settle(network, kind)
    state = {
        "experiment": experiment,
        "kind": kind,
        "network": name,
        "options": options,
        "weights": network.state_dict(),
        "score": 0.8123,
        "step": 7,
        "config": {"data": {"split": SPLITS[kind], "options": data_options}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({key: value for key, value in (state | changes).items() if value is not None}, folder / "best.pt")
    return folder


def _settle(network: torch.nn.Module, kind: str) -> None:
    shape = {"volume3d": (1, 4, 16, 16, 16), "classifier": (4, 1, 64, 64), "slice25d": (4, 3, 64, 64)}
    with torch.no_grad():
        for _ in range(3):
            network.train()(torch.randn(shape.get(kind, (4, 4, 64, 64))))
