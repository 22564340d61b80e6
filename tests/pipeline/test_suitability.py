"""Studies of heads are let through, others are refused before a network sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.study import SEQUENCES, StudyVolume
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.phantom import HeadPhantom, Weighting
from neuroscan_core.pipeline.suitability import channels_for, is_air, require_head
from tests.pipeline.cards import MULTIMODAL


def of(channels: dict[str, np.ndarray], stack: StackGeometry) -> StudyVolume:
    keys = tuple(FrameKey(str(k)) for k in range(stack.num_slices))
    return StudyVolume(stack, keys, tuple(channels), np.stack(list(channels.values())).astype(np.float32))


def test_a_head_is_let_through_whatever_its_last_sequence(small_phantom: HeadPhantom) -> None:
    images = {weighting.value: small_phantom.image(weighting) for weighting in Weighting}
    for last in SEQUENCES:
        order = [name for name in SEQUENCES if name != last] + [last]
        require_head(of({name: images[name] for name in order}, small_phantom.geometry))


def test_a_brain_without_skull_is_let_through(shared_data: Path) -> None:
    from neuroscan_core.nifti import read_nifti

    case = sorted(path for path in (shared_data / "brats_volumes_u8").iterdir() if path.is_dir())[0]
    volume = read_nifti(next(case.glob("*flair.nii.gz"))).volume
    require_head(of({"FLAIR": volume.voxels_kji}, volume.geometry))


@pytest.mark.parametrize("make", [np.zeros, lambda shape: np.random.default_rng(0).gamma(2, 50, shape)])
def test_what_is_no_head_is_refused(make: object, small_phantom: HeadPhantom) -> None:
    voxels = make(small_phantom.geometry.shape)  # type: ignore[operator]
    with pytest.raises(SeriesRejection) as refused:
        require_head(of({"FLAIR": voxels}, small_phantom.geometry))
    assert refused.value.code is RejectionCode.NOT_BRAIN_LIKE


def test_channels_are_found_by_name_and_missing_ones_are_named(small_phantom: HeadPhantom) -> None:
    empty = np.zeros(small_phantom.geometry.shape)
    names = ("FLAIR", "T2", "T1ce", "T1")
    assert channels_for(of(dict.fromkeys(names, empty), small_phantom.geometry), MULTIMODAL) == [3, 2, 1, 0]
    with pytest.raises(SeriesRejection, match="lacks T1ce, T2"):
        channels_for(of({"T1": empty, "FLAIR": empty}, small_phantom.geometry), MULTIMODAL)


def test_a_slice_with_tissue_in_one_sequence_is_not_air() -> None:
    images_CHW = np.zeros((4, 8, 8), np.float32)
    assert is_air(images_CHW) and is_air(images_CHW - 3)
    images_CHW[2, 4, 4] = 1
    assert not is_air(images_CHW)
