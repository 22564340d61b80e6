"""The generated head, and the series that is made of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_gateway.phantom_series import phantom_datasets, write_phantom_series
from neuroscan_core.phantom import HeadPhantom, Tissue, Weighting, head_phantom


def test_same_seed_makes_the_same_head_and_the_same_noise(small_phantom: HeadPhantom) -> None:
    again = head_phantom(num_slices=24)
    assert np.array_equal(again.tissue_kji, small_phantom.tissue_kji)
    assert np.array_equal(again.image(Weighting.FLAIR), small_phantom.image(Weighting.FLAIR))
    other = head_phantom(num_slices=24, seed=8)
    assert not np.array_equal(other.tissue_kji, small_phantom.tissue_kji)


def test_tumour_has_oedema_rim_and_centre_and_a_plausible_size(small_phantom: HeadPhantom) -> None:
    found = set(np.unique(small_phantom.tissue_kji))
    assert {Tissue.OEDEMA, Tissue.ENHANCING, Tissue.NECROSIS} <= found
    assert 30 < small_phantom.tumour_ml < 80


def test_volume_hardly_depends_on_the_number_of_slices(small_phantom: HeadPhantom) -> None:
    assert head_phantom(num_slices=60).tumour_ml == pytest.approx(small_phantom.tumour_ml, rel=0.1)


def test_weightings_show_tissues_as_scanners_do(small_phantom: HeadPhantom) -> None:
    def mean(weighting: Weighting, tissue: Tissue) -> float:
        return float(small_phantom.image(weighting)[small_phantom.tissue_kji == tissue].mean())

    assert mean(Weighting.FLAIR, Tissue.OEDEMA) > 1.5 * mean(Weighting.FLAIR, Tissue.WHITE)
    assert mean(Weighting.T2, Tissue.CSF) > 1.3 * mean(Weighting.T2, Tissue.WHITE)
    assert mean(Weighting.T1CE, Tissue.ENHANCING) > 1.5 * mean(Weighting.T1, Tissue.ENHANCING)
    assert mean(Weighting.T1, Tissue.WHITE) > mean(Weighting.T1, Tissue.GREY)


def test_refuses_a_grid_that_holds_no_head() -> None:
    with pytest.raises(ValueError, match="do not hold a head"):
        head_phantom(size=64)


def test_series_announces_no_count_and_its_identifiers_are_derived(small_phantom: HeadPhantom) -> None:
    first, second = (list(phantom_datasets(small_phantom, Weighting.FLAIR)) for _ in range(2))
    assert [ds.SOPInstanceUID for ds in first] == [ds.SOPInstanceUID for ds in second]
    assert len({ds.SOPInstanceUID for ds in first}) == 24
    assert not {"ImagesInAcquisition", "NumberOfSlices"} & set(first[0].dir())
    other = next(iter(phantom_datasets(small_phantom, Weighting.FLAIR, series="1")))
    assert other.SeriesInstanceUID != first[0].SeriesInstanceUID and other.StudyInstanceUID != first[0].StudyInstanceUID


@pytest.mark.parametrize("weighting", list(Weighting))
def test_images_are_valid_mr_objects(
    weighting: Weighting, small_phantom: HeadPhantom, tmp_path: Path, need_program: Callable[..., str]
) -> None:
    program = need_program("dciodvfy", "dicom3tools")
    path = write_phantom_series(tmp_path, small_phantom, weighting)[12]
    checked = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert "Error" not in checked.stdout + checked.stderr, checked.stderr
    assert dcmread(path).pixel_array.shape == (256, 256)
