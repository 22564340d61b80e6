"""From a DICOM object to slices with geometry and pixels, whatever its kind: classic, enhanced or mosaic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_gateway.reading.attributes import SOP_INSTANCE_UID, string
from dicom_gateway.reading.decoding import Decode, decode_frame
from dicom_gateway.reading.enhanced import enhanced_frames, is_multi_frame
from dicom_gateway.reading.layout import PixelLayout
from dicom_gateway.reading.mosaic import is_mosaic, mosaic_tiles, tile_pixels
from dicom_gateway.reading.objects import ImageObject, object_of
from dicom_gateway.reading.pixels import rescaled, stored_frames
from dicom_gateway.reading.plane import FrameFacts, classic_frame, missing_geometry
from neuroscan_core.domain.errors import UnreadableObject
from neuroscan_core.domain.volume import FrameKey, Slice


def frames_of(header: Dataset) -> list[FrameFacts]:
    """Geometry and rescale of every slice of an object, without its pixels.

    Raises
    ------
    SeriesRejection
        The geometry is missing or the object holds several volumes.
    UndecodablePixels
        The header contradicts itself.
    """
    layout = PixelLayout.of(header)
    if is_multi_frame(header):
        return enhanced_frames(header, layout)
    if layout.num_frames > 1:
        raise missing_geometry("The object has several frames but does not state where they lie.")
    if is_mosaic(header):
        return mosaic_tiles(header, layout)
    return [classic_frame(header, layout)]


def slices_of(
    source: Dataset | ImageObject,
    *,
    frame_numbers: Sequence[int] | None = None,
    frames: Sequence[FrameFacts] | None = None,
    decode: Decode = decode_frame,
) -> Iterator[Slice]:
    """Slices of an object in order of their frame numbers.

    Parameters
    ----------
    source : Dataset or ImageObject
        A data set needs its pixel data and file meta information.
    frame_numbers : sequence of int, optional
        Only these, ascending from 1.
    frames : sequence of FrameFacts, optional
        What `frames_of` said, where the caller has asked already.
    decode : callable
        Decompresses frames; for objects from the network that of a `Sandbox`.

    Yields
    ------
    Slice
        Pixels are float32 after the modality rescale and belong to the caller.

    Raises
    ------
    SeriesRejection, UndecodablePixels, UnreadableObject
    """
    obj = object_of(source) if isinstance(source, Dataset) else source
    facts = {frame.number: frame for frame in (frames_of(obj.header) if frames is None else frames)}
    wanted = sorted(facts) if frame_numbers is None else sorted(set(frame_numbers))
    if not set(wanted) <= facts.keys():
        raise UnreadableObject("The object does not have the frames that are asked for.")
    layout = PixelLayout.of(obj.header)
    sop_instance_uid = string(obj.header, SOP_INSTANCE_UID)
    for number, stored_ji in _stored(obj, wanted, len(facts), decode):
        frame = facts[number]
        pixels_ji = rescaled(stored_ji, layout, frame.slope, frame.intercept)
        yield Slice(FrameKey(sop_instance_uid, number), frame.geometry, pixels_ji)


def _stored(
    obj: ImageObject, wanted: list[int], num_slices: int, decode: Decode
) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    if not is_mosaic(obj.header) or is_multi_frame(obj.header):
        yield from stored_frames(obj, wanted, decode=decode)
        return
    (_, mosaic_ji), *_ = stored_frames(obj, decode=decode)
    for number in wanted:
        yield number, tile_pixels(mosaic_ji, number, num_slices)
