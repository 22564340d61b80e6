"""Files of PyTorch, read as tensors and plain values: nothing in them is executed."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

# What torch.load raises on bytes that are no such file.
_DAMAGED = (OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError)


class DamagedFile(ValueError):
    """Not what torch.save wrote, or more than tensors and plain values; whoever reads it says what to do."""


def read_torch_file(path: Path) -> Any:  # whatever was saved
    """Read what torch.save wrote, on the CPU.

    Raises
    ------
    OSError
        The file cannot be read.
    DamagedFile
        Its contents cannot be used.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        return torch.load(content, map_location="cpu", weights_only=True)
    except _DAMAGED as exc:
        raise DamagedFile(f"{path}: {exc}") from exc
