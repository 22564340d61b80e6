"""From probabilities of a volume to its label map: threshold, nesting, removal of small parts.

The same rules as in the node, which applies them to logits. How threshold and size are chosen is in `evaluate.choice`.

Shape legend: L outputs, S slices, H rows, W columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.pipeline.postprocess import remove_small_tumours
from training.regions import labels_from_regions

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
#: Where nothing was chosen on validation patients.
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Postprocessing:
    """Choices that turn probabilities into a label map.

    Parameters
    ----------
    threshold : float
        Probability above which a voxel belongs to a region; for exclusive classes, above which it is not background.
    min_component_ml : float
        Connected parts of the whole tumour that are smaller are removed.
    """

    threshold: float = DEFAULT_THRESHOLD
    min_component_ml: float = 0.0

    @classmethod
    def from_card(cls, card: ModelCard) -> Postprocessing:
        """Read the choices from a bundle's card."""
        return cls(card.threshold, card.min_component_ml)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> Postprocessing:
        """Read what `asdict` wrote."""
        return cls(float(content["threshold"]), float(content["min_component_ml"]))

    @classmethod
    def read(cls, path: Path) -> Postprocessing:
        """Read the `postprocessing.json` of an evaluation.

        Raises
        ------
        ConfigurationError
            It cannot be read.
        """
        try:
            return cls.from_mapping(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ConfigurationError(
                f"Cannot read {path}: {exc}.", remedy="Give postprocessing.json as `test --choose` writes it."
            ) from exc

    def apply(self, probabilities_LSHW: Probabilities, kind: ModelKind, voxel_ml: float) -> Labels:
        """Return the label map of a volume, shape (S, H, W)."""
        return self.without_small_parts(raw_labels(probabilities_LSHW, kind, self.threshold), voxel_ml)

    def without_small_parts(self, raw_SHW: Labels, voxel_ml: float) -> Labels:
        """Return the label map from the `raw_labels` of the threshold."""
        return remove_small_tumours(raw_SHW, voxel_ml, self.min_component_ml)


def raw_labels(probabilities_LSHW: Probabilities, kind: ModelKind, threshold: float) -> Labels:
    """Return the label map before small parts are removed.

    Parameters
    ----------
    probabilities_LSHW : numpy.ndarray
        slice25d: L = 1. multimodal2d: background and three classes. volume3d: WT, TC, ET.
    """
    if kind is ModelKind.SLICE25D:
        return (probabilities_LSHW[0] > threshold).astype(np.uint8)
    if kind is ModelKind.VOLUME3D:
        return labels_from_regions(probabilities_LSHW > threshold)
    if kind is not ModelKind.MULTIMODAL2D:
        raise ValueError(f"a {kind.value} network makes no label map")
    is_tumour = probabilities_LSHW[1:].sum(axis=0) > threshold
    labels_SHW = np.zeros(is_tumour.shape, dtype=np.uint8)
    labels_SHW[is_tumour] = probabilities_LSHW[1:, is_tumour].argmax(axis=0) + 1
    return labels_SHW
