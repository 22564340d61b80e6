"""The gate every engine passes before it serves: agreement with the reference of its bundle.

For all kinds of models: sigmoid or softmax, slices, volumes or classes. Axes of arrays: N batch, C channels, L outputs,
then none (classes), H W (slices) or D H W (volumes), written `_any` here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import EngineRefused
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.ports import InferenceEngine

if TYPE_CHECKING:
    from neuroscan_core.inference.bundle import Reference

MAX_PROBABILITY_DIFFERENCE = 5e-3
MAX_DICE_DIFFERENCE = 3e-3
NUM_PROBED_ITEMS = 3


@dataclass(frozen=True)
class Limits:
    """What two engines may differ by; see `Agreement`."""

    probability: float
    dice: float


LIMITS = Limits(MAX_PROBABILITY_DIFFERENCE, MAX_DICE_DIFFERENCE)
# Quantised networks differ by what quantisation costs, which is measured on patients when the file is made. Here a
# file, or an engine, that is broken shall be found.
QUANTISED_LIMITS = Limits(probability=1.0, dice=0.05)


def limits_for(precision: str) -> Limits:
    """What an engine of this precision may differ by from the FP32 reference."""
    return QUANTISED_LIMITS if precision == "int8" else LIMITS


@dataclass(frozen=True)
class Agreement:
    """How far two engines are from each other on the same inputs.

    Parameters
    ----------
    probability : float
        Largest difference of a probability, anywhere.
    dice : float
        1 - Dice of what they segment, over all labels (for classes: of the pictures' classes) and inputs.
    """

    probability: float
    dice: float

    def is_within(self, limits: Limits) -> bool:
        """Whether one may serve in place of the other."""
        return self.probability < limits.probability and self.dice < limits.dice

    def __str__(self) -> str:
        return f"probabilities differ by {self.probability:.2g}, Dice by {self.dice:.2g}"


def check_against_reference(engine: InferenceEngine, reference: Reference, limits: Limits = LIMITS) -> Agreement:
    """Run the bundle's reference inputs and compare with its logits.

    The logits of the reference were computed by ONNX Runtime when the bundle was made.

    Raises
    ------
    EngineRefused
        The engine computes something else, or no numbers.
    """
    found = compare(engine.card, engine.run(reference.image_NCHW), reference.logits_NLHW)
    if not found.is_within(limits):
        raise EngineRefused(
            f"{engine.name} differs from the reference of {engine.card.name}: {found}; less than "
            f"{limits.probability:.2g} and {limits.dice:.2g} are allowed.",
            remedy="Do not use this engine here; report device and version of the engine.",
        )
    return found


def compare(
    card: ModelCard, found_NL_any: npt.NDArray[np.float32], wanted_NL_any: npt.NDArray[np.float32]
) -> Agreement:
    """Compare logits of two engines; what is no finite number differs by infinity."""
    if found_NL_any.shape != wanted_NL_any.shape or not (np.isfinite(found_NL_any) & np.isfinite(wanted_NL_any)).all():
        return Agreement(np.inf, np.inf)
    found, wanted = (probabilities(logits, card.activation) for logits in (found_NL_any, wanted_NL_any))
    difference = float(np.abs(found - wanted).max())
    return Agreement(difference, _dice_difference(_masks(found, card), _masks(wanted, card)))


def probabilities(logits_NL_any: npt.NDArray[np.float32], activation: str) -> npt.NDArray[np.float64]:
    """Probabilities of logits: each output by itself (``sigmoid``), or over all outputs (``softmax``)."""
    logits = logits_NL_any.astype(np.float64)
    if activation == "sigmoid":
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))
    assert activation == "softmax", activation
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def keeps_items_apart(engine: InferenceEngine, reference: Reference) -> bool:
    """Whether an item's logits are the same bits alone and in a batch.

    A slice is segmented once, alone or with others, as it arrives; the result must not depend on that.
    """
    image = np.concatenate([reference.image_NCHW, reference.image_NCHW[..., ::-1]] * 2)[:NUM_PROBED_ITEMS]
    together = engine.run(np.ascontiguousarray(image))
    return all(np.array_equal(engine.run(image[n : n + 1])[0], together[n]) for n in range(len(image)))


def _masks(probabilities_NL_any: npt.NDArray[np.float64], card: ModelCard) -> npt.NDArray[np.bool_]:
    """What is segmented, one boolean per output; of a softmax over labels the first output is background."""
    if card.activation == "sigmoid":
        return np.asarray(probabilities_NL_any >= card.threshold)
    if card.kind is ModelKind.CLASSIFIER:
        return _largest(probabilities_NL_any)
    is_tumour = 1.0 - probabilities_NL_any[:, :1] >= card.threshold
    return _largest(probabilities_NL_any[:, 1:]) & is_tumour


def _largest(probabilities_NL_any: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    outputs = np.arange(probabilities_NL_any.shape[1]).reshape(-1, *[1] * (probabilities_NL_any.ndim - 2))
    return np.asarray(probabilities_NL_any.argmax(axis=1)[:, None] == outputs)


def _dice_difference(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    size = int(a.sum()) + int(b.sum())
    return 1.0 - 2.0 * int((a & b).sum()) / size if size else 0.0
