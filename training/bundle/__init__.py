"""Model bundles: a folder with the ONNX file, reference inputs with their logits, and the card as YAML and as a page.

`writing` makes the folder, `card` and `words` what it says, `feed` how the network is fed, `variants` adds files of
fewer bits. The node reads bundles with its own code, `neuroscan_core.inference.bundle`.
"""

from __future__ import annotations

from training.bundle.card import CARD_FILE, MODEL_FILE, REFERENCE_FILE, make_card
from training.bundle.writing import Extras, write_bundle

__all__ = ["CARD_FILE", "MODEL_FILE", "REFERENCE_FILE", "Extras", "make_card", "write_bundle"]
