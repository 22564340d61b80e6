"""NIfTI files in and out: any orientation of the axes, the header of the input kept.

NIfTI's world is RAS, ours LPS, both in mm. An image array (i, j, k) whose axes are orthogonal becomes a volume
(k, j, i); where its axes are left-handed the slice order is turned, so that slices run along their normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection, UnreadableObject
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.offline import segment_volume
from neuroscan_core.ports import InferenceEngine

MAX_COSINE = 1e-2  # between axes; more is a shear
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class NiftiVolume:
    """A volume with what is needed to write labels beside it.

    Parameters
    ----------
    volume : Volume
    image : nibabel image
        As read.
    is_turned : bool
        Whether the order of slices was reversed.
    """

    volume: Volume
    image: Any  # nibabel has no type information
    is_turned: bool


def read_nifti(path: Path) -> NiftiVolume:
    """Read a three-dimensional NIfTI image.

    Raises
    ------
    UnreadableObject
        It is no NIfTI file, or not one volume.
    SeriesRejection
        ``gantry-tilt`` where its axes are not orthogonal.
    """
    import nibabel

    try:
        image: Any = nibabel.load(path)
        voxels_ijk = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as exc:
        raise UnreadableObject(f"{path} is not a NIfTI image: {exc}.") from exc
    while voxels_ijk.ndim > 3 and voxels_ijk.shape[-1] == 1:
        voxels_ijk = voxels_ijk[..., 0]
    if voxels_ijk.ndim != 3:
        raise UnreadableObject(f"{path} has the shape {voxels_ijk.shape}.", remedy="Give one volume per file.")
    affine_lps = _RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64)
    is_turned = bool(np.linalg.det(affine_lps[:3, :3]) < 0)
    voxels_kji = voxels_ijk.T
    if is_turned:
        voxels_kji = voxels_kji[::-1]
        affine_lps[:3, 3] += affine_lps[:3, 2] * (len(voxels_kji) - 1)
        affine_lps[:3, 2] *= -1.0
    geometry = _geometry(affine_lps, voxels_kji.shape)
    keys = tuple(FrameKey(path.name, k + 1) for k in range(len(voxels_kji)))
    return NiftiVolume(Volume(geometry, keys, voxels_kji), image, is_turned)


def write_labels(labels_kji: npt.NDArray[np.uint8], source: NiftiVolume, path: Path) -> None:
    """Write a label map on the grid of the image that it was made from.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    import nibabel

    ordered_kji = labels_kji[::-1] if source.is_turned else labels_kji
    labels_ijk = np.ascontiguousarray(ordered_kji.T).reshape(source.image.shape)
    header = source.image.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    nibabel.save(type(source.image)(labels_ijk, source.image.affine, header), path)


def segment_nifti(path_in: Path, path_out: Path, engine: InferenceEngine) -> Segmentation:
    """Segment a NIfTI image and write the label map as NIfTI.

    Raises
    ------
    UnreadableObject, SeriesRejection
        See `read_nifti` and `segment_volume`.
    """
    source = read_nifti(path_in)
    segmentation = segment_volume(source.volume, engine)
    write_labels(segmentation.labels_kji, source, path_out)
    return segmentation


def _geometry(affine_lps: npt.NDArray[np.float64], shape_kji: tuple[int, ...]) -> StackGeometry:
    spacing_mm = np.linalg.norm(affine_lps[:3, :3], axis=0)
    if not np.all(np.isfinite(affine_lps)) or spacing_mm.min() <= 0:
        raise SeriesRejection(RejectionCode.MISSING_GEOMETRY, "The image has no usable affine.")
    directions = affine_lps[:3, :3] / spacing_mm
    if np.abs(directions.T @ directions - np.eye(3)).max() > MAX_COSINE:
        raise SeriesRejection(
            RejectionCode.GANTRY_TILT, "The axes of the image are not orthogonal.", remedy="Resample it without shear."
        )
    x, y, z = (float(c) for c in affine_lps[:3, 3])
    xi, yi, zi, xj, yj, zj = (float(c) for c in (*directions[:, 0], *directions[:, 1]))
    first = SliceGeometry(
        position_mm=(x, y, z),
        orientation=(xi, yi, zi, xj, yj, zj),
        spacing_mm=(float(spacing_mm[1]), float(spacing_mm[0])),
        shape=(shape_kji[1], shape_kji[2]),
    )
    return StackGeometry(first, float(spacing_mm[2]), shape_kji[0])
