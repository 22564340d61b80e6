"""Real series of several makers through the assembler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, JPEG2000Lossless, RLELossless

from dicom_gateway.journal import SeriesState
from dicom_gateway.reading import read_series
from neuroscan_core.config import SeriesConfig
from neuroscan_core.domain.events import SliceReceived

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

OUTCOMES = {
    "ge_signa_pioneer_t1_mprage": ("count", 130),
    "philips_elition_pcasl_classic": ("count", 40),
    "philips_elition_pcasl_enhanced": ("object", 40),
    "siemens_prisma_xa30_enhanced_t1w": ("object", 96),
    "toshiba_galan_dwi_b0": ("release", 40),
    "enhanced_mr_transfer_syntaxes": ("missing-geometry", 0),
    "philips_achieva_enhanced_b0": ("duplicate-positions", 0),
    "siemens_prisma_xa30_enhanced_color_fa": ("not-greyscale", 0),
    "siemens_trio_mosaic_jpeg2000": ("missing-geometry", 0),
    "siemens_trio_mosaic_jpeg_lossless": ("missing-geometry", 0),
    "siemens_trio_mosaic_uncompressed": ("missing-geometry", 0),
    "siemens_trio_transfer_syntaxes": ("missing-geometry", 0),
}


@pytest.mark.parametrize("folder", OUTCOMES)
def test_every_real_series_is_completed_or_refused(make_bench: Callable[..., Any], mr_data: Path, folder: str) -> None:
    bench = make_bench()
    reason, num_slices = OUTCOMES[folder]
    paths = sorted((mr_data / folder).iterdir())
    if folder == "enhanced_mr_transfer_syntaxes":
        paths = paths[:1]  # the others have the same SOP Instance UID
    for path in paths:
        stored = bench.keep(path.read_bytes())
        bench.assembler.stored(stored)
    series = stored.record.series_uid
    bench.close()
    last = bench.events(series)[-1]
    if num_slices == 0:
        assert last.code.value == reason and bench.row(series).state is SeriesState.REJECTED
        return
    assert (last.reason, len(last.manifest)) == (reason, num_slices)
    (offline,) = read_series([mr_data / folder], SeriesConfig())
    volume = offline.require_volume()
    assert volume.keys == last.manifest and volume.geometry == last.geometry
    slices = {event.key: event.pixels_ji for event in bench.events(series) if isinstance(event, SliceReceived)}
    np.testing.assert_array_equal(np.stack([slices[key] for key in last.manifest]), volume.voxels_kji)
    assert {header.SOPInstanceUID for _, header in bench.headers} == {key.sop_instance_uid for key in last.manifest}


def test_no_event_holds_patient_data(make_bench: Callable[..., Any], mr_data: Path) -> None:
    bench = make_bench()
    path = sorted((mr_data / "toshiba_galan_dwi_b0").iterdir())[0]
    ds = pydicom.dcmread(path)
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Secret^Name", "SECRET-ID", "19010101"
    ds.save_as(bench.config.state_dir / "one.dcm")
    stored = bench.keep((bench.config.state_dir / "one.dcm").read_bytes())
    bench.assembler.stored(stored)
    bench.settle()
    said = repr(bench.events(stored.record.series_uid))
    kept = b"".join(record.payload for record in bench.journal.events(stored.record.series_uid))
    for secret in ("Secret", "SECRET-ID", "19010101"):
        assert secret not in said and secret.encode() not in kept


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_a_compressed_series_is_assembled_and_replayed(
    make_bench: Callable[..., Any], mr_data: Path, syntax: UID
) -> None:
    bench = make_bench()
    paths = sorted((mr_data / "toshiba_galan_dwi_b0").iterdir())[:6]
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(bench.config.state_dir / "one.dcm")
        stored = bench.keep((bench.config.state_dir / "one.dcm").read_bytes())
        bench.assembler.stored(stored)
    bench.close()
    series = stored.record.series_uid
    (offline,) = read_series(paths, SeriesConfig())
    assert bench.events(series)[-1].manifest == offline.require_volume().keys
    live = [event for event in bench.events(series) if isinstance(event, SliceReceived)]
    again = bench.assembler.replay(series, 0, 100).slices
    expected = dict(zip(offline.require_volume().keys, offline.require_volume().voxels_kji, strict=True))
    for a, b in zip(live, again, strict=True):
        assert a.key == b.key
        np.testing.assert_array_equal(a.pixels_ji, expected[a.key])
        np.testing.assert_array_equal(b.pixels_ji, a.pixels_ji)
