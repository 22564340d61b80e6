"""Which series goes to which model: rules over DICOM attributes, the first that holds decides.

A rule is data, checked when it is compiled; nothing of it is ever executed. Reading headers is not done here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_description, keyword_dict, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from dicom_gateway.reading import dicom_files, open_object
from dicom_gateway.reading.attributes import SERIES_DESCRIPTION, SERIES_INSTANCE_UID, string
from dicom_gateway.study.roles import RoleVerdict, role_of
from neuroscan_core.config import NodeConfig, RuleConfig
from neuroscan_core.domain.errors import ConfigurationError, UnreadableObject
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.log import get_logger
from neuroscan_core.pipeline.study import STUDY_KINDS

log = get_logger(__name__)

Test = Callable[[Sequence[Any]], bool]  # Any: values of attributes are what pydicom makes of them
OPERATORS = ("glob", "regex", "min", "max", "exists", "not")
PATIENT_GROUP = 0x0010


@dataclass(frozen=True)
class TraceLine:
    """What one rule said to a series.

    Parameters
    ----------
    rule : str
    is_match : bool
    why_not : str
        A sentence; empty where it matched.
    """

    rule: str
    is_match: bool
    why_not: str = ""


@dataclass(frozen=True)
class Decision:
    """What the rules decided.

    Parameters
    ----------
    rule : str or None
        The rule that decided; None where no rule matched.
    model : str or None
        Model bundle that shall segment the series; None: store only.
    priority : int
    trace : tuple of TraceLine
        Every rule that was asked, in order.
    triage : str or None
        Classifier whose opinion goes into the report.
    """

    rule: str | None
    model: str | None
    priority: int
    trace: tuple[TraceLine, ...]
    triage: str | None = None

    @property
    def reason(self) -> str:
        """Why the series is segmented or not, as a sentence."""
        if self.rule is None:
            return "No rule matches the series."
        if self.model is None:
            return f"The rule '{self.rule}' says: store only."
        return f"The rule '{self.rule}' sends the series to {self.model}."


@dataclass(frozen=True)
class SeriesExplanation:
    """The decision for one series among files.

    Parameters
    ----------
    num_files : int
    description : str
        SeriesDescription.
    verdict : RoleVerdict
        What it shows, for studies of several series, and why.
    """

    series_instance_uid: str
    num_files: int
    description: str
    decision: Decision
    verdict: RoleVerdict


@dataclass(frozen=True)
class Condition:
    """One compiled condition of a rule."""

    keyword: str
    wanted: str
    test: Test

    def why_not(self, ds: Dataset) -> str:
        """Empty if the data set meets the condition, else a sentence that says what it has instead."""
        values = _values(ds, self.keyword)
        if self.test(values):
            return ""
        tag = tag_for_keyword(self.keyword)
        if tag is not None and tag >> 16 == PATIENT_GROUP and values:
            shown = "something else"  # traces end up in logs and on pages
        else:
            shown = ", ".join(str(value) for value in values) or "nothing"
        return f"{self.keyword} is {shown}; wanted is {self.wanted}."


@dataclass(frozen=True)
class Rule:
    """One compiled rule."""

    name: str
    model: str | None
    priority: int
    conditions: tuple[Condition, ...]
    triage: str | None = None

    def ask(self, ds: Dataset) -> TraceLine:
        """Whether all conditions hold for a header; if not, the first that does not."""
        for condition in self.conditions:
            why_not = condition.why_not(ds)
            if why_not:
                return TraceLine(self.name, False, why_not)
        return TraceLine(self.name, True)


class RuleSet:
    """Rules in order.

    Parameters
    ----------
    rules : sequence of RuleConfig

    Raises
    ------
    ConfigurationError
        A keyword is not in the DICOM dictionary, or a condition is malformed.
    """

    def __init__(self, rules: Sequence[RuleConfig]) -> None:
        self._rules = tuple(_compile(rule) for rule in rules)

    def check_models(self, names: Collection[str]) -> None:
        """Refuse rules that name a model bundle which is not installed.

        Raises
        ------
        ConfigurationError
        """
        for rule in self._rules:
            if rule.model is not None and rule.model not in names:
                raise ConfigurationError(
                    f"The rule '{rule.name}' names the model {rule.model}, which is not installed.",
                    remedy=_suggestion(rule.model, names) or "`neuroscan models` lists what is there.",
                )

    def decide(self, ds: Dataset) -> Decision:
        """What happens to the series of this header."""
        trace: list[TraceLine] = []
        for rule in self._rules:
            trace.append(rule.ask(ds))
            if trace[-1].is_match:
                return Decision(rule.name, rule.model, rule.priority, tuple(trace), rule.triage)
        return Decision(None, None, 0, tuple(trace))


def check_kinds(config: NodeConfig, kinds: Mapping[str, ModelKind]) -> None:
    """Refuse rules and studies whose models are not there, or cannot do what is asked of them.

    Parameters
    ----------
    kinds : mapping of str to ModelKind
        Of every model that is installed.

    Raises
    ------
    ConfigurationError
    """
    single, several, judging = {ModelKind.SLICE25D}, set(STUDY_KINDS), {ModelKind.CLASSIFIER}
    wanted = [(f"The rule '{rule.name}'", rule.model, single, "segment a single series") for rule in config.rules]
    wanted += [(f"The rule '{rule.name}'", rule.triage, judging, "classify") for rule in config.rules]
    wanted += [(f"The study '{one.name}'", one.model, several, "segment several series") for one in config.studies]
    wanted += [(f"The study '{one.name}'", one.triage, judging, "classify") for one in config.studies]
    for who, model, allowed, task in wanted:
        if model is None:
            continue
        if model not in kinds:
            raise ConfigurationError(
                f"{who} names the model {model}, which is not installed.",
                remedy=_suggestion(model, kinds) or "`neuroscan models` lists what is there.",
            )
        if kinds[model] not in allowed:
            raise ConfigurationError(
                f"{who} names the model {model}, a {kinds[model].value} model, which does not {task}.",
                remedy="`neuroscan models` lists what is there.",
            )


def rules_report(paths: Sequence[Path], config: NodeConfig) -> list[SeriesExplanation]:
    """Try the rules on files: what would happen to every series among them, by its first file.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders; files in folders that are not DICOM are left out, with a warning in the log.

    Raises
    ------
    ConfigurationError
        The rules are wrong.
    UnreadableObject
        A file that was named cannot be read.
    """
    rules = RuleSet(config.rules)
    named = {path for path in paths if not path.is_dir()}
    headers: dict[str, list[Dataset]] = {}
    for path in dicom_files(paths):
        try:
            header = open_object(path).header
        except UnreadableObject:
            if path in named:
                raise
            log.warning("not a DICOM object, left out", file=path.name)
            continue
        headers.setdefault(string(header, SERIES_INSTANCE_UID), []).append(header)
    return [
        SeriesExplanation(
            series_uid, len(found), string(found[0], SERIES_DESCRIPTION), rules.decide(found[0]), role_of(found[0])
        )
        for series_uid, found in headers.items()
    ]


def _compile(rule: RuleConfig) -> Rule:
    conditions = tuple(_condition(rule.name, keyword, wanted) for keyword, wanted in rule.when.items())
    return Rule(rule.name, rule.model, rule.priority, conditions, rule.triage)


def _condition(rule: str, keyword: str, wanted: Any) -> Condition:
    if tag_for_keyword(keyword) is None:
        raise ConfigurationError(
            f"The rule '{rule}' asks for {keyword}, which is no DICOM keyword.",
            remedy=_suggestion(keyword, keyword_dict) or "PS3.6 lists the keywords.",
        )
    where = f"The condition on {keyword} of the rule '{rule}'"
    return Condition(keyword, _sentence(wanted), _test(where, wanted))


def _test(where: str, wanted: Any) -> Test:
    """Compile what stands right of the keyword. Values of an attribute are tested one by one; one match is enough."""
    if isinstance(wanted, dict):
        return _operators(where, wanted)
    if isinstance(wanted, list | tuple):
        tests = [_test(where, one) for one in wanted]
        return lambda values: any(test(values) for test in tests)
    if wanted is None:
        raise ConfigurationError(f"{where} is empty.", remedy="Use {exists: false} for an absent attribute.")
    return lambda values: any(_equals(value, wanted) for value in values)


def _operators(where: str, wanted: dict[str, Any]) -> Test:
    unknown = [name for name in wanted if name not in OPERATORS]
    if unknown or not wanted:
        raise ConfigurationError(
            f"{where} uses {unknown[0] if unknown else 'no operator'}.",
            remedy=_suggestion(str(unknown[0]), OPERATORS) if unknown else f"There are {', '.join(OPERATORS)}.",
        )
    # A range must hold for one and the same value, so min and max are one test.
    limits: dict[str, Any] = {name: wanted[name] for name in ("min", "max") if name in wanted}
    tests = [_range(where, limits)] if limits else []
    tests += [_operator(where, name, value) for name, value in wanted.items() if name not in limits]
    return lambda values: all(test(values) for test in tests)


def _operator(where: str, name: str, wanted: Any) -> Test:
    if name == "not":
        inner = _test(where, wanted)
        return lambda values: not inner(values)
    if name == "exists":
        if not isinstance(wanted, bool):
            raise ConfigurationError(f"{where}: exists needs true or false.")
        return lambda values: bool(values) is wanted
    if not isinstance(wanted, str):
        raise ConfigurationError(f"{where}: {name} needs a text.")
    try:
        pattern = re.compile(translate(wanted), re.IGNORECASE) if name == "glob" else re.compile(wanted)
    except re.error as exc:
        raise ConfigurationError(f"{where}: '{wanted}' is no regular expression: {exc}.") from exc
    find = pattern.match if name == "glob" else pattern.search
    return lambda values: any(find(str(value)) is not None for value in values)


def _range(where: str, limits: dict[str, Any]) -> Test:
    for name, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise ConfigurationError(f"{where}: {name} needs a number.")
    lowest, highest = float(limits.get("min", "-inf")), float(limits.get("max", "inf"))
    if lowest > highest:
        raise ConfigurationError(f"{where}: min is larger than max, so it never holds.")

    def test(values: Sequence[Any]) -> bool:
        numbers = [_number(value) for value in values]
        return any(number is not None and lowest <= number <= highest for number in numbers)

    return test


def _equals(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, bool):
        return str(value).lower() == str(wanted).lower()
    if isinstance(wanted, int | float):
        return _number(value) == float(wanted)
    return str(value).strip().casefold() == str(wanted).strip().casefold()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _values(ds: Dataset, keyword: str) -> list[Any]:
    """Values of an attribute; empty where it is absent or empty. An enhanced object is asked at its top level."""
    value = ds.get(keyword)
    values = list(value) if isinstance(value, MultiValue | list) else [value]
    return [one for one in values if one is not None and str(one) != ""]


def _sentence(wanted: Any) -> str:
    if isinstance(wanted, dict):
        return " and ".join(f"{name} {_sentence(value)}" for name, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return " or ".join(_sentence(one) for one in wanted)
    return str(wanted)


def _suggestion(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not close:
        return ""
    is_keyword = tag_for_keyword(close[0]) is not None
    meaning = f" ({dictionary_description(close[0])})" if is_keyword else ""
    return f"Did you mean {close[0]}{meaning}?"
