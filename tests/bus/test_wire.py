"""The wire format: what goes in comes out, and whatever else comes in is refused by name."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroscan_core.bus import wire
from neuroscan_core.domain.codes import GLIOMA, NO_TUMOUR
from neuroscan_core.domain.errors import JournalError, RejectionCode, WireFormatError
from neuroscan_core.domain.events import (
    EVENT_TYPES,
    GatewayHeartbeat,
    ResultDelivered,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesOpened,
    SeriesProgress,
    SeriesRejected,
    SliceReceived,
    StudyReady,
    StudySource,
)
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.requests import (
    REQUEST_TYPES,
    Acknowledged,
    DeliveryProgress,
    DescribeSeries,
    GetGatewayHealth,
    GetIdentity,
    GetProbabilities,
    GetResultObject,
    GetSegmentation,
    GetSegmenterHealth,
    Health,
    Identity,
    ListResults,
    ListSeries,
    Probabilities,
    ReplayedEvents,
    ReplayedMasks,
    ReplayMasks,
    ReplaySeries,
    ResultList,
    ResultObject,
    Retried,
    RetrySeries,
    SeriesDetail,
    SeriesDetails,
    SeriesList,
    StoredResult,
    StoredSegmentation,
    SubmitFailure,
    SubmitSegmentation,
)
from neuroscan_core.domain.segmentation import (
    CompositeMeasurement,
    Diameter,
    ModelIdentity,
    RegionMeasurement,
    Segmentation,
    Triage,
)
from neuroscan_core.domain.volume import FrameKey
from tests.bus.series import geometry, mask_ready, slice_received, whole_series

KEYS = (FrameKey("1.2.1"), FrameKey("1.2.2", 3))
STACK = StackGeometry(geometry(0), 2.0, 2)
MODEL = ModelIdentity("m", "1.0", "ab" * 32, "onnxruntime-cpu")
DIAMETER = Diameter(KEYS[0], 12.5, 3.25, (0.0, 0.0, 3.0, 3.0), (0.0, 3.0, 3.0, 0.0))
SEGMENTATION = Segmentation(
    STACK,
    KEYS,
    np.arange(32, dtype=np.uint8).reshape(2, 4, 4),
    (RegionMeasurement(1, 0.5, 2, DIAMETER), RegionMeasurement(2, 0.0, 0, None)),
    (CompositeMeasurement("WT", 0.5, 2, DIAMETER), CompositeMeasurement("ET", 0.0, 0, None)),
    ("The model was trained without skulls.",),
    Triage(MODEL, (GLIOMA, NO_TUMOUR), (0.75, 0.25), KEYS[:1], ((0.75, 0.25),)),
)
READY = SegmentationReady("1.2", 2, SEGMENTATION, MODEL)
FAILED = SegmentationFailed("1.2", 1, "internal-error", "It failed.")
PROGRESS = SeriesProgress("1.2", "receiving", 7, 5, 0, True, "m", "MR", "FLAIR", "", 12.5, 3)
DELIVERY = DeliveryProgress("1.2.9", "SEG", "pacs", "dead-letter", 12, "The archive does not answer.", 0.25)
SOURCES = tuple(StudySource(name, f"1.{n}", n + 1, KEYS, STACK) for n, name in enumerate(("T1", "FLAIR")))
STUDY = StudyReady("2.25.1", 0, "m", SOURCES, "FLAIR", 3, 5, "judge", ("T1 covers half of it.",))
MESSAGES: list[wire.Message] = [
    SeriesOpened("1.2", 0, "m", 5, 2.5, None, "MR", "t2_flair", 1.5),
    slice_received("1.2", 1),
    SeriesCompleted("1.2", 3, KEYS, STACK, 2, "count", 9.25),
    SeriesRejected("1.2", 4, RejectionCode.GANTRY_TILT, "Tilted.", "Send it straight."),
    STUDY,
    ReplayedEvents.of([STUDY]),
    GatewayHeartbeat((PROGRESS, PROGRESS)),
    ResultDelivered("1.2", "1.2.9", "SEG", "pacs", True, 0.75),
    mask_ready("1.2", 3),
    READY,
    FAILED,
    ReplaySeries("1.2", 3, 8),
    ListSeries(True),
    SubmitSegmentation(READY),
    SubmitFailure(FAILED),
    ReplayMasks("1.2", 3),
    GetGatewayHealth(),
    GetSegmenterHealth(),
    ReplayedEvents.of(whole_series("1.2", 5)),
    ReplayedMasks((mask_ready("1.2", 0), mask_ready("1.2", 1))),
    SeriesList((PROGRESS,)),
    Acknowledged(False),
    Health(False, ("The disk is full.",), "# HELP x\n"),
    DescribeSeries(7),
    SeriesDetails(
        (
            SeriesDetail("1.2", "FLAIR head", 5, "Send it again.", True, (DELIVERY, DELIVERY)),
            SeriesDetail("1.3", num_expected=None),
        )
    ),
    RetrySeries("1.2"),
    Retried(True, 3),
    ListResults("1.2"),
    ResultList((StoredResult("1.2.9", "SEG", 2, "m", "no finding", 1.5), StoredResult("1.2.10", "SR", 1))),
    GetResultObject("1.2.9"),
    ResultObject(np.frombuffer(b"DICM", np.uint8)),
    GetSegmentation("1.2", 2),
    StoredSegmentation(READY),
    GetIdentity("1.2"),
    Identity("DOE^JANE", "4711", "19700101", "F", "20260101"),
    GetProbabilities("1.2"),
    Probabilities("ready", 1.0, 2, KEYS, np.arange(32, dtype=np.uint8).reshape(2, 4, 4)),
    Probabilities("computing", 0.25, 0, (), np.zeros((0, 0, 0), np.uint8)),
    wire.Failure("DiskFull", "The disk is full.", "Make room."),
]


def plain(value: Any) -> Any:
    """A value that compares by content."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if is_dataclass(value):
        return (type(value).__name__, *(plain(getattr(value, field.name)) for field in fields(value)))
    return tuple(plain(item) for item in value) if isinstance(value, tuple) else value


