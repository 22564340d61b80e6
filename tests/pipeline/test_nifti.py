"""NIfTI images of any orientation: labels come back on the voxels that they belong to."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.domain.errors import SeriesRejection, UnreadableObject
from neuroscan_core.nifti import read_nifti, write_labels

nibabel = pytest.importorskip("nibabel")

AXES = [np.array(permutation) for permutation in itertools.permutations(range(3))]
SIGNS = list(itertools.product((1.0, -1.0), repeat=3))


def affine_of(axes: np.ndarray, signs: tuple[float, float, float]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    for axis, (world, sign, step) in enumerate(zip(axes, signs, (1.0, 1.25, 2.5), strict=True)):
        affine[world, axis] = sign * step
    affine[:3, 3] = (11.0, -7.0, 3.0)
    return affine


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("signs", SIGNS, ids=str)
def test_voxels_lie_where_nibabel_says_they_lie(
    tmp_path: Path, axes: np.ndarray, signs: tuple[float, float, float]
) -> None:
    voxels_ijk = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels_ijk, affine_of(axes, signs))
    nibabel.save(image, tmp_path / "in.nii.gz")
    source = read_nifti(tmp_path / "in.nii.gz")
    affine_lps = source.volume.geometry.affine_lps
    for i, j, k in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
        x, y, z = (image.affine @ (i, j, k, 1))[:3]
        vi, vj, vk = np.linalg.solve(affine_lps, (-x, -y, z, 1))[:3].round().astype(int)
        assert source.volume.voxels_kji[vk, vj, vi] == voxels_ijk[i, j, k]
    write_labels((source.volume.voxels_kji > 500).astype(np.uint8), source, tmp_path / "out.nii.gz")
    written = nibabel.load(tmp_path / "out.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), voxels_ijk > 500)
    assert np.allclose(written.affine, image.affine)
    assert written.get_data_dtype() == np.uint8


def test_the_header_of_the_input_is_kept(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ones((4, 4, 4, 1), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    image.header["descrip"] = b"kept"
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(2.0, 10.0)
    nibabel.save(image, tmp_path / "in.nii")
    source = read_nifti(tmp_path / "in.nii")
    write_labels(np.ones(source.volume.geometry.shape, np.uint8), source, tmp_path / "out.nii.gz")
    written = nibabel.load(tmp_path / "out.nii.gz")
    assert written.header["descrip"].tobytes().rstrip(b"\0") == b"kept"
    assert written.shape == (4, 4, 4, 1)
    assert np.array_equal(np.unique(written.dataobj), [1])


def test_what_is_not_one_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.nii").write_text("no image")
    with pytest.raises(UnreadableObject, match="not a NIfTI"):
        read_nifti(tmp_path / "text.nii")
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3, 2), np.int16), np.eye(4)), tmp_path / "two.nii")
    with pytest.raises(UnreadableObject, match="shape"):
        read_nifti(tmp_path / "two.nii")


def test_a_sheared_image_is_refused(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 2] = 0.3
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.int16), affine), tmp_path / "in.nii")
    with pytest.raises(SeriesRejection, match="orthogonal"):
        read_nifti(tmp_path / "in.nii")
