"""What a header says of the MR sequence, read alike from classic and from enhanced multi-frame images.

Only what tells weightings apart is read here (PS3.3 C.8.3.1, C.8.13.4 and C.8.13.5); what it means is judged in
`roles`. Values that are not numbers, or not finite, count as absent: real headers hold such.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.tag import BaseTag

from dicom_gateway.reading.attributes import strings

NO_AGENT = frozenset({"NO", "NONE", "N", "0", "NO CONTRAST", "NIL", "NA", "N/A", "OHNE", "WITHOUT", "-"})
_BINARY = ("FD", "FL", "SS", "US", "SL", "UL")
# What pydicom raises over bytes that are no value of their representation.
_UNDECODABLE = (ValueError, TypeError, ArithmeticError, LookupError, OSError, EOFError, NotImplementedError,
                AttributeError, struct.error, BytesLengthException)  # fmt: skip


@dataclass(frozen=True)
class SequenceFacts:
    """Attributes of one series that speak of its weighting.

    Parameters
    ----------
    repetition_ms, echo_ms, inversion_ms, flip_deg : float or None
        TR, effective TE, TI and flip angle; None where absent.
    echo_train : int
        Echoes per excitation; 0 where absent.
    families : frozenset of str
        Of ``SE``, ``GR``, ``IR``, ``EP``, ``RM`` (ScanningSequence, or what the enhanced attributes say of it).
    variants : frozenset of str
        SequenceVariant, e.g. ``SP`` (spoiled), ``MP`` (magnetisation prepared), ``SS`` (steady state).
    contrasts : frozenset of str
        AcquisitionContrast, e.g. ``T1``, ``FLUID_ATTENUATED``, ``DIFFUSION``; ``UNKNOWN`` is left out.
    image_type : tuple of str
        Upper case.
    agent : str
        Contrast agent that was given; empty where none is named.
    is_without_agent : bool
        Whether the header says outright that none was given.
    is_angio : bool
    num_time_points : int
    has_b_value : bool
        Whether diffusion was weighted for.
    names : tuple of str
        SequenceName and PulseSequenceName.
    words : str
        SeriesDescription and ProtocolName.
    """

    repetition_ms: float | None = None
    echo_ms: float | None = None
    inversion_ms: float | None = None
    flip_deg: float | None = None
    echo_train: int = 0
    families: frozenset[str] = frozenset()
    variants: frozenset[str] = frozenset()
    contrasts: frozenset[str] = frozenset()
    image_type: tuple[str, ...] = ()
    agent: str = ""
    is_without_agent: bool = False
    is_angio: bool = False
    num_time_points: int = 1
    has_b_value: bool = False
    names: tuple[str, ...] = ()
    words: str = ""

    @property
    def timing(self) -> str:
        """TR, TE and TI for people, e.g. ``TR 9000, TE 120, TI 2500 ms``."""
        values = (("TR", self.repetition_ms), ("TE", self.echo_ms), ("TI", self.inversion_ms))
        known = [f"{name} {value:g}" for name, value in values if value is not None]
        return f"{', '.join(known)} ms" if known else "no timing"


def sequence_facts(header: Dataset) -> SequenceFacts:
    """Read the facts from the header of any image of a series."""
    groups = _Groups(header)
    agent, is_without = _agent(groups)
    return SequenceFacts(
        repetition_ms=groups.number("RepetitionTime"),
        echo_ms=groups.number("EchoTime", "EffectiveEchoTime"),
        inversion_ms=groups.positive("InversionTime", "InversionTimes"),
        flip_deg=groups.number("FlipAngle"),
        echo_train=int(groups.number("EchoTrainLength", "RFEchoTrainLength") or 0),
        families=_families(groups),
        variants=frozenset(groups.texts("SequenceVariant")) | _enhanced_variants(groups),
        contrasts=frozenset(groups.texts("AcquisitionContrast")) - {"UNKNOWN", ""},
        image_type=tuple(groups.texts("ImageType")),
        agent=agent,
        is_without_agent=is_without,
        is_angio="Y" in groups.texts("AngioFlag"),
        num_time_points=int(groups.number("NumberOfTemporalPositions") or 1),
        has_b_value=(groups.number("DiffusionBValue") or 0.0) > 0.0,
        names=tuple(groups.texts("SequenceName") + groups.texts("PulseSequenceName")),
        words=" / ".join(dict.fromkeys(groups.raw_texts("SeriesDescription") + groups.raw_texts("ProtocolName"))),
    )


@dataclass
class _Groups:
    """A header with the functional groups of its first frame behind it."""

    header: Dataset
    _places: list[Dataset] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places = [self.header, *_functional_groups(self.header)]

    def number(self, *keywords: str) -> float | None:
        for keyword in keywords:
            for place in self._places:
                value = _number(place, keyword)
                if value is not None:
                    return value
        return None

    def positive(self, *keywords: str) -> float | None:
        """As `number`; some scanners write 0 for what is not there."""
        value = self.number(*keywords)
        return value if value is not None and value > 0 else None

    def texts(self, keyword: str) -> list[str]:
        return [text.upper() for text in self.raw_texts(keyword)]

    def raw_texts(self, keyword: str) -> list[str]:
        tag = _tag(keyword)
        return [text for place in self._places for text in strings(place, tag) if text]

    def sequence(self, keyword: str) -> list[Dataset]:
        return [item for place in self._places for item in _items(place, keyword)]


def _functional_groups(header: Dataset) -> Iterator[Dataset]:
    """Items of the functional groups of the first frame, then the shared ones (PS3.3 C.7.6.16)."""
    for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for item in _items(header, keyword)[:1]:
            for tag in sorted(item.keys()):
                if not tag.is_private:
                    yield from _items_of(_element(item, tag))[:1]


def _items(ds: Dataset, keyword: str) -> list[Dataset]:
    tag = _tag(keyword)
    return _items_of(_element(ds, tag)) if tag in ds else []


def _items_of(element: DataElement | None) -> list[Dataset]:
    return list(element.value) if element is not None and element.VR == "SQ" and element.value else []


def _element(ds: Dataset, tag: BaseTag) -> DataElement | None:
    """An element that is there; None where its bytes are no value of it."""
    try:
        return ds[tag]
    except _UNDECODABLE:
        return None


def _number(ds: Dataset, keyword: str) -> float | None:
    tag = _tag(keyword)
    if tag not in ds:
        return None
    try:
        if getattr(ds.get_item(tag), "VR", None) in _BINARY:
            value: Any = ds[tag].value  # Any: one number, or several
            number = float(value[0] if hasattr(value, "__len__") else value)
        else:
            number = float(strings(ds, tag)[0])
    except _UNDECODABLE:
        return None
    return number if math.isfinite(number) else None


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return BaseTag(tag)


def _families(groups: _Groups) -> frozenset[str]:
    found = set(groups.texts("ScanningSequence"))
    found |= {"SPIN": {"SE"}, "GRADIENT": {"GR"}, "BOTH": {"SE", "GR"}}.get(_first(groups, "EchoPulseSequence"), set())
    if _first(groups, "InversionRecovery") == "YES":
        found.add("IR")
    if _first(groups, "EchoPlanarPulseSequence") == "YES":
        found.add("EP")
    return frozenset(found)


def _enhanced_variants(groups: _Groups) -> frozenset[str]:
    found = set()
    if _first(groups, "SteadyStatePulseSequence") not in ("", "NONE"):
        found.add("SS")
    if _first(groups, "Spoiling") not in ("", "NONE"):
        found.add("SP")
    return frozenset(found)


def _first(groups: _Groups, keyword: str) -> str:
    texts = groups.texts(keyword)
    return texts[0] if texts else ""


def _agent(groups: _Groups) -> tuple[str, bool]:
    """The contrast agent, and whether the header says that there is none."""
    administered = groups.texts("ContrastBolusAgentAdministered")
    if "NO" in administered and "YES" not in administered:
        return "", True
    for item in groups.sequence("ContrastBolusAgentSequence"):
        meaning = strings(item, _tag("CodeMeaning"))
        return (meaning[0] if meaning else "an agent"), False
    named = groups.raw_texts("ContrastBolusAgent")
    agents = [name for name in named if name.strip().upper() not in NO_AGENT]
    if agents:
        return agents[0], False
    return ("an agent", False) if "YES" in administered else ("", bool(named))
