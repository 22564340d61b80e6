"""What a person can do about a series that was not segmented, where whoever rejected it did not say."""

from __future__ import annotations

from dicom_gateway.journal import SeriesState
from neuroscan_core.domain.errors import RejectionCode

_WHOLE = "Send the whole series again, as the scanner reconstructed it."
_RULES = "See which series the rules take: `neuroscan rules test`."
_ORIGINAL = "Send the original series instead."

BY_CODE: dict[RejectionCode, str] = {
    RejectionCode.WRONG_MODALITY: _RULES,
    RejectionCode.WRONG_BODY_PART: "Correct BodyPartExamined at the scanner, or add it to series.body_parts.",
    RejectionCode.WRONG_SOP_CLASS: _RULES,
    RejectionCode.NO_RULE: "Add a rule, or the model that it names; then try again.",
    RejectionCode.DERIVED_IMAGE: _ORIGINAL,
    RejectionCode.LOCALIZER: "Nothing is to be done: localizers are not segmented.",
    RejectionCode.TOO_FEW_SLICES: "Send the missing images: they are taken up. Or lower series.min_slices.",
    RejectionCode.UNEQUAL_SPACING: "Reconstruct the series with equal spacing.",
    RejectionCode.MISSING_SLICES: "Send the missing images: they are taken up.",
    RejectionCode.DUPLICATE_POSITIONS: "Send one contrast or time point per series.",
    RejectionCode.GANTRY_TILT: "Reconstruct the series without tilt.",
    RejectionCode.NON_PARALLEL: "Send the slabs as series of their own.",
    RejectionCode.MIXED_ORIENTATION: "Send one orientation per series.",
    RejectionCode.MIXED_GEOMETRY: "Send images of one size, spacing and frame of reference per series.",
    RejectionCode.MISSING_GEOMETRY: _WHOLE,
    RejectionCode.LOSSY_COMPRESSED: "Send it uncompressed, or set series.lossy to accept.",
    RejectionCode.UNDECODABLE: _WHOLE,
    RejectionCode.NOT_GREYSCALE: _ORIGINAL,
    RejectionCode.UNSUPPORTED_PLANE: "Send an axial series, or a 3D acquisition with thin slices.",
    RejectionCode.NOT_BRAIN_LIKE: "Check which series the rules send to the model.",
    RejectionCode.MISSING_SEQUENCE: "Send the missing series; the study is then segmented.",
    RejectionCode.DIFFERENT_FRAMES: "Register the series first, or set allow_different_frames of the study.",
    RejectionCode.NO_OVERLAP: "Send series that show the same part of the head.",
}
BY_STATE: dict[SeriesState, str] = {
    SeriesState.FAILED: "Try again. If it fails again, the logs of segmenter and gateway say why.",
    SeriesState.DEAD_LETTER: "Check that the archive answers (`neuroscan doctor`), then try again.",
}


def remedy_for(state: SeriesState, reason: str) -> str:
    """What to do, by the state of a series and the code of its reason; empty where nothing is known."""
    if state in BY_STATE:
        return BY_STATE[state]
    known = {code.value: text for code, text in BY_CODE.items()}
    return known.get(reason, "") if state is SeriesState.REJECTED else ""