def changed_header(message: wire.Message, **changes: Any) -> list[wire.Frame]:
    """Frames of a message with parts of their header replaced."""
    frames = wire.encode(message)
    header = dict(zip(("major", "minor", "kind", "arrays", "body"), msgspec.msgpack.decode(frames[1]), strict=True))
    return [frames[0], msgspec.msgpack.encode([*{**header, **changes}.values()]), *frames[2:]]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_survives_the_wire(message: wire.Message) -> None:
    received = wire.decode(wire.encode(message))
    assert type(received) is type(message)
    assert plain(received) == plain(message)


def test_the_messages_of_these_tests_are_all_there_are() -> None:
    assert {type(message) for message in MESSAGES} == {*EVENT_TYPES, *REQUEST_TYPES, *wire.REPLY_TYPES, wire.Failure}


def test_no_topic_is_the_beginning_of_another() -> None:
    topics = [wire.topic_of(type(message)) for message in MESSAGES]
    assert not any(a != b and a.startswith(b) for a in topics for b in topics)


def test_pixels_are_not_copied_on_the_way_out_nor_in() -> None:
    event = slice_received("1.2", 1, (256, 256))
    frames = wire.encode(event)
    assert np.shares_memory(np.frombuffer(frames[2], np.uint8), event.pixels_ji)
    received = wire.decode(frames)
    assert isinstance(received, SliceReceived)
    assert np.shares_memory(received.pixels_ji, event.pixels_ji)


def test_received_pixels_cannot_be_written() -> None:
    received = wire.decode(wire.encode(slice_received("1.2", 1)))
    assert isinstance(received, SliceReceived)
    with pytest.raises(ValueError, match="read-only"):
        received.pixels_ji[0, 0] = 1


