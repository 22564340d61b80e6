"""Other files of a bundle that hold the same network."""

from __future__ import annotations

import hashlib
from pathlib import Path

from neuroscan_core.domain.errors import InvalidBundle
from neuroscan_core.domain.model_card import Variant
from neuroscan_core.inference.bundle import Bundle


def variant_path(bundle: Bundle, variant: Variant) -> Path:
    """Path of a variant, after a look at its contents.

    Raises
    ------
    InvalidBundle
        The file is not in the bundle's folder, or not the one that the card describes.
    """
    path = bundle.folder / variant.file
    if Path(variant.file).name != variant.file:
        raise InvalidBundle(f"The card names the file '{variant.file}', which is not in its folder.")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise InvalidBundle(f"Cannot read {path}: {exc.strerror}.", remedy="Export the bundle again.") from exc
    if digest != variant.sha256:
        raise InvalidBundle(
            f"{path} is not the file that its card describes: SHA-256 differs.", remedy="Copy it again."
        )
    return path
