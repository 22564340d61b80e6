"""Every real series becomes a volume, or is refused for the right reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicom_gateway.reading import read_series
from neuroscan_core.config import SeriesConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # real headers violate value rules; pydicom says so

VOLUMES = {
    "ge_signa_pioneer_t1_mprage": ((130, 256, 256), (0.9375, 0.9375), 1.2, "axial"),
    "philips_elition_pcasl_classic": ((40, 96, 96), (2.5, 2.5), 4.0, "axial"),
    "philips_elition_pcasl_enhanced": ((40, 96, 96), (2.5, 2.5), 4.0, "axial"),
    "siemens_prisma_xa30_enhanced_t1w": ((96, 128, 128), (2.0, 2.0), 2.0, "sagittal"),
    "toshiba_galan_dwi_b0": ((40, 64, 64), (3.0, 3.0), 3.0, "axial"),
}
REJECTIONS = {
    # no functional groups at all
    "enhanced_mr_transfer_syntaxes": RejectionCode.MISSING_GEOMETRY,
    # magnitude and field map in one object
    "philips_achieva_enhanced_b0": RejectionCode.DUPLICATE_POSITIONS,
    "siemens_prisma_xa30_enhanced_color_fa": RejectionCode.NOT_GREYSCALE,
    # several time points
    "siemens_trio_mosaic_jpeg2000": RejectionCode.DUPLICATE_POSITIONS,
    "siemens_trio_mosaic_jpeg_lossless": RejectionCode.DUPLICATE_POSITIONS,
    "siemens_trio_mosaic_uncompressed": RejectionCode.DUPLICATE_POSITIONS,
    # one mosaic in nine encodings
    "siemens_trio_transfer_syntaxes": RejectionCode.DUPLICATE_POSITIONS,
}


@pytest.mark.parametrize("folder", VOLUMES)
def test_a_sound_series_becomes_one_volume(mr_data: Path, folder: str) -> None:
    (series,) = read_series([mr_data / folder], SeriesConfig())
    volume = series.require_volume()
    shape, in_plane_mm, spacing_mm, plane = VOLUMES[folder]
    assert volume.geometry.shape == shape
    assert volume.geometry.first.spacing_mm == in_plane_mm
    # Positions are written with ten digits or fewer, so distances agree to a tenth of a micrometre at best.
    assert volume.geometry.spacing_mm == pytest.approx(spacing_mm, abs=1e-4)
    assert volume.geometry.first.plane.value == plane
    assert volume.voxels_kji.dtype == np.float32 and volume.voxels_kji.std() > 0


@pytest.mark.parametrize("folder", REJECTIONS)
def test_an_unfit_series_is_refused_with_its_reason(mr_data: Path, folder: str) -> None:
    (series,) = read_series([mr_data / folder], SeriesConfig())
    assert series.rejection is not None and series.rejection.code is REJECTIONS[folder]
    assert len(str(series.rejection)) > 20
    with pytest.raises(SeriesRejection):
        series.require_volume()


def test_every_folder_of_real_data_is_in_the_tables(mr_data: Path) -> None:
    assert {p.name for p in mr_data.iterdir() if p.is_dir()} == VOLUMES.keys() | REJECTIONS.keys()


def test_classic_and_enhanced_export_of_one_scan_are_the_same_volume(mr_data: Path) -> None:
    (classic,) = read_series([mr_data / "philips_elition_pcasl_classic"], SeriesConfig())
    (enhanced,) = read_series([mr_data / "philips_elition_pcasl_enhanced"], SeriesConfig())
    a, b = classic.require_volume(), enhanced.require_volume()
    np.testing.assert_array_equal(a.voxels_kji, b.voxels_kji)
    # The two exports round positions differently, in the twelfth digit.
    np.testing.assert_allclose(a.geometry.affine_lps, b.geometry.affine_lps, atol=1e-6)
    assert len(classic.headers) == 40 and len(enhanced.headers) == 1


def test_headers_follow_the_slices(mr_data: Path) -> None:
    (series,) = read_series([mr_data / "ge_signa_pioneer_t1_mprage"], SeriesConfig())
    volume = series.require_volume()
    assert [str(header.SOPInstanceUID) for header in series.headers] == [key.sop_instance_uid for key in volume.keys]
    assert all("PixelData" not in header for header in series.headers)
    offsets = [float(volume.geometry.first.normal @ header.ImagePositionPatient) for header in series.headers]
    assert np.all(np.diff(offsets) > 1.1)


def test_voxels_agree_with_pydicom_for_every_maker(mr_data: Path) -> None:
    import pydicom

    for folder in VOLUMES:
        (series,) = read_series([mr_data / folder], SeriesConfig())
        volume = series.require_volume()
        stored = {}
        for path in (mr_data / folder).iterdir():
            ds = pydicom.dcmread(path)
            stored[str(ds.SOPInstanceUID)] = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
        slopes = {"philips_elition_pcasl_classic": 0.1, "philips_elition_pcasl_enhanced": 0.1}
        for k, key in enumerate(volume.keys):
            expected = stored[key.sop_instance_uid][key.frame_number - 1].astype(np.float32)
            np.testing.assert_array_equal(volume.voxels_kji[k], expected * np.float32(slopes.get(folder, 1.0)))


def test_an_unreadable_file_in_a_folder_is_left_out_but_a_named_one_is_an_error(mr_data: Path, tmp_path: Path) -> None:
    from neuroscan_core.domain.errors import UnreadableObject

    (tmp_path / "notes.txt").write_text("not DICOM")
    for path in (mr_data / "toshiba_galan_dwi_b0").iterdir():
        (tmp_path / path.name).symlink_to(path)
    (series,) = read_series([tmp_path], SeriesConfig())
    assert series.require_volume().geometry.num_slices == 40
    with pytest.raises(UnreadableObject):
        read_series([tmp_path / "notes.txt"], SeriesConfig())


def test_a_missing_slice_is_named_as_such(mr_data: Path) -> None:
    files = sorted((mr_data / "toshiba_galan_dwi_b0").iterdir())
    (series,) = read_series(files[:20] + files[21:], SeriesConfig())
    assert series.rejection is not None and series.rejection.code is RejectionCode.MISSING_SLICES


def test_a_few_slices_are_too_few(mr_data: Path) -> None:
    files = sorted((mr_data / "toshiba_galan_dwi_b0").iterdir())
    (series,) = read_series(files[:4], SeriesConfig())
    assert series.rejection is not None and series.rejection.code is RejectionCode.TOO_FEW_SLICES
