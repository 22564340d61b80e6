"""Other files of a bundle that hold the same network."""

from __future__ import annotations

from pathlib import Path

from neuroscan_core.domain.model_card import Variant
from neuroscan_core.inference.bundle import Bundle, checked_file


def variant_path(bundle: Bundle, variant: Variant) -> Path:
    """Path of a variant, after a look at its contents; see `checked_file` for what may go wrong."""
    return checked_file(bundle.folder, variant.file, variant.sha256)
