"""Networks by name; each module holds one architecture."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from training.networks.mobilenetv2_unet import MobileNetV2UNet

NETWORKS: dict[str, Callable[[], nn.Module]] = {"mobilenetv2-unet": MobileNetV2UNet}


def build_network(name: str) -> nn.Module:
    """Build a network with random weights.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.

    Raises
    ------
    ValueError
        If no network has that name.
    """
    try:
        factory = NETWORKS[name]
    except KeyError as exc:
        raise ValueError(f"unknown network {name!r}; known: {', '.join(sorted(NETWORKS))}") from exc
    return factory()
