"""Reading whole series from files: the offline way, for the command line, for tests and for training.

The gateway reads series slice by slice instead (`dicom_gateway.assembly`) with the same parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from dicom_gateway.reading.attributes import SERIES_INSTANCE_UID, string
from dicom_gateway.reading.objects import ImageObject, open_object
from dicom_gateway.reading.policy import classify
from dicom_gateway.reading.slices import slices_of
from dicom_gateway.reading.stack import SliceStack
from neuroscan_core.config import SeriesConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection, UndecodablePixels, UnreadableObject
from neuroscan_core.domain.volume import FrameKey, Slice, Volume, VolumeOrRejection
from neuroscan_core.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, eq=False)
class SourceSeries(VolumeOrRejection):
    """One series of a folder: a volume, or the reason why it is none.

    Parameters
    ----------
    series_instance_uid : str
    headers : tuple of Dataset
        Without pixels; along the slice normal where there is a volume, else in order of the files.
    volume : Volume or None
    rejection : SeriesRejection or None
        Exactly one of the two is None.
    """

    series_instance_uid: str
    headers: tuple[Dataset, ...]
    volume: Volume | None = None
    rejection: SeriesRejection | None = None


def dicom_files(paths: Iterable[Path]) -> list[Path]:
    """Files as named, and all files below the folders among them, in stable order."""
    files: list[Path] = []
    for path in paths:
        files += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return files


def read_series(paths: Sequence[Path], config: SeriesConfig) -> list[SourceSeries]:
    """Read every series among files and folders.

    Parameters
    ----------
    paths : sequence of Path
        Files that are not DICOM images are left out, with a warning in the log.
    config : SeriesConfig
        What is accepted.

    Returns
    -------
    list of SourceSeries
        In order of the first file of each.

    Raises
    ------
    UnreadableObject
        A file that was named (not found in a folder) cannot be read.
    """
    named = {path for path in paths if not path.is_dir()}
    by_uid: dict[str, list[ImageObject]] = {}
    for path in dicom_files(paths):
        try:
            obj = open_object(path)
        except UnreadableObject:
            if path in named:
                raise
            log.warning("not a DICOM object, left out", file=path.name)
            continue
        by_uid.setdefault(string(obj.header, SERIES_INSTANCE_UID), []).append(obj)
    return [_read_one(series_uid, objects, config) for series_uid, objects in by_uid.items()]


def _read_one(series_uid: str, objects: Sequence[ImageObject], config: SeriesConfig) -> SourceSeries:
    headers = {str(obj.header.SOPInstanceUID): obj.header for obj in objects}
    try:
        volume = _volume_of(objects, config)
    except UndecodablePixels as exc:
        rejection = SeriesRejection(RejectionCode.UNDECODABLE, exc.message, remedy=exc.remedy)
        rejection.__cause__ = exc
        return SourceSeries(series_uid, tuple(headers.values()), rejection=rejection)
    except SeriesRejection as exc:
        return SourceSeries(series_uid, tuple(headers.values()), rejection=exc)
    ordered = dict.fromkeys(key.sop_instance_uid for key in volume.keys)
    return SourceSeries(series_uid, tuple(headers[uid] for uid in ordered), volume=volume)


def _volume_of(objects: Sequence[ImageObject], config: SeriesConfig) -> Volume:
    stack = SliceStack(config)
    slices: dict[FrameKey, Slice] = {}
    for obj in objects:
        classify(obj.header, config)
        for one in slices_of(obj):
            stack.add(one.key, one.geometry)
            slices[one.key] = one
    geometry, manifest = stack.judge()
    return Volume(geometry, manifest, np.stack([slices[key].pixels_ji for key in manifest]))
