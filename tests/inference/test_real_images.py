"""The bundled model on real images: sanity, not science; what it reaches is in its card."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from neuroscan_core.domain.errors import SeriesRejection
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.volume import FrameKey, Slice, Volume
from neuroscan_core.inference.bundle import Bundle, find_bundles
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine, has_quantised_file
from neuroscan_core.nifti import read_nifti, segment_nifti
from neuroscan_core.offline import segment_volume
from neuroscan_core.pipeline.brainlike import require_brain
from neuroscan_core.pipeline.reformat import AxialReformat
from neuroscan_core.pipeline.streaming import StreamingSegmenter, segment_windows
from neuroscan_core.pipeline.window25d import is_axial, prepare_slice

MODEL = "mobilenetv2-unet-flair"
LGG_CASE = "TCGA_HT_7605_19950916"  # of the test part of the model's split
BRATS_CASE = "Brats18_TCIA02_135_1"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    bundles = find_bundles()
    if MODEL not in bundles:
        pytest.skip("the model is not bundled")
    return bundles[MODEL]


def dice(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def lgg_case(shared_data: Path) -> tuple[Volume, npt.NDArray[np.bool_]]:
    folder = shared_data / "lgg_flair" / LGG_CASE
    paths = sorted((p for p in folder.glob("*.png") if "mask" not in p.stem), key=lambda p: int(p.stem.split("_")[-1]))
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    masks = [cv2.imread(str(path.with_name(f"{path.stem}_mask.png")), cv2.IMREAD_GRAYSCALE) for path in paths]
    # The pictures tell neither spacing nor position; these stand in.
    first = SliceGeometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0), (256, 256))
    keys = tuple(FrameKey(path.stem) for path in paths)
    volume = Volume(StackGeometry(first, 5.0, len(images)), keys, np.stack(images).astype(np.float32))
    return volume, np.stack(masks) > 0


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_glioma_in_a_head_with_skull_is_found(bundle: Bundle, precision: str, shared_data: Path) -> None:
    if precision == "int8" and not has_quantised_file(bundle):
        pytest.skip("the model has no INT8 file")
    volume, truth = lgg_case(shared_data)
    with OnnxRuntimeEngine(bundle, precision=precision) as engine:
        segmentation = segment_volume(volume, engine)
    assert dice(segmentation.labels_kji > 0, truth) > 0.75
    (measured,) = segmentation.measurements
    assert measured.diameter is not None
    assert measured.diameter.long_mm > measured.diameter.short_mm > 5


def test_streamed_equals_batch_on_a_real_head(bundle: Bundle, shared_data: Path) -> None:
    volume, _ = lgg_case(shared_data)
    slices = [Slice(key, volume.geometry.slice_geometry(k), volume.voxels_kji[k]) for k, key in enumerate(volume.keys)]
    random.Random(4).shuffle(slices)
    with OnnxRuntimeEngine(bundle, threads=2) as engine:
        streaming = StreamingSegmenter(engine.card, slice_spacing_mm=5.0)
        for arrived in slices:
            streaming.add(arrived)
            windows = streaming.ready(3)
            for window, labels in zip(windows, segment_windows(engine, windows), strict=True):
                streaming.accept(window, labels)
        streaming.complete(volume.keys, volume.geometry)
        while windows := streaming.ready(4):
            for window, labels in zip(windows, segment_windows(engine, windows), strict=True):
                streaming.accept(window, labels)
        whole = segment_volume(volume, engine)
    assert np.array_equal(streaming.result().labels_kji, whole.labels_kji)
    assert streaming.result().measurements == whole.measurements


def test_a_nifti_volume_is_segmented_on_its_own_grid(bundle: Bundle, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "brats_volumes_u8" / BRATS_CASE
    source = read_nifti(folder / f"{BRATS_CASE}_flair.nii.gz")
    # A third of the slices is enough to see that places agree, and takes a third of the time.
    thinned = tmp_path / "in.nii.gz"
    import nibabel

    nibabel.save(source.image.slicer[:, :, ::3], thinned)
    with OnnxRuntimeEngine(bundle) as engine:
        segment_nifti(thinned, tmp_path / "out.nii.gz", engine)
    found = np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj) > 0
    truth = np.asarray(nibabel.load(folder / f"{BRATS_CASE}_seg.nii.gz").dataobj)[:, :, ::3] > 0
    assert dice(found, truth) > 0.6


@pytest.mark.parametrize(
    ("folder", "is_head"),
    [
        ("philips_elition_pcasl_classic", True),
        ("philips_elition_pcasl_enhanced", True),
        ("siemens_prisma_xa30_enhanced_t1w", True),
        ("toshiba_galan_dwi_b0", True),
        ("philips_achieva_enhanced_b0", False),  # a bottle
        ("ge_signa_pioneer_t1_mprage", False),  # a line phantom
    ],
)
def test_heads_of_all_makers_pass_and_phantoms_do_not(
    bundle: Bundle, shared_data: Path, folder: str, is_head: bool
) -> None:
    stack = [prepare_slice(arrived, bundle.card) for arrived in axial_slices(shared_data / "dicom_mr" / folder)]
    if is_head:
        require_brain(stack)
    else:
        with pytest.raises(SeriesRejection, match="does not look like a head"):
            require_brain(stack)


def axial_slices(folder: Path) -> list[Slice]:
    """The frames of a series by offset, reformatted where it is not axial."""
    slices = sorted(
        (arrived for path in sorted(folder.iterdir()) for arrived in frames(path)), key=lambda s: s.geometry.offset_mm
    )
    first, second = slices[0].geometry, slices[1].geometry
    if is_axial(first):
        return slices
    stack = StackGeometry(first, second.offset_mm - first.offset_mm, len(slices))
    return list(AxialReformat.of(stack).slices(np.stack([arrived.pixels_ji for arrived in slices])))


def frames(path: Path) -> list[Slice]:
    """Frames of a classic or enhanced object, read plainly, without the gateway."""
    import pydicom

    ds = pydicom.dcmread(path)
    pixels = np.asarray(ds.pixel_array, dtype=np.float32)
    if pixels.ndim == 2:
        parts = [(ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing, pixels)]
    else:
        shared = ds.SharedFunctionalGroupsSequence[0]
        parts = []
        for group, image in zip(ds.PerFrameFunctionalGroupsSequence, pixels, strict=True):
            plane = (group if "PlaneOrientationSequence" in group else shared).PlaneOrientationSequence[0]
            measures = (group if "PixelMeasuresSequence" in group else shared).PixelMeasuresSequence[0]
            position = group.PlanePositionSequence[0].ImagePositionPatient
            parts.append((position, plane.ImageOrientationPatient, measures.PixelSpacing, image))
    return [
        Slice(
            FrameKey(path.name, n + 1),
            SliceGeometry(
                tuple(map(float, position)),  # type: ignore[arg-type]
                tuple(map(float, orientation)),  # type: ignore[arg-type]
                tuple(map(float, spacing)),  # type: ignore[arg-type]
                image.shape,
            ),
            image,
        )
        for n, (position, orientation, spacing, image) in enumerate(parts)
    ]
