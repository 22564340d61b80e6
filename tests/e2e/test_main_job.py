"""The main job on real processes: a scanner pushes a series, the archive gets a SEG and an SR."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pydicom
import yaml

from dicom_gateway.reading import read_series
from neuroscan_core.config import SeriesConfig
from neuroscan_core.inference.bundle import find_bundles
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine
from neuroscan_core.offline import segment_volume
from tests.dcmtk import dcmtk
from tests.e2e.conftest import PhantomSeries, storescu
from tests.e2e.node import RunningArchive, RunningNode, wait_for


def of_modality(archive: RunningArchive, modality: str) -> list[Path]:
    return [path for path in archive.objects() if pydicom.dcmread(path, stop_before_pixels=True).Modality == modality]


def mask_of(seg_path: Path, sources: list[Path]) -> npt.NDArray[np.bool_]:
    """Voxels of a SEG's first segment, in the order of the source images."""
    seg = hd.seg.segread(seg_path)
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in sources]
    pixels = seg.get_pixels_by_source_instance(uids, segment_numbers=[1], ignore_spatial_locations=False,
                                               assert_missing_frames_are_empty=True)  # fmt: skip
    return np.asarray(pixels[..., 0] > 0)


def batch_mask(paths: list[Path], precision: str = "auto") -> npt.NDArray[np.bool_]:
    """What the offline path makes of the same files on the processor, as a node does unless it is configured."""
    (source,) = read_series(paths, SeriesConfig())
    assert source.volume is not None
    engine = OnnxRuntimeEngine(find_bundles(None)["mobilenetv2-unet-flair"], threads=0, precision=precision)
    return segment_volume(source.volume, engine).labels_kji > 0


def test_a_pushed_series_reaches_the_archive_as_the_same_mask_that_the_batch_makes(
    node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series("main")
    node.start()
    storescu(node.port, series.paths)
    node.wait_for_state(series.series_uid, "delivered")
    (seg_path,) = of_modality(archive, "SEG")
    (sr_path,) = of_modality(archive, "SR")
    streamed = mask_of(seg_path, series.paths)
    assert np.array_equal(streamed, batch_mask(series.paths))
    dice = 2 * (streamed & series.truth_kji).sum() / (streamed.sum() + series.truth_kji.sum())
    assert dice > 0.5, "the phantom's lesion is found"  # what the network reaches on people is in its card
    sr = pydicom.dcmread(sr_path)
    assert sr.file_meta.MediaStorageSOPClassUID == sr.SOPClassUID
    if (validator := shutil.which("dciodvfy")) is not None:
        for path in (seg_path, sr_path):
            report = subprocess.run([validator, str(path)], capture_output=True, text=True).stderr
            assert "Error" not in report, report
    assert node.stop() == 0


def test_every_slice_gets_a_mask_and_none_is_dropped(
    node: RunningNode, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    from neuroscan_core.bus import open_bus
    from neuroscan_core.domain.events import VIEWER, MaskReady
    from neuroscan_core.domain.requests import ReplayMasks

    series = phantom_series("count")
    node.start()
    bus = open_bus(node.config, VIEWER)
    try:
        with bus.subscribe(MaskReady):
            storescu(node.port, series.paths)
            node.wait_for_state(series.series_uid, "delivered")
            masks = bus.request(ReplayMasks(series.series_uid, 0, 1000), timeout_s=10).masks
    finally:
        bus.close()
    assert [mask.sequence for mask in masks] == list(range(len(masks)))
    assert len({mask.key for mask in masks}) == len(series.paths)


def test_interleaved_series_on_two_associations_each_get_their_result(
    node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    first, second = phantom_series("one"), phantom_series("two")
    mixed = [path for pair in zip(first.paths, second.paths, strict=True) for path in pair]
    node.start()
    halves = [mixed[::3] + mixed[1::3], mixed[2::3]]
    senders = [
        subprocess.Popen([dcmtk("storescu"), "-R", "-aec", "NEUROSCAN", "127.0.0.1", str(node.port), *map(str, half)],
                         stdin=subprocess.DEVNULL)
        for half in halves
    ]  # fmt: skip
    assert [sender.wait(timeout=120) for sender in senders] == [0, 0]
    for series in (first, second):
        node.wait_for_state(series.series_uid, "delivered")
    references = {
        str(pydicom.dcmread(path).ReferencedSeriesSequence[0].SeriesInstanceUID) for path in of_modality(archive, "SEG")
    }
    assert references == {first.series_uid, second.series_uid}


def test_a_late_slice_makes_a_new_version_of_the_result(
    node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series("late")
    node.start()
    storescu(node.port, series.paths[:-1])
    node.wait_for_state(series.series_uid, "delivered")
    storescu(node.port, series.paths[-1:])
    wait_for(lambda: len(of_modality(archive, "SEG")) == 2, "the second version")
    record = node.wait_for_state(series.series_uid, "delivered")
    assert (record.version, record.num_slices) == (2, len(series.paths))
    segs = [pydicom.dcmread(path) for path in of_modality(archive, "SEG")]
    assert len({seg.SeriesInstanceUID for seg in segs}) == 2
    assert len({seg.SeriesDescription for seg in segs}) == 2


def test_the_same_series_sent_twice_gives_one_result(
    node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series("twice")
    node.start()
    for _ in range(2):
        storescu(node.port, series.paths)
        node.wait_for_state(series.series_uid, "delivered")
    assert len(of_modality(archive, "SEG")) == 1


def test_a_series_with_a_missing_slice_is_rejected_with_a_sentence(
    node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series("gap")
    node.start()
    storescu(node.port, [*series.paths[:10], *series.paths[11:]])
    record = node.wait_for_state(series.series_uid, "rejected")
    assert record.reason == "missing-slices"
    assert "mm apart" in record.message
    assert not archive.objects()


def test_no_finding_gives_a_report_and_no_blank_segmentation(
    tmp_path: Path, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series("nothing")
    strict = tmp_path / "models" / "strict"
    shutil.copytree(find_bundles(None)["mobilenetv2-unet-flair"].folder, strict)
    card = yaml.safe_load((strict / "model.yaml").read_text())
    card["name"], card["postprocessing"]["min_component_ml"] = "strict", 5000.0  # no tumour is larger than a head
    (strict / "model.yaml").write_text(yaml.safe_dump(card))
    node = RunningNode(
        tmp_path,
        [archive.destination],
        segmenter={"models_dir": str(strict.parent)},
        rules=[{"name": "all", "model": "strict"}],
    )
    try:
        node.start()
        storescu(node.port, series.paths)
        node.wait_for_state(series.series_uid, "delivered")
    finally:
        node.close()
    assert not of_modality(archive, "SEG")
    assert len(of_modality(archive, "SR")) == 1
