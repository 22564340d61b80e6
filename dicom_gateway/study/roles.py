"""Which weighting a series shows: T1, T1 with contrast agent, T2 or FLAIR, or something else, and why.

Physics first: timing and kind of the sequence decide, whatever a series is called. Words (descriptions in several
languages and vendors' names) decide where the attributes do not, and what excludes a series (perfusion, angiography)
where attributes cannot tell. Where both speak and disagree the attributes win and the contradiction is reported.

The limits are those of clinical protocols at 1.5 and 3 T (Bernstein, King, Zhou: Handbook of MRI Pulse Sequences;
ACR-ASNR-SPR practice parameter for MRI of the brain).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_gateway.study.facts import SequenceFacts, sequence_facts
from neuroscan_core.domain.study import SEQUENCES

T1, T1CE, T2, FLAIR = SEQUENCES
OTHER = "other"

# Milliseconds.
LONG_TI, SHORT_TI_MIN, SHORT_TI_MAX = 1400.0, 300.0, 1400.0  # CSF is nulled above; T1 contrast between
LONG_TE, SHORT_TE, GRADIENT_TE = 60.0, 45.0, 12.0
LONG_TR, SHORT_TR = 1800.0, 1300.0
SMALL_FLIP_DEG = 4.0  # below it a spoiled gradient echo shows proton density

_FLAIR_WORDS = re.compile(r"flair|dark[ _-]?fluid|\btirm\b|fluid[ _-]?att|spcir|\btir2d", re.I)
_T2_WORDS = re.compile(r"(?<![a-z])t2", re.I)
_T1_WORDS = re.compile(r"(?<![a-z])t1|mp[ _-]?rage|\bbravo\b|\b(?:f?spgr|tfl|3dtfe|vibe|thrive|lava)\b", re.I)
_OTHER_WORDS = re.compile(
    r"\b(?:dwi|dti|adc|trace|swi|swan|tof|mra|mrv|perf\w*|pwi|dsc|dce|p?casl|asl|bold|fmri|spectro\w*|mrs|csi|stir|"
    r"ciss|fiesta|localizer|localiser|loc|scout|survey|calib\w*|field[ _-]?map\w*|mip|minip|subtraction|subtr?|"
    r"cb[fv]|mtt|ttp|angio\w*|venogra\w*|pd|proton|hemo|haemo)\b|t2[ _-]?(?:\*|star)|diff(?:usion)?\b|\bb0\b|\bmap\b",
    re.I,
)
_WITHOUT_WORDS = re.compile(
    r"\b(?:pre|nativ[e]?|ohne|without|w/?o|sans|sin|senza|non|no|bez)\b"
    r"(?![ _.-]*(?:fs|fat\w*|fett?\w*|gras\w*|sat\w*|spir|mtc?)\b)[ _.-]*(?:km|gd|gado\w*|contrast\w*|kontrast\w*|"
    r"contraste|mdc|inj\w*|iv)?|\bunenhanced\b|\bplain\b|(?<![a-z0-9+])-\s?c\b",
    re.I,
)
_WITH_WORDS = re.compile(
    r"\+\s?c\b|\bc\s?\+|\+\s?(?:gd|km|gad\w*)|\bpost\b|\b(?:gd|gado\w*|km|mdc)\b|contrast|kontrast|contraste|"
    r"\bce\b|t1c\b|t1ce|t1[ _-]?gd|\bc\+|\binj\w*|dotarem|gadavist|gadovist|prohance|magnevist|"
    r"\benhanced\b|\bapr[eè]s\b",
    re.I,
)
_EXCLUDING_CONTRASTS = frozenset(
    {"DIFFUSION", "PERFUSION", "TIME_OF_FLIGHT", "FLOW_ENCODED", "T2_STAR", "STIR", "PROTON_DENSITY", "TAGGING",
     "MAGNETIZATION_TRANSFER"}
)  # fmt: skip
_CONTRASTS = {"T1": T1, "T2": T2, "FLUID_ATTENUATED": FLAIR}
_SCOUTS = frozenset({"LOCALIZER", "SCOUT", "LOCALISER", "SURVEY"})
_DERIVED = frozenset({"ADC", "FA", "TRACEW", "MIP", "MINIP", "PROJECTION IMAGE", "SUBTRACTION", "CBF", "CBV", "MTT",
                      "TTP", "T1 MAP", "T2 MAP", "PHASE MAP", "PERFUSION"})  # fmt: skip


@dataclass(frozen=True)
class RoleVerdict:
    """What a series shows, and why.

    Parameters
    ----------
    role : str
        One of `SEQUENCES`, or ``other``.
    reasons : tuple of str
        Sentences, the deciding one first.
    contradictions : tuple of str
        Sentences on what speaks against it; empty where all agrees.
    """

    role: str
    reasons: tuple[str, ...]
    contradictions: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """All of it as one text."""
        return " ".join((*self.reasons, *(f"But: {what}" for what in self.contradictions)))


def role_of(header: Dataset) -> RoleVerdict:
    """Judge a series by the header of one of its images."""
    return judge(sequence_facts(header))


def judge(facts: SequenceFacts) -> RoleVerdict:
    """Judge what is known of a series."""
    words = facts.words.replace("_", " ")  # a letter to regular expressions
    excluded = _excluded_by_attributes(facts)
    if excluded:
        return RoleVerdict(OTHER, (excluded,))
    by_physics, physics = _by_attributes(facts)
    by_words = _by_words(words)
    unwanted = _OTHER_WORDS.search(words)
    if unwanted and by_words != FLAIR:
        against = (f"{physics}",) if by_physics else ()
        return RoleVerdict(OTHER, (f"'{facts.words}' names another technique ({unwanted.group().strip()}).",), against)
    if by_physics == OTHER:
        return RoleVerdict(OTHER, (physics,), _disagreement(by_words, OTHER, facts))
    if by_physics:
        return _with_agent(by_physics, (physics,), _disagreement(by_words, by_physics, facts), facts)
    if by_words:
        sentence = f"The attributes do not decide ({physics}); the description '{facts.words}' says {by_words}."
        return _with_agent(by_words, (sentence,), (), facts)
    return RoleVerdict(OTHER, (f"Neither attributes ({physics}) nor description tell the weighting.",))


def _disagreement(by_words: str, decided: str, facts: SequenceFacts) -> tuple[str, ...]:
    if not by_words or by_words == decided:
        return ()
    return (f"the description '{facts.words}' says {by_words}; attributes outweigh words.",)


def _excluded_by_attributes(facts: SequenceFacts) -> str:
    kinds = set(facts.image_type)
    if kinds & _SCOUTS:
        return "ImageType says localizer."
    if maps := sorted(kinds & _DERIVED):
        return f"ImageType says {maps[0]}: a calculated image."
    if "EP" in facts.families:
        return "ScanningSequence says echo planar: diffusion, perfusion or functional images."
    if facts.has_b_value:
        return "DiffusionBValue is not zero."
    if facts.is_angio:
        return "AngioFlag says angiography."
    if facts.num_time_points > 1:
        return f"The series has {facts.num_time_points} time points."
    if contrasts := sorted(facts.contrasts & _EXCLUDING_CONTRASTS):
        return f"AcquisitionContrast says {contrasts[0]}."
    return ""


def _by_attributes(facts: SequenceFacts) -> tuple[str, str]:
    """Role by physics, or "" where it does not decide; and the sentence."""
    if facts.echo_ms is None:
        named = [_CONTRASTS[name] for name in sorted(facts.contrasts) if name in _CONTRASTS]
        if len(named) == 1:
            return named[0], f"AcquisitionContrast says {named[0]}."
        return "", facts.timing
    if "GR" in facts.families and "SE" not in facts.families:
        return _gradient_echo(facts, facts.echo_ms)
    return _spin_echo(facts, facts.echo_ms)


def _gradient_echo(facts: SequenceFacts, echo_ms: float) -> tuple[str, str]:
    if echo_ms >= GRADIENT_TE:
        return OTHER, f"A gradient echo with {facts.timing} shows susceptibility (T2*)."
    if "SS" in facts.variants and not facts.variants & {"SP", "MP"} and facts.inversion_ms is None:
        return OTHER, "A balanced or steady-state gradient echo has mixed weighting."
    if facts.inversion_ms is not None and not SHORT_TI_MIN <= facts.inversion_ms < SHORT_TI_MAX:
        return "", facts.timing
    is_prepared = facts.inversion_ms is not None or "IR" in facts.families or "MP" in facts.variants
    if not is_prepared and facts.flip_deg is not None and facts.flip_deg < SMALL_FLIP_DEG:
        return OTHER, f"A gradient echo with a flip angle of {facts.flip_deg:g} degrees shows proton density."
    how = "prepared by an inversion" if is_prepared else "spoiled, with a short echo time"
    return T1, f"A gradient echo, {how} ({facts.timing}), is T1-weighted."


def _spin_echo(facts: SequenceFacts, echo_ms: float) -> tuple[str, str]:
    """Spin echoes, and sequences whose kind is not stated."""
    repetition_ms, inversion_ms = facts.repetition_ms, facts.inversion_ms
    if inversion_ms is not None:
        return _inversion_recovery(facts, echo_ms, inversion_ms)
    if "IR" in facts.families and echo_ms >= LONG_TE:
        return FLAIR, f"Inversion recovery with a long echo time ({facts.timing}) is FLAIR; InversionTime is missing."
    if repetition_ms is None:
        return "", facts.timing
    if echo_ms >= LONG_TE and repetition_ms >= LONG_TR:
        return T2, f"Long repetition and echo time without inversion ({facts.timing}) are T2-weighted."
    if echo_ms <= SHORT_TE and repetition_ms <= SHORT_TR:
        return T1, f"Short repetition and echo time ({facts.timing}) are T1-weighted."
    if echo_ms <= SHORT_TE and repetition_ms >= LONG_TR and "IR" not in facts.families:
        return OTHER, f"Long repetition and short echo time ({facts.timing}) show proton density."
    return "", facts.timing


def _inversion_recovery(facts: SequenceFacts, echo_ms: float, inversion_ms: float) -> tuple[str, str]:
    if inversion_ms >= LONG_TI and echo_ms >= LONG_TE:
        return FLAIR, f"Long inversion and echo time ({facts.timing}) are FLAIR."
    if SHORT_TI_MIN <= inversion_ms < SHORT_TI_MAX and echo_ms <= SHORT_TE:
        return T1, f"An inversion time between fat and fluid and a short echo time ({facts.timing}) are T1-weighted."
    if inversion_ms < SHORT_TI_MIN:
        return OTHER, f"A short inversion time ({facts.timing}) suppresses fat (STIR)."
    return "", facts.timing


def _by_words(words: str) -> str:
    """Role by description alone; "" where it says nothing or several things."""
    if re.search(r"t1[ _-]*(?:w[ _-]*)?flair", words, re.I):
        return T1
    if _FLAIR_WORDS.search(words):
        return FLAIR
    found = {role for role, pattern in ((T1, _T1_WORDS), (T2, _T2_WORDS)) if pattern.search(words)}
    return found.pop() if len(found) == 1 else ""


def _with_agent(
    role: str, reasons: tuple[str, ...], contradictions: tuple[str, ...], facts: SequenceFacts
) -> RoleVerdict:
    """Tell T1 with contrast agent from T1 without."""
    if role != T1:
        return RoleVerdict(role, reasons, contradictions)
    says_with, says_without = _contrast_words(facts.words.replace("_", " "))
    if facts.agent:
        against = (f"the description '{facts.words}' says without contrast.",) if says_without else ()
        return RoleVerdict(
            T1CE, (*reasons, f"The header names a contrast agent ({facts.agent})."), contradictions + against
        )
    if facts.is_without_agent:
        against = (f"the description '{facts.words}' says with contrast.",) if says_with else ()
        return RoleVerdict(
            T1, (*reasons, "The header says that no contrast agent was given."), contradictions + against
        )
    if says_with:
        sentence = f"The description '{facts.words}' says with contrast; the header names no agent."
        return RoleVerdict(T1CE, (*reasons, sentence), contradictions)
    return RoleVerdict(T1, (*reasons, "Nothing speaks of a contrast agent."), contradictions)


def _contrast_words(words: str) -> tuple[bool, bool]:
    """Whether a description says with, and whether it says without contrast."""
    says_without = _WITHOUT_WORDS.search(words) is not None
    says_with = _WITH_WORDS.search(_WITHOUT_WORDS.sub(" ", words)) is not None
    return says_with and not says_without, says_without
