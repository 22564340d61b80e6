"""Files for a person to keep: NIfTI of volume and labels, PNG of a slice. Nothing in them tells who the patient is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import CaseNotFound
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.viewer.cases.case import Download
from neuroscan_core.viewer.picture import encode_png, tint

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NIFTI_MEDIA_TYPE = "application/gzip"
_UNITS = "mm"


def nifti_bytes(array_kji: npt.NDArray[Any], geometry: StackGeometry, *, description: str = "") -> bytes:
    """A gzipped NIfTI-1 file; axes i, j, k as the images have them, affine in RAS mm.

    Parameters
    ----------
    array_kji : ndarray of uint8 or float32, shape (slices, rows, columns)
    geometry : StackGeometry
    description : str
        At most 79 characters of ASCII.
    """
    import gzip

    import nibabel

    nifti: Any = nibabel  # it has no types
    image = nifti.Nifti1Image(np.ascontiguousarray(array_kji).T, _LPS_TO_RAS @ geometry.affine_lps)
    image.header.set_xyzt_units(_UNITS)
    image.set_sform(image.affine, code="scanner")
    image.set_qform(image.affine, code="scanner")
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def png_bytes(
    values_ji: npt.NDArray[np.float32],
    labels_ji: npt.NDArray[np.uint8] | None,
    window: Mapping[str, float],
    colours: Mapping[int, str],
    aspect: float = 1.0,
) -> bytes:
    """A slice with its labels tinted and outlined.

    Parameters
    ----------
    values_ji : ndarray of float32, shape (rows, columns)
    labels_ji : ndarray of uint8 or None, shape (rows, columns)
    window : mapping
        ``low`` and ``high``: values that are black and white.
    colours : mapping of int to str
        Label -> ``#rrggbb``.
    aspect : float
        Height of a pixel over its width.
    """
    import cv2

    span = max(window["high"] - window["low"], 1e-6)
    grey_ji = np.clip((values_ji - window["low"]) * (255.0 / span), 0, 255).astype(np.uint8)
    labels = np.zeros(grey_ji.shape, np.uint8) if labels_ji is None else np.ascontiguousarray(labels_ji)
    picture = tint(grey_ji, labels, lambda label: _bgr(colours.get(label, "#e69f00")))
    if not 0.999 < aspect < 1.001:
        height, width = picture.shape[:2]
        size = (width, round(height * aspect)) if aspect > 1 else (round(width / aspect), height)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return encode_png(picture)


def make_download(
    kind: str,
    case_id: str,
    segmentation_id: str | None,
    geometry: StackGeometry,
    voxels_kji: npt.NDArray[np.float32],
    labels_kji: npt.NDArray[np.uint8] | None,
    *,
    window: Mapping[str, float],
    colours: Mapping[int, str],
    k: int | None = None,
    number: int | None = None,
) -> Download:
    """What can be made of any case: ``NIfTI`` (labels), ``volume`` (NIfTI of the voxels) and ``PNG``.

    Parameters
    ----------
    k : int, optional
        Slice along the normal for PNG; default: the one with the largest labelled area, else the middle one.
    number : int, optional
        How that slice is called in the name of the file.

    Raises
    ------
    CaseNotFound
        Another kind, a slice that is not there, or labels of a case without segmentation.
    """
    stem = f"neuroscan-{case_id}"
    labelled = f"{stem}-{segmentation_id}" if segmentation_id else stem
    if kind == "volume":
        content = nifti_bytes(voxels_kji, geometry, description="NeuroScan, research use only")
        return Download(f"{stem}.nii.gz", NIFTI_MEDIA_TYPE, content)
    if kind == "NIfTI":
        if labels_kji is None:
            raise CaseNotFound("There is no segmentation (yet).")
        content = nifti_bytes(labels_kji, geometry, description="NeuroScan labels, research use only")
        return Download(f"{labelled}-labels.nii.gz", NIFTI_MEDIA_TYPE, content)
    if kind == "PNG":
        if k is None:
            k = len(voxels_kji) // 2
            if labels_kji is not None and labels_kji.any():
                k = int(np.argmax(np.count_nonzero(labels_kji, axis=(1, 2))))
        if not 0 <= k < len(voxels_kji):
            raise CaseNotFound("There is no such slice.")
        row_mm, column_mm = geometry.first.spacing_mm
        labels_ji = None if labels_kji is None else labels_kji[k]
        content = png_bytes(voxels_kji[k], labels_ji, window, colours, row_mm / column_mm)
        return Download(f"{labelled}-slice-{k if number is None else number}.png", "image/png", content)
    raise CaseNotFound(f"There is no download of the kind {kind[:32]}.")


def _bgr(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return (blue, green, red)
