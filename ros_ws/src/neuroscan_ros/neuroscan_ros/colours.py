"""Colours of labels: those of the model card, so that they are the same here, in the SEG and in an archive's viewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.viewer.picture import palette_colour

Rgb = tuple[int, int, int]
ColourOf = Callable[[int], Rgb]


class LabelColours:
    """Looks up colours.

    Parameters
    ----------
    cards : mapping of str to ModelCard
        By name of the model, as far as this machine has them.
    """

    def __init__(self, cards: Mapping[str, ModelCard]) -> None:
        self._colours = {
            (card.name, card.version): {label.value: label.colour_rgb for label in card.labels}
            for card in cards.values()
        }

    def of(self, model: ModelIdentity) -> ColourOf:
        """Function that gives the colour of a label; one of a fixed palette where the card is not here."""
        known = self._colours.get((model.name, model.version), {})
        return lambda label: known.get(label) or palette_colour(label)[::-1]
