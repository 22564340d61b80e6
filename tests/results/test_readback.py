"""What was written is read back: every voxel, every size, the model, and what the report says in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_gateway.results import ResultWriter
from dicom_gateway.results.readback import read_back
from neuroscan_core.config import SegFormat
from neuroscan_core.domain.errors import UnreadableObject
from neuroscan_core.domain.events import SegmentationReady
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.pipeline.measure import finish_segmentation

from .series import MODEL, Series, card, classic_series

MakeWriter = Callable[..., ResultWriter]


def written(
    series: Series, writer: ResultWriter, folder: Path, encoding: SegFormat, warnings: tuple[str, ...] = ()
) -> tuple[Segmentation, Path | None, Path]:
    """The result that was written, and the paths of its SEG and SR."""
    found = finish_segmentation(series.labels(), series.geometry, series.manifest, card())
    found = replace(found, warnings=warnings)
    result = SegmentationReady(series.uid, series.completed().version, found, MODEL)
    records = writer.write(series.completed(), result, card(), (encoding,))
    paths = {record.kind: folder / record.path for record in records}
    return found, paths.get("SEG"), paths["SR"]


def assert_same(back: Segmentation, found: Segmentation) -> None:
    np.testing.assert_array_equal(back.labels_kji, found.labels_kji)
    assert back.keys == found.keys
    assert back.measurements == found.measurements and back.composites == found.composites


def test_what_was_written_comes_back(series: Series, make_writer: MakeWriter, tmp_path: Path) -> None:
    found, seg, report = written(series, make_writer(series), tmp_path, SegFormat.BINARY)
    back = read_back(seg, report, series.completed(), {card().name: card()}, card().name)
    assert_same(back.segmentation, found)
    assert (back.model.name, back.model.version, back.model.sha256) == (MODEL.name, MODEL.version, MODEL.sha256)
    assert back.version == series.completed().version


@pytest.mark.parametrize("encoding", [SegFormat.LABELMAP, SegFormat.FRACTIONAL])
def test_every_encoding_comes_back(
    one_of_each: Series, make_writer: MakeWriter, tmp_path: Path, encoding: SegFormat
) -> None:
    found, seg, report = written(one_of_each, make_writer(one_of_each), tmp_path, encoding)
    back = read_back(seg, report, one_of_each.completed(), {card().name: card()}, card().name)
    assert_same(back.segmentation, found)


def test_warnings_come_back(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    warnings = ("The patient has moved.", "Two series overlap by half.")
    _, seg, report = written(series, make_writer(series), tmp_path, SegFormat.BINARY, warnings)
    back = read_back(seg, report, series.completed(), {card().name: card()}, card().name)
    assert back.segmentation.warnings == warnings
    assert back.segmentation.triage is None


def test_labels_are_measured_though_their_bundle_is_gone(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    found, seg, report = written(series, make_writer(series), tmp_path, SegFormat.BINARY)
    back = read_back(seg, report, series.completed(), {}, card().name)
    np.testing.assert_array_equal(back.segmentation.labels_kji, found.labels_kji)
    assert [m.volume_ml for m in back.segmentation.measurements] == [
        m.volume_ml for m in found.measurements if m.volume_ml > 0
    ]


def test_nothing_found_comes_back_without_a_seg(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    empty = finish_segmentation(np.zeros_like(series.labels()), series.geometry, series.manifest, card())
    result = SegmentationReady(series.uid, series.completed().version, empty, MODEL)
    (report,) = make_writer(series).write(series.completed(), result, card())
    back = read_back(None, tmp_path / report.path, series.completed(), {card().name: card()}, card().name)
    assert back.segmentation.is_empty
    assert back.segmentation.measurements == empty.measurements


def test_a_seg_of_other_slices_or_a_damaged_one_is_refused(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    _, seg, report = written(series, make_writer(series), tmp_path, SegFormat.BINARY)
    other = classic_series("other")
    with pytest.raises(UnreadableObject):
        read_back(seg, report, other.completed(), {card().name: card()}, card().name)
    assert seg is not None
    seg.write_bytes(b"no DICOM at all")
    with pytest.raises(UnreadableObject):
        read_back(seg, report, series.completed(), {card().name: card()}, card().name)
