"""Weights of an encoder from a file: which are taken, and what a file must hold.

Files are read as tensors and plain values only, never as code. Nothing is fetched from a hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from neuroscan_core.domain.errors import ModelError
from training.torch_file import DamagedFile, read_torch_file

# What training code of others puts around or before the names.
_WRAPPERS = ("state_dict", "model", "weights")
_PREFIXES = ("module.", "model.", "network.")


class EncoderMismatch(ModelError, ValueError):
    """Weights from a file do not fit the encoder."""


def read_encoder_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict, e.g. torchvision's ``mobilenet_v2-b0353104.pth``.

    Parameters
    ----------
    path : pathlib.Path
        ``.pth`` or ``.pt``: a state dict, bare or under ``state_dict``, ``model`` or ``weights``; names may begin with
        ``module.``.

    Raises
    ------
    EncoderMismatch
        The file cannot be read, or holds no tensors by name.
    """
    try:
        content = read_torch_file(path)
    except OSError as exc:
        raise EncoderMismatch(f"Cannot read {path}: {exc.strerror}.", remedy="Give a file of weights.") from exc
    except DamagedFile as exc:
        raise EncoderMismatch(
            f"{path} is not a file of weights, or holds more than tensors.",
            remedy="Save a plain state dict with torch.save.",
        ) from exc
    state = _unwrapped(content)
    if not state:
        raise EncoderMismatch(f"{path} holds no weights by name.", remedy="Save a plain state dict with torch.save.")
    return {_bare(name): value for name, value in state.items()}


def load_into(encoder: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Load an encoder from the entries of a state dict that begin with `prefix`.

    Raises
    ------
    EncoderMismatch
        A parameter is missing or has another shape; the encoder is as before.
    """
    wanted = {}
    for key, value in encoder.state_dict().items():
        source = state.get(prefix + key)
        if source is None and key.endswith(".num_batches_tracked"):
            source = value  # counts nothing that is used; files of old versions of PyTorch lack it
        if source is None or source.shape != value.shape:
            found = "missing" if source is None else f"of shape {tuple(source.shape)}, not {tuple(value.shape)}"
            raise EncoderMismatch(f"{prefix}{key} is {found}.", remedy="Give weights of this very encoder.")
        wanted[key] = source
    encoder.load_state_dict(wanted)


def _unwrapped(content: object) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