def test_pixels_at_an_odd_address_are_aligned() -> None:
    topic, header, pixels = wire.encode(slice_received("1.2", 3))
    received = wire.decode([topic, header, memoryview(b"x" + bytes(pixels))[1:]])
    assert isinstance(received, SliceReceived)
    assert received.pixels_ji.flags.aligned
    assert received.pixels_ji[0, 0] == 3


def test_strided_and_big_endian_pixels_arrive_as_plain_ones() -> None:
    pixels_ji = np.arange(64, dtype=">f4").reshape(8, 8)[::2, ::2]
    event = SliceReceived("1.2", 1, KEYS[0], geometry(0), pixels_ji)
    received = wire.decode(wire.encode(event))
    assert isinstance(received, SliceReceived)
    assert received.pixels_ji.dtype == np.dtype("<f4")
    assert np.array_equal(received.pixels_ji, pixels_ji)


def test_later_fields_of_a_newer_minor_version_are_ignored() -> None:
    body = msgspec.msgpack.encode({"open_only": True, "colour": "red"})
    message = wire.decode(changed_header(ListSeries(), minor=9, body=msgspec.Raw(body)))
    assert isinstance(message, ListSeries)
    assert message.open_only


def test_another_major_version_is_refused_with_a_sentence() -> None:
    with pytest.raises(WireFormatError, match=r"speaks protocol 2, this one 1.*same version"):
        wire.decode(changed_header(ListSeries(), major=2))
    with pytest.raises(WireFormatError, match="speaks protocol 7"):
        wire.decode([b"Whatever/", msgspec.msgpack.encode([7, "all else may differ"])])


def test_a_failure_becomes_an_error_with_code_and_remedy() -> None:
    error = wire.Failure.of(JournalError("The journal cannot be read.", remedy="Check the disk.")).as_error()
    assert (error.code, str(error)) == ("JournalError", "The journal cannot be read. Check the disk.")


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.bool_, object, "U4", "M8[s]"])
def test_arrays_of_other_types_do_not_leave(dtype: Any) -> None:
    event = SliceReceived("1.2", 1, KEYS[0], geometry(0), np.zeros((4, 4), dtype))
    with pytest.raises(WireFormatError):
        wire.encode(event)


@pytest.mark.parametrize("message", ["text", 3, None, FrameKey("1.2"), SEGMENTATION])
def test_what_is_not_a_message_does_not_leave(message: Any) -> None:
    with pytest.raises(WireFormatError, match="not a message"):
        wire.encode(message)


