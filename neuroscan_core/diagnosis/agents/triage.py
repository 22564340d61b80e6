"""What kind of tumour, if any? Shows slices to the picture classifier; evidence for sorting, no diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from neuroscan_core.diagnosis.agent import Finding, Progress, Skipped
from neuroscan_core.diagnosis.case import CaseFile, InputKind, Reading
from neuroscan_core.diagnosis.steps import STEPS
from neuroscan_core.domain.segmentation import Triage
from neuroscan_core.domain.volume import Volume
from neuroscan_core.pipeline.classify import classify_volume
from neuroscan_core.pipeline.study import TRIAGE_SEQUENCE
from neuroscan_core.ports import InferenceEngine

OpenEngine = Callable[[str], AbstractContextManager[InferenceEngine]]
CAUTION = (
    "The classifier was trained on single pictures of four classes and names one of them whatever it is shown; its "
    "probabilities are for sorting work lists, not a diagnosis."
)


class TriageAgent:
    """Asks the classifier.

    Parameters
    ----------
    classifier : str
        Name of its bundle; empty: none is asked.
    open_engine : callable
    """

    name, title = STEPS[1]

    def __init__(self, classifier: str, open_engine: OpenEngine) -> None:
        self._classifier, self._open = classifier, open_engine

    def run(self, case: CaseFile, progress: Progress) -> Finding:
        """See `Agent`."""
        reading = case.reading
        if reading is None:
            raise Skipped("There are no images.")
        if not self._classifier:
            raise Skipped("No classifier is asked.")
        if reading.objection and reading.source.kind is not InputKind.PICTURE:
            raise Skipped(f"The classifier is not asked. {reading.objection}")
        volume = _shown(reading)
        with self._open(self._classifier) as engine:
            triage = classify_volume(volume, engine)
        return Finding(
            case.adding(triage=triage),
            (("model", f"{triage.model.name} {triage.model.version}"), ("slices", str(len(triage.keys)))),
            tuple(class_facts(triage)),
            max(triage.probabilities),
            [CAUTION],
        )


def class_facts(triage: Triage) -> list[tuple[str, str]]:
    """Classes with their probabilities, the likeliest first."""
    pairs = sorted(zip(triage.probabilities, triage.classes, strict=True), key=lambda pair: -pair[0])
    return [(code.meaning, f"{probability:.2f}") for probability, code in pairs]


def _shown(reading: Reading) -> Volume:
    """The sequence that the classifier's pictures mostly were, where it is there."""
    study = reading.study
    if study is None or TRIAGE_SEQUENCE not in study.channels:
        return reading.volume
    return Volume(study.geometry, study.keys, study.channel(TRIAGE_SEQUENCE))
