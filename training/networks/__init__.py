"""Networks by name; each module holds one architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from neuroscan_core.domain.errors import ModelError
from training import registry
from training.networks.classifier import Classifier
from training.networks.classifier_small import ClassifierSmall
from training.networks.drunet import DRUNet
from training.networks.drunet_v2 import DRUNetV2
from training.networks.mobilenetv2_unet import MobileNetV2UNet
from training.networks.segresnet import segresnet
from training.networks.unet import UNet

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "classifier": Classifier,
    "classifier-small": ClassifierSmall,
    "drunet": DRUNet,
    "drunet-v2": DRUNetV2,
    "mobilenetv2-unet": MobileNetV2UNet,
    "segresnet": segresnet,
    "unet": UNet,
}


class UnknownNetwork(ModelError, ValueError):
    """No network has that name, or it has no such option."""


def build_network(name: str, **options: Any) -> nn.Module:  # options differ by network
    """Build a network with random weights.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    **options
        Arguments of the network's constructor, by name.

    Raises
    ------
    UnknownNetwork
        No network has that name, or it has no such option.
    """
    return registry.build("network", NETWORKS, name, options, UnknownNetwork)


def num_parameters(network: nn.Module) -> int:
    """Return how many numbers the network learns."""
    return sum(parameter.numel() for parameter in network.parameters())
