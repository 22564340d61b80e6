"""What is read from a message equals what was written to it, and nothing impossible is read."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("neuroscan_msgs", reason="needs the messages of ros_ws")

from neuroscan_msgs import msg as msgs
from neuroscan_msgs import srv as srvs
from neuroscan_ros import conversions, topics
from rclpy.serialization import deserialize_message, serialize_message

from neuroscan_core.bus.wire import Failure
from neuroscan_core.domain.codes import GLIOMA, MENINGIOMA
from neuroscan_core.domain.errors import RejectionCode, WireFormatError
from neuroscan_core.domain.events import (
    EVENT_TYPES,
    Event,
    GatewayHeartbeat,
    MaskReady,
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
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.requests import (
    REQUEST_TYPES,
    Acknowledged,
    DeliveryProgress,
    DescribeSeries,
    GetGatewayHealth,
    GetProbabilities,
    GetSegmentation,
    GetSegmenterHealth,
    Health,
    ListResults,
    ListSeries,
    Probabilities,
    ReplayedEvents,
    ReplayedMasks,
    ReplayMasks,
    ReplaySeries,
    ResultList,
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

Status = msgs.SeriesStatus

numbers = st.floats(-1e6, 1e6)
lengths = st.floats(1e-3, 1e3)
counts = st.integers(0, 2**32 - 1)
priorities = st.integers(-(2**31), 2**31 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
uids = st.from_regex(r"[0-2]\.[1-9][0-9]{0,9}(\.[1-9][0-9]{0,9}){0,3}", fullmatch=True)
# A float of our days is coarser than the nanoseconds of a message.
times_s = st.one_of(st.just(0.0), st.floats(1e8, 2**31 - 2))
keys = st.builds(FrameKey, uids, st.integers(1, 2**32 - 1))
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
models = st.builds(ModelIdentity, texts, texts, texts, texts)


@st.composite
def slice_geometries(draw: st.DrawFn, shape: tuple[int, int] | None = None) -> SliceGeometry:
    turn = draw(st.floats(0, 2 * math.pi))
    orientation = (math.cos(turn), math.sin(turn), 0.0, -math.sin(turn), math.cos(turn), 0.0)
    position_mm = draw(st.tuples(numbers, numbers, numbers))
    spacing_mm = draw(st.tuples(lengths, lengths))
    return SliceGeometry(position_mm, orientation, spacing_mm, shape or draw(shapes), draw(st.just("") | uids))


@st.composite
def stack_geometries(draw: st.DrawFn) -> StackGeometry:
    return StackGeometry(draw(slice_geometries()), draw(lengths), draw(st.integers(1, 5)))


@st.composite
def slices(draw: st.DrawFn) -> SliceReceived:
    geometry = draw(slice_geometries())
    bits = draw(st.binary(min_size=4 * math.prod(geometry.shape), max_size=4 * math.prod(geometry.shape)))
    pixels_ji = np.frombuffer(bits, np.float32).reshape(geometry.shape)
    return SliceReceived(draw(uids), draw(counts), draw(keys), geometry, pixels_ji, draw(times_s))


def labels(draw: st.DrawFn, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.frombuffer(draw(st.binary(min_size=math.prod(shape), max_size=math.prod(shape))), np.uint8).reshape(shape)


@st.composite
def masks(draw: st.DrawFn) -> MaskReady:
    labels_ji = labels(draw, draw(shapes))
    return MaskReady(draw(uids), draw(counts), draw(keys), labels_ji, draw(numbers), draw(models), draw(counts))


diameters = st.builds(Diameter, keys, lengths, lengths, st.tuples(*[numbers] * 4), st.tuples(*[numbers] * 4))
regions = st.builds(RegionMeasurement, st.integers(1, 255), numbers, counts, st.none() | diameters)
composites = st.builds(
    CompositeMeasurement, st.sampled_from(["WT", "TC", "ET"]), numbers, counts, st.none() | diameters
)


@st.composite
def triages(draw: st.DrawFn) -> Triage:
    looked_at = tuple(draw(st.lists(keys, max_size=4)))
    rows = tuple(draw(st.tuples(numbers, numbers)) for _ in looked_at)
    return Triage(draw(models), (GLIOMA, MENINGIOMA), draw(st.tuples(numbers, numbers)), looked_at, rows)


@st.composite
def segmentations(draw: st.DrawFn) -> SegmentationReady:
    geometry = draw(stack_geometries())
    segmentation = Segmentation(
        geometry,
        tuple(draw(keys) for _ in range(geometry.num_slices)),
        labels(draw, geometry.shape),
        tuple(draw(st.lists(regions, max_size=3))),
        tuple(draw(st.lists(composites, max_size=3))),
        tuple(draw(st.lists(texts, max_size=2))),
        draw(st.none() | triages()),
    )
    return SegmentationReady(draw(uids), draw(counts), segmentation, draw(models))


@st.composite
def sources(draw: st.DrawFn, name: str) -> StudySource:
    geometry = draw(stack_geometries())
    return StudySource(name, draw(uids), draw(counts), tuple(draw(keys) for _ in range(geometry.num_slices)), geometry)


progresses = st.builds(
    SeriesProgress, uids, texts, counts, counts, counts, st.booleans(), texts, texts, texts, texts, times_s, priorities,
    texts,
)  # fmt: skip
deliveries = st.builds(DeliveryProgress, uids, texts, texts, texts, counts, texts, numbers)
details = st.builds(
    SeriesDetail, uids, texts, st.none() | st.integers(0, 2**31 - 1), texts, st.booleans(),
    st.lists(deliveries, max_size=3).map(tuple),
)  # fmt: skip
stored_results = st.builds(StoredResult, uids, texts, counts, texts, texts, times_s)


@st.composite
def probabilities(draw: st.DrawFn) -> Probabilities:
    state, progress = draw(st.sampled_from(["computing", "busy", "ready"])), draw(st.floats(0, 1))
    if state != "ready":
        return Probabilities(state, progress, 0, (), np.zeros((0, 0, 0), np.uint8))
    shape = draw(st.tuples(st.integers(1, 4), *[st.integers(1, 9)] * 2))
    looked_at = tuple(draw(keys) for _ in range(shape[0]))
    return Probabilities(state, progress, draw(counts), looked_at, labels(draw, shape))


statuses: dict[type[Event], st.SearchStrategy[Any]] = {
    SeriesOpened: st.builds(
        SeriesOpened, uids, counts, texts, priorities, st.none() | lengths, st.none() | st.integers(0, 2**31 - 1),
        texts, texts, times_s, texts,
    ),
    SeriesCompleted: st.builds(
        SeriesCompleted, uids, counts, st.lists(keys, max_size=4).map(tuple), stack_geometries(), counts, texts, times_s
    ),
    SeriesRejected: st.builds(SeriesRejected, uids, counts, st.sampled_from(RejectionCode), texts, texts),
    StudyReady: st.builds(
        StudyReady, uids, counts, texts, st.tuples(sources("T1"), sources("FLAIR")), st.just("FLAIR"), counts,
        priorities, texts, st.lists(texts, max_size=2).map(tuple),
    ),
    ResultDelivered: st.builds(ResultDelivered, uids, uids, texts, texts, st.booleans(), numbers),
    SegmentationFailed: st.builds(SegmentationFailed, uids, counts, texts, texts),
    GatewayHeartbeat: st.builds(GatewayHeartbeat, st.lists(progresses, max_size=3).map(tuple)),
}  # fmt: skip
events: dict[type[Event], st.SearchStrategy[Any]] = {
    SliceReceived: slices(),
    MaskReady: masks(),
    SegmentationReady: segmentations(),
    **statuses,
}


def content(value: Any) -> Any:
    """Everything in a value, types and bits included."""
    if dataclasses.is_dataclass(value):
        fields = [content(getattr(value, field.name)) for field in dataclasses.fields(value)]
        return type(value).__name__, *fields
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, tuple):
        return tuple(map(content, value))
    return type(value).__name__, value


def through_dds(message: Any) -> Any:
    """The message as the other side gets it."""
    return deserialize_message(serialize_message(message), type(message))


def check(to_msg: Callable[[Any], Any], from_msg: Callable[[Any], Any], value: Any) -> None:
    assert content(from_msg(through_dds(to_msg(value)))) == content(value)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_event_comes_back_as_it_was(event_type: type[Event], data: st.DataObject) -> None:
    topic = topics.topic_of(event_type)
    event = data.draw(events[event_type])
    check(topic.to_msg, topic.from_msg, event)
    assert topics.event_type_of(topic.to_msg(event)) is event_type


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("frame_key", keys),
        ("slice_geometry", slice_geometries()),
        ("stack_geometry", stack_geometries()),
        ("model", models),
        ("code", st.sampled_from([GLIOMA, MENINGIOMA])),
        ("progress", progresses),
        ("study_source", sources("T2")),
        ("series_detail", details),
        ("delivery", deliveries),
        ("stored_result", stored_results),
        ("diameter", diameters),
        ("measurement", regions | composites),
        ("triage", triages()),
        ("refusal", st.builds(Failure, texts.filter(bool), texts, texts)),
        ("time", times_s),
    ],
)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_value_comes_back_as_it_was(name: str, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    check(getattr(conversions, f"{name}_to_msg"), getattr(conversions, f"{name}_from_msg"), data.draw(values))


acknowledgements = st.builds(Acknowledged, st.booleans())
replays = st.builds(
    ReplayedEvents,
    *(
        st.lists(events[event_type], max_size=2).map(tuple)
        for event_type in (SeriesOpened, SliceReceived, SeriesCompleted, SeriesRejected, StudyReady)
    ),
)
health = st.builds(Health, st.booleans(), st.lists(texts, max_size=3).map(tuple), texts)
exchanges: dict[type[Any], tuple[st.SearchStrategy[Any], st.SearchStrategy[Any]]] = {
    ReplaySeries: (st.builds(ReplaySeries, uids, counts, counts), replays),
    ListSeries: (
        st.builds(ListSeries, st.booleans()),
        st.builds(SeriesList, st.lists(progresses, max_size=3).map(tuple)),
    ),
    ReplayMasks: (
        st.builds(ReplayMasks, uids, counts, counts),
        st.builds(ReplayedMasks, st.lists(masks(), max_size=3).map(tuple)),
    ),
    DescribeSeries: (
        st.builds(DescribeSeries, counts),
        st.builds(SeriesDetails, st.lists(details, max_size=3).map(tuple)),
    ),
    RetrySeries: (st.builds(RetrySeries, uids), st.builds(Retried, st.booleans(), counts)),
    ListResults: (
        st.builds(ListResults, uids),
        st.builds(ResultList, st.lists(stored_results, max_size=3).map(tuple)),
    ),
    GetSegmentation: (st.builds(GetSegmentation, uids, counts), st.builds(StoredSegmentation, segmentations())),
    GetProbabilities: (st.builds(GetProbabilities, uids), probabilities()),
    SubmitSegmentation: (st.builds(SubmitSegmentation, segmentations()), acknowledgements),
    SubmitFailure: (st.builds(SubmitFailure, statuses[SegmentationFailed]), acknowledgements),
    GetGatewayHealth: (st.just(GetGatewayHealth()), health),
    GetSegmenterHealth: (st.just(GetSegmenterHealth()), health),
}


# Who the patient is does not travel over ROS.
SERVED_TYPES = [request_type for request_type in REQUEST_TYPES if not request_type.carries_identity]


def test_every_request_type_is_served_unless_the_reply_says_who_the_patient_is() -> None:
    assert set(topics.SERVICES) == set(exchanges) == set(SERVED_TYPES)
    assert {request_type.__name__ for request_type in set(REQUEST_TYPES) - set(SERVED_TYPES)} == {
        "GetIdentity", "GetResultObject",
    }  # fmt: skip


INTERFACES = [getattr(module, name) for module in (msgs, srvs) for name in dir(module) if name[0].isupper()]
WORDS_OF_IDENTITY = re.compile("patient|birth|sex|accession|physician|address|object_bytes|study_date")


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda one: one.__name__)
def test_no_message_has_a_field_for_a_person(interface: Any) -> None:
    for part in (interface.Request, interface.Response) if hasattr(interface, "Request") else (interface,):
        assert not [field for field in part.get_fields_and_field_types() if WORDS_OF_IDENTITY.search(field)]


@pytest.mark.parametrize("request_type", SERVED_TYPES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_every_request_and_reply_comes_back_as_it_was(request_type: type[Any], data: st.DataObject) -> None:
    requests, replies = exchanges[request_type]
    service = topics.service_of(request_type)
    check(service.request_to_msg, service.request_from_msg, data.draw(requests))
    reply = data.draw(replies)
    if isinstance(reply, ReplayedEvents):  # they travel in two lists, each by sequence
        reply = ReplayedEvents.of(list(reply.in_order))
    message = service.reply_to_msg(reply)
    assert conversions.refusal_from_msg(message.refusal) is None
    check(service.reply_to_msg, service.reply_from_msg, reply)


@given(st.floats(-(2**31), 2**31 - 1))
def test_any_time_comes_back_to_the_nanosecond(time_s: float) -> None:
    assert conversions.time_from_msg(conversions.time_to_msg(time_s)) == pytest.approx(time_s, rel=0, abs=1e-9)


def a_slice() -> msgs.Slice:
    geometry = SliceGeometry((1.0, 2.0, 3.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0), (2, 3))
    return conversions.slice_to_msg(SliceReceived("1.2", 1, FrameKey("1.3"), geometry, np.ones((2, 3), np.float32)))


def a_mask() -> msgs.Mask:
    model = ModelIdentity("m", "1", "0" * 64)
    return conversions.mask_to_msg(MaskReady("1.2", 1, FrameKey("1.3"), np.ones((2, 3), np.uint8), 1.0, model))


def a_status(kind: int) -> msgs.SeriesStatus:
    geometry = conversions.slice_from_msg(a_slice()).geometry
    message = Status(kind=kind, series_instance_uid="1.2", code="missing-slices", num_expected=-1)
    message.slice_spacing_mm = math.nan
    message.geometry = conversions.stack_geometry_to_msg(StackGeometry(geometry, 1.0, 1))
    message.manifest = [msgs.FrameKey(sop_instance_uid="1.3", frame_number=1)]
    message.sources = [
        msgs.StudySource(
            sequence_name=name, series_instance_uid="1.2", manifest=message.manifest, geometry=message.geometry
        )
        for name in ("T1", "FLAIR")
    ]
    message.reference, message.sop_instance_uid = "FLAIR", "1.4"
    message.open_series = [msgs.SeriesProgress(series_instance_uid="1.2")]
    return message


def a_segmentation() -> msgs.Segmentation:
    geometry = conversions.slice_from_msg(a_slice()).geometry
    model = ModelIdentity("m", "1", "0" * 64)
    found = Segmentation(
        StackGeometry(geometry, 1.0, 1),
        (FrameKey("1.3"),),
        np.ones((1, 2, 3), np.uint8),
        (RegionMeasurement(1, 1.0, 1, None),),
        (CompositeMeasurement("WT", 1.0, 1, None),),
        triage=Triage(model, (GLIOMA, MENINGIOMA), (0.5, 0.5), (FrameKey("1.3"),), ((0.5, 0.5),)),
    )
    return conversions.segmentation_to_msg(SegmentationReady("1.2", 1, found, model))


def some_probabilities() -> srvs.GetProbabilities.Response:
    values_kji = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    return conversions.probabilities_to_msg(Probabilities("ready", 1.0, 1, (FrameKey("1.3"),), values_kji))


def a_detail() -> msgs.SeriesDetail:
    delivery = DeliveryProgress("1.4", "SEG", "archive", "delivered")
    return conversions.series_detail_to_msg(SeriesDetail("1.2", num_expected=5, deliveries=(delivery,)))


READERS: dict[type[Any], Callable[[Any], Any]] = {
    srvs.GetProbabilities.Response: conversions.probabilities_from_msg,
    msgs.SeriesDetail: conversions.series_detail_from_msg,
    msgs.StoredResult: conversions.stored_result_from_msg,
    msgs.Slice: conversions.slice_from_msg,
    msgs.Mask: conversions.mask_from_msg,
    msgs.SeriesStatus: conversions.status_from_msg,
    msgs.Segmentation: conversions.segmentation_from_msg,
}


@pytest.mark.parametrize(
    ("message", "damage", "complaint"),
    [
        (a_slice(), "geometry.rows = 3", "carries 6"),
        (a_slice(), "pixels.pop()", "carries 5"),
        (a_slice(), "geometry.rows = 0", "must be positive"),
        (a_slice(), "geometry.spacing_mm[0] = -1", "must be positive"),
        (a_slice(), "geometry.position_mm[2] = float('nan')", "not a finite number"),
        (a_slice(), "geometry.orientation[0] = 2", "orthogonal unit vectors"),
        (a_slice(), "geometry.orientation[:] = 1e300", "orthogonal unit vectors"),
        (a_slice(), "series_instance_uid = ''", "UID of a series is empty"),
        (a_slice(), "key.sop_instance_uid = ''", "SOP instance UID of a slice is empty"),
        (a_slice(), "key.frame_number = 0", "counted from 1"),
        (a_slice(), "received_at.nanosec = 2000000000", "nanoseconds"),
        (a_mask(), "rows = 4", "4 x 3 values and carries 6"),
        (a_mask(), "rows = 0", "0 x 3 values and carries 6"),
        (a_mask(), "rows = message.columns = 4294967295", "carries 6"),
        (a_status(0), "", "unknown kind 0"),
        (a_status(77), "", "unknown kind 77"),
        (a_status(Status.OPENED), "num_expected = -2", "-2 slices"),
        (a_status(Status.OPENED), "slice_spacing_mm = -1.0", "-1.0 mm apart"),
        (a_status(Status.COMPLETED), "geometry.spacing_mm = float('nan')", "must be a positive number"),
        (a_status(Status.COMPLETED), "geometry.first.columns = 0", "must be positive"),
        (a_status(Status.REJECTED), "code = 'no-such-code'", "no-such-code"),
        (a_status(Status.STUDY_READY), "reference = 'T2'", "reference"),
        (a_status(Status.STUDY_READY), "sources[0].sequence_name = 'FLAIR'", "twice"),
        (a_status(Status.STUDY_READY), "sources[0].geometry.num_slices = 2", "names 1 slices"),
        (a_status(Status.DELIVERED), "sop_instance_uid = ''", "UID of a result"),
        (a_status(Status.FAILED), "series_instance_uid = ''", "UID of a series"),
        (a_status(Status.HEARTBEAT), "open_series[0].series_instance_uid = ''", "UID of a series"),
        (a_segmentation(), "geometry.num_slices = 2", "2 x 2 x 3 values and carries 6"),
        (a_segmentation(), "keys = []", "number of keys"),
        (a_segmentation(), "measurements[0].label = 0", "must be of one"),
        (a_segmentation(), "measurements[0].region = 'WT'", "must be of one"),
        (a_segmentation(), "composites = message.measurements", "a composite is of a label"),
        (a_segmentation(), "measurements = message.composites", "not of a label"),
        (a_segmentation(), "triage[0].probabilities.pop()", "2 classes and 1 probabilities"),
        (a_segmentation(), "triage[0].slice_probabilities.pop()", "1 x 2 values and carries 1"),
        (a_segmentation(), "triage[0].classes = []", "0 classes"),
        (some_probabilities(), "rows = 3", "1 x 3 x 3 values and carries 6"),
        (some_probabilities(), "keys = []", "0 x 2 x 3 values and carries 6"),
        (some_probabilities(), "keys[0].sop_instance_uid = ''", "SOP instance UID of a slice is empty"),
        (some_probabilities(), "progress = float('nan')", "done to nan"),
        (some_probabilities(), "progress = 1.5", "done to 1.5"),
        (a_detail(), "series_instance_uid = ''", "UID of a series is empty"),
        (a_detail(), "num_expected = -2", "-2 slices are expected"),
        (a_detail(), "deliveries[0].sop_instance_uid = ''", "UID of a result is empty"),
    ],
)
def test_a_damaged_message_is_refused_with_a_sentence(message: Any, damage: str, complaint: str) -> None:
    damaged = through_dds(message)
    if damage:
        exec(f"message.{damage}", {"message": damaged})
    with pytest.raises(WireFormatError, match=complaint):
        READERS[type(message)](damaged)
    if damage:
        READERS[type(message)](message)


# Nothing is what the segmenter says of probabilities that it has not computed.
@pytest.mark.parametrize("message_type", READERS.keys() - {srvs.GetProbabilities.Response})
def test_a_message_with_nothing_in_it_is_refused(message_type: type[Any]) -> None:
    with pytest.raises(WireFormatError):
        READERS[message_type](message_type())


def test_a_replay_with_an_event_that_has_no_number_is_refused() -> None:
    reply = srvs.ReplaySeries.Response(statuses=[a_status(Status.HEARTBEAT)])
    with pytest.raises(WireFormatError, match="GatewayHeartbeat"):
        conversions.replayed_events_from_msg(reply)


def test_only_a_failure_can_be_submitted_as_one() -> None:
    with pytest.raises(WireFormatError, match="ResultDelivered"):
        conversions.submit_failure_from_msg(srvs.SubmitFailure.Request(failure=a_status(Status.DELIVERED)))


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (SeriesOpened("1.2", -1, "m"), "sequence number is -1"),
        (SeriesOpened("1.2", 2**32, "m"), "sequence number is 4294967296"),
        (SeriesOpened("1.2", 0, "m", 2**31), "priority"),
        (SeriesOpened("1.2", 0, "m", opened_at_s=math.nan), "time is nan"),
        (SeriesOpened("1.2", 0, "m", opened_at_s=1e10), "time in seconds"),
    ],
)
def test_what_no_message_can_hold_is_not_written(event: Event, complaint: str) -> None:
    with pytest.raises(WireFormatError, match=complaint):
        conversions.status_to_msg(event)


def test_pixels_of_another_type_or_shape_are_not_written() -> None:
    good = conversions.slice_from_msg(a_slice())
    with pytest.raises(WireFormatError, match="float64"):
        conversions.slice_to_msg(dataclasses.replace(good, pixels_ji=good.pixels_ji.astype(np.float64)))
    with pytest.raises(WireFormatError, match="do not fit"):
        conversions.slice_to_msg(dataclasses.replace(good, pixels_ji=good.pixels_ji.T))


def test_probabilities_with_too_few_keys_are_not_written() -> None:
    with pytest.raises(WireFormatError, match="2 slices and keys of 1"):
        conversions.probabilities_to_msg(
            Probabilities("ready", 1.0, 1, (FrameKey("1.3"),), np.zeros((2, 2, 3), np.uint8))
        )


def test_hints_of_a_header_that_make_no_sense_are_left_out() -> None:
    event = SeriesOpened("1.2", 0, "m", slice_spacing_mm=-2.0, num_expected=-7)
    back = conversions.status_from_msg(conversions.status_to_msg(event))
    assert isinstance(back, SeriesOpened)
    assert (back.slice_spacing_mm, back.num_expected) == (None, None)


def test_what_a_string_cannot_hold_is_replaced() -> None:
    event = SeriesOpened("1.2", 0, "m", description="T1\0 \ud800 Ä")
    back = conversions.status_from_msg(through_dds(conversions.status_to_msg(event)))
    assert isinstance(back, SeriesOpened)
    assert back.description == "T1\ufffd ? Ä"


def test_what_is_read_is_a_view_that_cannot_be_written() -> None:
    message = a_slice()
    pixels_ji = conversions.slice_from_msg(message).pixels_ji
    message.pixels[4] = 7.0
    assert pixels_ji[1, 1] == 7.0
    with pytest.raises(ValueError, match="read-only"):
        pixels_ji[0, 0] = 1.0


def test_views_of_arrays_that_are_not_contiguous_are_written_row_by_row() -> None:
    labels_ji = np.arange(24, dtype=np.uint8).reshape(4, 6)[::2, ::-3]
    model = ModelIdentity("m", "1", "0" * 64)
    mask = MaskReady("1.2", 0, FrameKey("1.3"), labels_ji, 0.0, model)
    assert np.array_equal(conversions.mask_from_msg(conversions.mask_to_msg(mask)).labels_ji, labels_ji)
