"""The best network of a run, read from its checkpoint, with what is known of how it is fed.

Checkpoints hold tensors and plain values only; nothing in them is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from neuroscan_core.domain.model_card import ModelKind
from training.export.errors import ExportError
from training.networks import UnknownNetwork, build_network
from training.torch_file import DamagedFile, read_torch_file

BEST_FILE = "best.pt"
KINDS = {
    "classifier": ModelKind.CLASSIFIER,
    "classifier-small": ModelKind.CLASSIFIER,
    "drunet": ModelKind.SLICE25D,
    "drunet-v2": ModelKind.SLICE25D,
    "mobilenetv2-unet": ModelKind.SLICE25D,
    "segresnet": ModelKind.VOLUME3D,
    "unet": ModelKind.MULTIMODAL2D,
}


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network with its weights.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    name : str
        A key of `NETWORKS`.
    kind : ModelKind
    options : mapping
        What it was built with.
    experiment : str
        Recipe; empty where the checkpoint does not say.
    step : int
        Of the run, at which these weights were best.
    score : float
        On validation; NaN where the checkpoint does not say.
    config : mapping
        Of the run; empty where the checkpoint does not say.
    """

    network: nn.Module
    name: str
    kind: ModelKind
    options: Mapping[str, Any] = field(default_factory=dict)
    experiment: str = ""
    step: int = 0
    score: float = float("nan")
    config: Mapping[str, Any] = field(default_factory=dict)

    def data_option(self, name: str, default: Any) -> Any:  # options of the data module have many types
        """Return one of the data module's options in the run's configuration."""
        data = self.config.get("data") or {}
        options = data.get("options") or {}
        value = options.get(name, data.get(name))
        return default if value is None else value


def read_trained(path: Path) -> TrainedNetwork:
    """Read the best checkpoint of a run.

    Parameters
    ----------
    path : pathlib.Path
        Folder of the run, or the checkpoint itself. Checkpoints with ``network`` and ``weights`` alone are read too.

    Raises
    ------
    ExportError
        There is none, it is damaged, or its weights are not those of the network that it names.
    """
    path = path / BEST_FILE if path.is_dir() else path
    state = _load(path)
    try:
        name, weights = str(state["network"]), state["weights"]
        options = dict(state.get("options") or {})
        kind = ModelKind(state["kind"]) if state.get("kind") else KINDS[name]
        network = build_network(name, **options)
        network.load_state_dict(weights)
    except KeyError as exc:
        raise ExportError(f"{path} does not say {exc}.", remedy="Give best.pt of a run of `fit`.") from exc
    except UnknownNetwork as exc:
        raise ExportError(f"{path} cannot be built: {exc}", remedy="Use the version that trained it.") from exc
    except (RuntimeError, ValueError, TypeError, AttributeError) as exc:
        reason = str(exc).strip().splitlines()[0]
        raise ExportError(
            f"The weights in {path} do not fit the network {name}: {reason}",
            remedy="Use the version that trained it.",
        ) from exc
    return TrainedNetwork(
        network.eval(),
        name,
        kind,
        options,
        str(state.get("experiment") or ""),
        int(state.get("step") or 0),
        float(state.get("score", float("nan"))),
        state.get("config") or {},
    )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        state = read_torch_file(path)
    except OSError as exc:
        raise ExportError(f"Cannot read {path}: {exc.strerror}.", remedy="Give the folder of a run.") from exc
    except DamagedFile as exc:
        raise ExportError(
            f"{path} is damaged, or no checkpoint of a run.", remedy="Take the run's file again, or train again."
        ) from exc
    if not isinstance(state, Mapping):
        raise ExportError(f"{path} is no checkpoint of a run.", remedy="Give best.pt of a run of `fit`.")
    return state
