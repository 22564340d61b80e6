"""Should this be believed? Looks for what speaks against a result and says so, with numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from neuroscan_core.diagnosis import limits
from neuroscan_core.diagnosis.agent import AgentState, Finding, Progress
from neuroscan_core.diagnosis.case import CaseFile, Check, InputKind, ModelResult, Reading, Verdict
from neuroscan_core.diagnosis.head import head_mask
from neuroscan_core.diagnosis.steps import STEPS
from neuroscan_core.domain import codes
from neuroscan_core.pipeline.normalise import tissue_level
from neuroscan_core.pipeline.postprocess import bounding_box

OK, DOUBT, STOP = "ok", "doubt", "stop"
PLAUSIBLE, DOUBTFUL, NOT_USABLE = "plausible", "doubtful", "not usable"


class Critic:
    """Judges the images, the networks and what they found."""

    name, title = STEPS[4]

    def run(self, case: CaseFile, progress: Progress) -> Finding:
        """See `Agent`."""
        reading = case.reading
        if reading is None:
            why = next((" ".join(record.notes) for record in case.records if record.name == "reader"), "")
            verdict = Verdict(NOT_USABLE, (Check("images", STOP, f"No image can be used. {why}".strip()),))
            return _finding(case, verdict)
        checks = [*_of_images(reading), *_of_chain(case)]
        progress(1, 2)
        if case.results:
            checks += [*_of_networks(case), *_of_finding(case.results[0], reading), *_of_triage(case)]
        return _finding(case, Verdict(_word(checks), tuple(checks)))


def _finding(case: CaseFile, verdict: Verdict) -> Finding:
    num = {state: sum(check.state == state for check in verdict.checks) for state in (OK, DOUBT, STOP)}
    return Finding(
        case.adding(verdict=verdict),
        (("checks", str(len(verdict.checks))),),
        (
            ("verdict", verdict.word),
            ("speak for it", str(num[OK])),
            ("cast doubt", str(num[DOUBT])),
            ("forbid its use", str(num[STOP])),
        ),
        None,
        verdict.sentences,
    )


def _word(checks: list[Check]) -> str:
    states = {check.state for check in checks}
    return NOT_USABLE if STOP in states else DOUBTFUL if DOUBT in states else PLAUSIBLE


def _of_chain(case: CaseFile) -> list[Check]:
    """Agents before this one that gave nothing."""
    if case.results:
        return [
            Check(record.name, DOUBT, f"The step '{record.title}' failed, so less is known. {' '.join(record.notes)}")
            for record in case.records
            if record.state is AgentState.FAILED
        ]
    why = next((" ".join(record.notes) for record in case.records if record.name == "segmenters"), "")
    return [Check("segmentation", STOP, f"There is no segmentation. {why}".strip())]


# --------------------------------------------------------------------------------------------------------- the images


def _of_images(reading: Reading) -> list[Check]:
    checks = [_is_head(reading), _is_known_sequence(reading), *_of_quality(reading)]
    if not reading.has_millimetres:
        sentence = "These are pictures without millimetres, sides and sequence; a series as DICOM or NIfTI says more."
        checks.append(Check("kind of input", DOUBT, sentence))
    return checks


def _is_head(reading: Reading) -> Check:
    if reading.objection:
        return Check("head", STOP, reading.objection)
    return Check("head", OK, "The images look like a head.")


def _is_known_sequence(reading: Reading) -> Check:
    source = reading.source
    against = [reason for reason in source.reasons if reason.startswith("But")]
    if reading.study is not None:
        return Check("sequence", OK, "All four sequences are there.")
    if source.sequence == "FLAIR" and not against:
        how = "attributes" if source.kind is InputKind.DICOM else "name"
        return Check("sequence", OK, f"By its {how} the series is FLAIR, for which the networks were trained.")
    if against:
        return Check("sequence", DOUBT, f"What is known of the sequence contradicts itself. {against[0]}")
    if not source.sequence:
        return Check("sequence", DOUBT, "Nothing says which sequence this is; networks for FLAIR may be wrong.")
    shown = "not FLAIR" if source.sequence == "other" else source.sequence
    return Check("sequence", DOUBT, f"The series is {shown}; networks of single series were trained on FLAIR.")


def _of_quality(reading: Reading) -> list[Check]:
    quality = reading.quality
    checks = []
    snr = quality.snr
    if snr is None:
        checks.append(Check("noise", OK, "No noise was found; the images were processed."))
    elif snr < limits.MIN_SNR:
        checks.append(Check("noise", DOUBT, f"The signal is only {snr:.0f} times the noise."))
    else:
        checks.append(Check("noise", OK, f"The signal is {snr:.0f} times the noise."))
    if quality.clipped > limits.MAX_CLIPPED:
        sentence = f"{100 * quality.clipped:.1f} % of the tissue has the largest value: bright parts were cut off."
        checks.append(Check("clipping", DOUBT, sentence))
    if quality.ghost is not None and quality.ghost > limits.MAX_GHOST:
        sentence = f"Air along one axis is brighter by {100 * quality.ghost:.0f} % of the signal: ghosts, as of motion."
        checks.append(Check("ghosts", DOUBT, sentence))
    if quality.levels < limits.MIN_LEVELS:
        checks.append(Check("grey levels", DOUBT, f"There are only {quality.levels} grey levels."))
    if reading.has_millimetres:
        checks += _of_grid(reading)
    return checks


def _of_grid(reading: Reading) -> list[Check]:
    quality, checks = reading.quality, []
    depth_mm = quality.head_mm[0]
    if quality.anisotropy > limits.MAX_ANISOTROPY:
        sentence = f"Voxels are {quality.anisotropy:.0f} times longer than wide, so volumes are coarse."
        checks.append(Check("voxels", DOUBT, sentence))
    if depth_mm < limits.MIN_HEAD_HEIGHT_MM:
        sentence = f"The images cover {depth_mm:.0f} mm of the head from feet to top: a tumour beyond would be missed."
        checks.append(Check("coverage", DOUBT, sentence))
    if quality.touches:
        sentence = (
            f"Tissue reaches the edge of the images ({', '.join(quality.touches)}): some of the head is not shown."
        )
        checks.append(Check("field of view", DOUBT, sentence))
    return checks


# ------------------------------------------------------------------------------------------------------- the networks


def _of_networks(case: CaseFile) -> list[Check]:
    checks = []
    for one in case.results:
        name = one.card.name
        checks += [Check("input of the network", DOUBT, note) for note in one.notes]
        if len(one.views) > 1:
            worst = min(one.views, key=lambda view: view.dice)
            sentence = f"{name}: mirrored views agree with their mean by a Dice of {worst.dice:.2f} or more."
            checks.append(Check("agreement of views", _graded(worst.dice, limits.DICE_OF_VIEWS), sentence))
    for (a, b), value in case.between.items():
        sentence = f"{a} and {b} agree by a Dice of {value:.2f}."
        checks.append(Check("agreement of networks", _graded(value, limits.DICE_OF_MODELS), sentence))
    first = case.results[0]
    if first.entropy > limits.MAX_ENTROPY:
        sentence = f"{first.card.name} is undecided where it marks: {first.entropy:.2f} bit of at most 1."
        checks.append(Check("entropy", DOUBT, sentence))
    return checks


def _graded(value: float, least: tuple[float, float]) -> str:
    doubt, stop = least
    return STOP if value < stop else DOUBT if value < doubt else OK


# -------------------------------------------------------------------------------------------------------- the finding


def _of_finding(result: ModelResult, reading: Reading) -> list[Check]:
    mask_kji = result.segmentation.labels_kji > 0
    if not mask_kji.any():
        sentence = f"{result.card.name} marks nothing; that it finds no tumour does not show that there is none."
        return [Check("finding", OK, sentence)]
    head_kji = head_mask(reading.volume)
    tests: list[Callable[[], Check | None]] = [
        lambda: _outside_head(mask_kji, head_kji),
        lambda: _at_border(mask_kji, reading),
        lambda: _share_of_head(mask_kji, head_kji),
        lambda: _size(mask_kji, reading),
        lambda: _parts(result),
        lambda: _contrast(mask_kji, head_kji, reading, result),
    ]
    return [check for test in tests if (check := test()) is not None]


def _outside_head(mask_kji: npt.NDArray[np.bool_], head_kji: npt.NDArray[np.bool_]) -> Check:
    share = float(np.count_nonzero(mask_kji & ~head_kji)) / float(np.count_nonzero(mask_kji))
    sentence = f"{100 * share:.1f} % of what is marked lies outside the head."
    state = STOP if share > limits.MAX_OUTSIDE[1] else DOUBT if share > limits.MAX_OUTSIDE[0] else OK
    return Check("inside the head", state, sentence)


def _at_border(mask_kji: npt.NDArray[np.bool_], reading: Reading) -> Check | None:
    box = bounding_box(mask_kji)
    assert box is not None
    touched = []
    names = ("slice", "row", "column")
    for axis, (along, length, name) in enumerate(zip(box, mask_kji.shape, names, strict=True)):
        if length == 1:  # a picture has one slice
            continue
        # A few voxels at the end may be noise; more is a finding that goes on where there are no images.
        first, last = (np.count_nonzero(np.take(mask_kji, end, axis=axis)) for end in (0, length - 1))
        if along.start == 0 and first >= limits.MIN_TOUCHING:
            touched.append(f"first {name}")
        if along.stop == length and last >= limits.MIN_TOUCHING:
            touched.append(f"last {name}")
    if not touched:
        return Check("inside the images", OK, "What is marked lies inside the images.")
    sentence = f"What is marked reaches the {' and the '.join(touched)} of the images: it may go on beyond them."
    return Check("inside the images", DOUBT, sentence)


def _share_of_head(mask_kji: npt.NDArray[np.bool_], head_kji: npt.NDArray[np.bool_]) -> Check:
    share = float(np.count_nonzero(mask_kji)) / max(float(np.count_nonzero(head_kji)), 1.0)
    state = STOP if share > limits.MAX_SHARE[1] else DOUBT if share > limits.MAX_SHARE[0] else OK
    return Check("share of the head", state, f"What is marked takes {100 * share:.1f} % of the head as it is shown.")


def _size(mask_kji: npt.NDArray[np.bool_], reading: Reading) -> Check | None:
    if not reading.has_millimetres:
        return None
    volume_ml = float(np.count_nonzero(mask_kji)) * reading.volume.geometry.voxel_volume_ml
    if volume_ml > limits.MAX_VOLUME_ML:
        return Check("size", DOUBT, f"{volume_ml:.0f} ml is more than gliomas take.")
    if volume_ml < limits.MIN_VOLUME_ML:
        return Check("size", DOUBT, f"{volume_ml:.2f} ml is little: it may as well be a vessel, or noise.")
    return Check("size", OK, f"{volume_ml:.1f} ml is a size that gliomas have.")


def _parts(result: ModelResult) -> Check:
    whole = next((m.num_components for m in result.segmentation.composites if m.region == "WT"), None)
    num = whole if whole is not None else max(m.num_components for m in result.segmentation.measurements)
    state = DOUBT if num > limits.MAX_PARTS else OK
    return Check("parts", state, f"What is marked has {num} part{'s' * (num != 1)}.")


def _contrast(
    mask_kji: npt.NDArray[np.bool_], head_kji: npt.NDArray[np.bool_], reading: Reading, result: ModelResult
) -> Check | None:
    """On FLAIR tumour and oedema are brighter than other tissue."""
    study = reading.study
    voxels_kji = study.channel("FLAIR") if study is not None else reading.volume.voxels_kji
    if study is None and reading.source.sequence not in ("FLAIR", ""):
        return None
    level = tissue_level(np.asarray(voxels_kji[:, ::2, ::2], dtype=np.float32))
    other = voxels_kji[head_kji & ~mask_kji & (voxels_kji > level)]
    if not other.size:
        return None
    ratio = float(np.median(voxels_kji[mask_kji])) / max(float(np.median(other)), 1e-12)
    state = DOUBT if ratio < limits.MIN_CONTRAST else OK
    return Check("brightness", state, f"What is marked is {ratio:.2f} times as bright as the other tissue.")


def _of_triage(case: CaseFile) -> list[Check]:
    """Whether the classifier and the networks contradict each other."""
    triage = case.triage
    if triage is None:
        return []
    probability = max(triage.probabilities)
    says_none = triage.most_likely == codes.NO_TUMOUR
    is_found = not case.results[0].segmentation.is_empty
    if says_none != is_found:
        return [Check("classifier", OK, f"The classifier ({triage.most_likely.meaning}) does not contradict it.")]
    if probability < limits.MIN_PROBABILITY_TO_CONTRADICT:
        says = f"{triage.most_likely.meaning}, {probability:.2f}"
        return [Check("classifier", OK, f"The classifier is not sure enough ({says}) to contradict it.")]
    sentence = f"The classifier says '{triage.most_likely.meaning}' ({probability:.2f}), the network marks "
    return [Check("classifier", DOUBT, sentence + ("something." if is_found else "nothing."))]