def test_a_message_with_a_foreign_object_does_not_leave() -> None:
    with pytest.raises(WireFormatError, match="does not know"):
        wire.encode(Health(True, (object(),)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arrays",
    [
        [["<f4", [4, 5]]],
        [["<f4", [4, -4]]],
        [["<f4", []]],
        [["<f4", [16]]],
        [["<f4", [2, 2, 2, 2, 1]]],
        [["<f4", [1 << 40, 1 << 40]]],
        [["<f4", [0, 1 << 62]]],
        [["|u1", [8, 8]]],
        [["<f8", [4, 2]]],
        [["|O", [4, 2]]],
        [["no such type", [4, 4]]],
        [],
        [["<f4", [4, 4]], ["<f4", [4, 4]]],
        "nonsense",
        None,
    ],
)
def test_pixels_that_do_not_fit_their_description_are_refused(arrays: Any) -> None:
    with pytest.raises(WireFormatError):
        wire.decode(changed_header(slice_received("1.2", 1), arrays=arrays))


@pytest.mark.parametrize("pixels", [b"", b"x", b"x" * 63, b"x" * 65, b"x" * 6400])
def test_pixels_of_another_length_are_refused(pixels: bytes) -> None:
    topic, header, _ = wire.encode(slice_received("1.2", 1))
    with pytest.raises(WireFormatError):
        wire.decode([topic, header, pixels])


def test_pixels_that_disagree_with_the_geometry_are_refused() -> None:
    event = SliceReceived("1.2", 1, KEYS[0], geometry(0, (4, 8)), np.zeros((8, 4), np.float32))
    for message in (event, ReplayedEvents.of([event])):
        with pytest.raises(WireFormatError, match="geometry"):
            wire.decode(wire.encode(message))


def test_a_mask_in_place_of_pixels_is_refused() -> None:
    frames = wire.encode(SliceReceived("1.2", 1, KEYS[0], geometry(0), np.zeros((4, 4), np.uint8)))  # type: ignore[arg-type]
    with pytest.raises(WireFormatError, match="uint8"):
        wire.decode(frames)


@pytest.mark.parametrize("index", [1, -1, 1.5, "0", None, True])
def test_a_field_that_refers_to_no_array_is_refused(index: Any) -> None:
    body = msgspec.msgpack.decode(wire.encode(mask_ready("1.2", 1))[1])[4]
    body["labels_ji"] = index
    with pytest.raises(WireFormatError):
        wire.decode(changed_header(mask_ready("1.2", 1), body=body))


@pytest.mark.parametrize("kind", ["NoSuchMessage", "", "Message", "SliceReceived/"])
def test_unknown_types_are_refused(kind: str) -> None:
    frames = changed_header(ListSeries(), kind=kind)
    for topic in (frames[0], kind.encode() + b"/"):
        with pytest.raises(WireFormatError):
            wire.decode([topic, *frames[1:]])


def test_an_announced_length_allocates_nothing() -> None:
    for claim in (b"\xdd\x7f\xff\xff\xff", b"\xdf\x7f\xff\xff\xff", b"\xdb\x7f\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
        for kind in ("ReplayedMasks", "GatewayHeartbeat", "Health"):
            header = b"\x95\x01\x00" + msgspec.msgpack.encode(kind) + b"\x90" + b"\x81\xa5masks" + claim
            with pytest.raises(WireFormatError):
                wire.decode([kind.encode() + b"/", header])


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(WireFormatError):
        wire.decode([b"ListSeries/", b"\x91" * 200_000])


def test_a_packed_event_survives_and_pixels_are_not_packed() -> None:
    for message in MESSAGES:
        if len(wire.encode(message)) == 2:
            assert plain(wire.unpack(wire.pack(message))) == plain(message)
    with pytest.raises(WireFormatError, match="cannot be packed"):
        wire.pack(slice_received("1.2", 1))


BYTES = st.binary(max_size=200)


@settings(max_examples=300, deadline=None)
@given(st.lists(BYTES, max_size=6))
def test_random_frames_give_a_wire_format_error(frames: list[bytes]) -> None:
    with pytest.raises(WireFormatError):
        wire.decode(frames)


@settings(max_examples=200, deadline=None)
@given(BYTES)
def test_random_bytes_unpack_to_a_wire_format_error(packed: bytes) -> None:
    with pytest.raises(WireFormatError):
        wire.unpack(packed)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MESSAGES), st.data())
def test_damaged_frames_give_a_message_or_a_wire_format_error(message: wire.Message, data: st.DataObject) -> None:
    frames = [bytearray(frame) for frame in wire.encode(message)]
    for _ in range(data.draw(st.integers(1, 3))):
        frame = data.draw(st.sampled_from(frames))
        if not frame:
            continue
        at = data.draw(st.integers(0, len(frame) - 1))
        if data.draw(st.booleans()):
            frame[at] = data.draw(st.integers(0, 255))
        else:
            del frame[at:]
    try:
        received = wire.decode([bytes(frame) for frame in frames])
    except WireFormatError:
        return
    assert type(received) is type(message)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8) | BYTES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MESSAGES), st.data())
def test_fields_of_any_other_content_give_a_message_or_a_wire_format_error(
    message: wire.Message, data: st.DataObject
) -> None:
    body = msgspec.msgpack.decode(msgspec.msgpack.encode(message, enc_hook=lambda _: 0))
    node = body
    while isinstance(node, (dict, list)) and node:
        key: Any = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], (dict, list)) or not node[key] or data.draw(st.booleans()):
            node[key] = data.draw(JSON_LIKE)
            break
        node = node[key]
    try:
        received = wire.decode(changed_header(message, body=body))
    except WireFormatError:
        return
    assert type(received) is type(message)
