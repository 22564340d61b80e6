"""Heads as files of every kind, and the chain put together as the command line does it."""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest

from dicom_gateway.phantom_series import write_phantom_series, write_phantom_study
from neuroscan_core.diagnosis.case import Gathered, InputKind, Reading, Source
from neuroscan_core.diagnosis.quality import measure_quality
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.phantom import HeadPhantom, Weighting

TINY_MODELS = Path(__file__).parent.parent / "study" / "models"


def volume_of(phantom: HeadPhantom, weighting: Weighting = Weighting.FLAIR) -> Volume:
    """A phantom as a volume."""
    keys = tuple(FrameKey("phantom", k + 1) for k in range(phantom.geometry.num_slices))
    return Volume(phantom.geometry, keys, phantom.image(weighting).astype(np.float32))


def reading_of(volume: Volume, sequence: str = "FLAIR", kind: InputKind = InputKind.DICOM) -> Reading:
    """What the reader would say of a volume."""
    source = Source(kind, "a series", volume, modality="MR", sequence=sequence)
    return Reading(source, volume, None, measure_quality(volume))


def gathered_of(reading: Reading) -> Gathered:
    """What was found where there is one series."""
    return Gathered((reading.source,))


@pytest.fixture(scope="session")
def flair(small_phantom: HeadPhantom) -> Volume:
    """FLAIR of a head with a tumour on its left."""
    return volume_of(small_phantom)


@pytest.fixture(scope="session")
def dicom_folder(small_phantom: HeadPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as DICOM."""
    folder = tmp_path_factory.mktemp("dicom")
    write_phantom_series(folder, small_phantom, Weighting.FLAIR)
    return folder


@pytest.fixture(scope="session")
def study_folder(small_phantom: HeadPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sequences of it as DICOM, on different grids."""
    folder = tmp_path_factory.mktemp("study")
    write_phantom_study(folder, small_phantom)
    return folder


@pytest.fixture(scope="session")
def nifti_case(small_phantom: HeadPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sequences and a mask as in BraTS; the folder's name and the files' hold a person's name."""
    folder = tmp_path_factory.mktemp("Doe_John")
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ small_phantom.geometry.affine_lps
    for weighting in Weighting:
        image = nibabel.Nifti1Image(small_phantom.image(weighting).T.astype(np.float32), ras)
        nibabel.save(image, folder / f"Doe_John_{weighting.value.lower()}.nii.gz")
    mask = nibabel.Nifti1Image(np.zeros(small_phantom.image(Weighting.T1).T.shape, np.uint8), ras)
    nibabel.save(mask, folder / "Doe_John_seg.nii.gz")
    return folder


@pytest.fixture(scope="session")
def picture(small_phantom: HeadPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slice of FLAIR with most tumour as PNG."""
    k = int(small_phantom.tumour_kji.sum(axis=(1, 2)).argmax())
    path = tmp_path_factory.mktemp("picture") / "slice.png"
    image = small_phantom.image(Weighting.FLAIR)[k].astype(np.float32)
    cv2.imwrite(str(path), np.clip(image / image.max() * 255, 0, 255).astype(np.uint8))
    return path
