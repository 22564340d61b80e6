"""No message type has a place for a name, a birth date or a patient ID."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest

from neuroscan_core.bus.wire import REPLY_TYPES, Failure
from neuroscan_core.domain.events import EVENT_TYPES
from neuroscan_core.domain.requests import REQUEST_TYPES, Request

# Every field that may travel. A new field is added here by hand, by someone who has thought of what it may hold.
ALLOWED = re.compile(
    r"""
    (series_instance|sop_instance|frame_of_reference)_uid | sequence | from_sequence | limit | frame_number | key | keys
    | manifest | version | revision | num_\w+ | \w+_(s|mm|ms|ml|ij) | pixels_ji | labels_ji | labels_kji | label
    | geometry | first | shape | orientation | measurements | diameter
    | model | name | sha256 | engine | modality | description | priority | state | reason
    | code | message | remedy | is_\w+ | open_series | open_only | series | opened | slices | completed | rejected
    | masks | destination | segmentation | result | failure | problems | metrics
    | composites | region | warnings | triage | classes | (slice_)?probabilities | probabilities_kji | value | scheme
    | meaning
    | sources | reference | sequence_name | studies | results | progress | object_bytes | rule | deliveries
    """,
    re.VERBOSE,
)
# `name` is that of a model alone, `description` the SeriesDescription, a coded concept that of a class.
ONLY_IN = {
    "name": {"ModelIdentity"},
    "description": {"SeriesOpened", "SeriesProgress"},
    "value": {"Code"},
    "scheme": {"Code"},
    "meaning": {"Code"},
    "object_bytes": {"ResultObject"},  # ADR 0009: a result as the archive has it, for a person who downloads it
}
# ADR 0009: who the patient is, for a person who switched that on. Its only message, and in no other type.
IDENTITY = {"Identity": {"patient_name", "patient_id", "patient_birth_date", "patient_sex", "study_date"}}


def dataclasses_in(hint: Any) -> set[type]:
    """Dataclasses that a type mentions, and those that these mention."""
    found: set[type] = set()
    pending = [hint]
    while pending:
        current = pending.pop()
        pending += get_args(current)
        if is_dataclass(current) and isinstance(current, type) and current not in found:
            found.add(current)
            pending += [get_type_hints(current)[field.name] for field in fields(current)]
    return found


TYPES = sorted({t for m in (*EVENT_TYPES, *REQUEST_TYPES, *REPLY_TYPES, Failure) for t in dataclasses_in(m)}, key=str)


@pytest.mark.parametrize("message_type", TYPES, ids=lambda t: t.__name__)
def test_message_fields_are_on_the_list_of_what_may_travel(message_type: type) -> None:
    names = {field.name for field in fields(message_type)}
    if message_type.__name__ in IDENTITY:
        assert names == IDENTITY[message_type.__name__]
        return
    for field in fields(message_type):
        assert ALLOWED.fullmatch(field.name), f"{message_type.__name__}.{field.name}"
        assert message_type.__name__ in ONLY_IN.get(field.name, {message_type.__name__}), field.name


@pytest.mark.parametrize("request_type", REQUEST_TYPES, ids=lambda t: t.__name__)
def test_a_request_whose_reply_says_who_the_patient_is_tells_so(request_type: type[Request[Any]]) -> None:
    reply_type = request_type.reply_type
    says_who = reply_type.__name__ in {*IDENTITY, *ONLY_IN["object_bytes"]}
    assert request_type.carries_identity is says_who


@pytest.mark.parametrize("name", ["patient_name", "patient_id", "birth_date", "accession_number", "name_of_patient"])
def test_the_list_has_no_room_for_patient_data(name: str) -> None:
    assert not ALLOWED.fullmatch(name)


def test_nested_types_are_looked_at() -> None:
    names = {t.__name__ for t in TYPES}
    assert {"FrameKey", "SliceGeometry", "Segmentation", "Diameter", "SeriesProgress", "ReplayedEvents"} <= names


def test_no_field_takes_anything_at_all() -> None:
    for message_type in TYPES:
        hints = get_type_hints(message_type)
        assert not any(hints[field.name] in (Any, object, dict) for field in fields(message_type))
