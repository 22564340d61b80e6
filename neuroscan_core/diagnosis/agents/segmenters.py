"""Where is tumour? One or more networks, each as it is and mirrored, with how far they agree."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from neuroscan_core.diagnosis.agent import Finding, Progress, Skipped
from neuroscan_core.diagnosis.agents.triage import OpenEngine
from neuroscan_core.diagnosis.case import CaseFile, ModelResult, Reading
from neuroscan_core.diagnosis.predict import segment_with
from neuroscan_core.diagnosis.steps import STEPS
from neuroscan_core.diagnosis.views import dice, views_for
from neuroscan_core.domain.errors import ModelError, SeriesRejection
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.domain.volume import Volume
from neuroscan_core.pipeline.study import STUDY_KINDS

# Whose result is reported first where several ran: parts of the tumour slice by slice, the whole tumour, the volume at
# 2 mm. That is the order of their Dice of the whole tumour on test patients (see their cards).
ORDER = (ModelKind.MULTIMODAL2D, ModelKind.SLICE25D, ModelKind.VOLUME3D)


class Segmenters:
    """Runs the networks that suit.

    Parameters
    ----------
    cards : mapping of str to ModelCard
        Models there are.
    open_engine : callable
    """

    name, title = STEPS[2]

    def __init__(self, cards: Mapping[str, ModelCard], open_engine: OpenEngine) -> None:
        self._cards, self._open = cards, open_engine

    def run(self, case: CaseFile, progress: Progress) -> Finding:
        """See `Agent`."""
        reading = case.reading
        if reading is None:
            raise Skipped("There are no images.")
        if reading.objection:
            raise Skipped(f"No network is asked: it would find something in any image. {reading.objection}")
        chosen, notes = self._chosen(case.options.models, reading)
        results: list[ModelResult] = []
        for n, name in enumerate(chosen):
            # A thousand steps per model: pieces differ in number from model to model.
            result = self._segment(
                name, reading, views_for(case.options.tta), _part_of(progress, n, len(chosen)), notes
            )
            results += [result] if result is not None else []
        if not results:
            raise Skipped(" ".join(["No network could be used.", *notes]))
        between = {
            (a.card.name, b.card.name): round(dice(a.segmentation.labels_kji > 0, b.segmentation.labels_kji > 0), 4)
            for a, b in itertools.combinations(results, 2)
        }
        return Finding(
            case.adding(results=tuple(results), between=between),
            (
                ("models", ", ".join(f"{one.card.name} {one.card.version}" for one in results)),
                ("views", ", ".join(view.name for view in results[0].views)),
            ),
            (*_sizes(results, reading), *_agreement(results, between)),
            _confidence(results, between),
            notes,
        )

    def _chosen(self, wanted: Sequence[str], reading: Reading) -> tuple[list[str], list[str]]:
        """Models to run, the first to be reported first; and why others are not."""
        if wanted:
            chosen = [name for name in wanted if self._cards[name].kind is not ModelKind.CLASSIFIER]
            misfits = {name: _misfit(self._cards[name], reading, is_wanted=True) for name in chosen}
        else:
            segmenters = [card for card in self._cards.values() if card.kind in ORDER]
            chosen = [card.name for card in sorted(segmenters, key=lambda card: ORDER.index(card.kind))]
            misfits = {name: _misfit(self._cards[name], reading, is_wanted=False) for name in chosen}
        notes = [f"{name} was left out: {why}" for name, why in misfits.items() if why]
        return [name for name in chosen if not misfits[name]], notes

    def _segment(
        self, name: str, reading: Reading, views: tuple[str, ...], progress: Progress, notes: list[str]
    ) -> ModelResult | None:
        card = self._cards[name]
        volume, note = _given(card, reading)
        try:
            with self._open(name) as engine:
                result = segment_with(engine, volume, reading.study, views, progress)
        except (SeriesRejection, ModelError) as exc:
            notes.append(f"{name} gave no result: {exc}")
            return None
        return replace(result, notes=(note,)) if note else result


def _misfit(card: ModelCard, reading: Reading, *, is_wanted: bool) -> str:
    """Why a model does not suit; empty where it does."""
    if card.kind in STUDY_KINDS:
        return "" if reading.study is not None else f"it needs {', '.join(card.channels)} of one patient."
    sequence = reading.source.sequence
    if reading.study is not None or is_wanted or sequence in ("", card.sequence):
        return ""
    shown = "another kind of image" if sequence == "other" else sequence
    return f"it was trained on {card.sequence}, and the series shows {shown}."


def _given(card: ModelCard, reading: Reading) -> tuple[Volume, str]:
    """What a model is shown, and what must be said of it."""
    study = reading.study
    if card.kind in STUDY_KINDS or study is None or card.sequence not in study.channels:
        sequence = reading.source.sequence
        if card.kind is ModelKind.SLICE25D and sequence != card.sequence:
            known = f"the series shows {sequence}" if sequence else "the sequence of these images is not known"
            return reading.volume, f"{card.name} was trained on {card.sequence}; {known}."
        return reading.volume, ""
    volume = Volume(study.geometry, study.keys, study.channel(card.sequence))
    if reading.source.sequence == card.sequence:
        return volume, ""
    return volume, f"{card.name} was shown {card.sequence} as it lies on the grid of {reading.source.sequence}."


def _part_of(progress: Progress, number: int, of: int) -> Progress:
    def tell(done: int, total: int) -> None:
        progress(1000 * number + 1000 * done // max(total, 1), 1000 * of)

    return tell


def _sizes(results: Sequence[ModelResult], reading: Reading) -> list[tuple[str, str]]:
    facts = []
    for one in results:
        num_voxels = int((one.segmentation.labels_kji > 0).sum())
        if reading.has_millimetres:
            size = f"{num_voxels * reading.volume.geometry.voxel_volume_ml:.1f} ml"
        else:
            size = f"{num_voxels} pixels"
        facts.append((one.card.name, size if num_voxels else "no finding"))
    return facts


def _agreement(results: Sequence[ModelResult], between: Mapping[tuple[str, str], float]) -> list[tuple[str, str]]:
    facts = []
    for one in results:
        if len(one.views) > 1:
            views = ", ".join(f"{view.name} {view.dice:.2f}" for view in one.views)
            facts.append((f"{one.card.name}: Dice of each view with the mean", views))
        facts.append((f"{one.card.name}: entropy where any view marks", f"{one.entropy:.2f} bit"))
    facts += [(f"Dice of {a} and {b}", f"{value:.2f}") for (a, b), value in between.items()]
    return facts


def _confidence(results: Sequence[ModelResult], between: Mapping[tuple[str, str], float]) -> float:
    """The least agreement there is: of views and of models; where there is neither, one less the entropy."""
    agreements = [one.min_dice for one in results if len(one.views) > 1] + list(between.values())
    return min(agreements) if agreements else max(0.0, 1.0 - results[0].entropy)
