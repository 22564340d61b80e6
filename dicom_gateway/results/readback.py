"""A segmentation read back from the objects that were written of it: label map from the SEG, words from the SR.

The counterpart of `writer` for viewers that start late. Only objects of this node are read: what is not written by
`seg` and `sr` is not looked for. The label map is that which was written, voxel by voxel; sizes are measured again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from dicom_gateway.results.sr_groups import MOST_LIKELY_CLASS, PICTURE_CLASSIFICATION, probability_of
from dicom_gateway.results.uids import derived_uid
from neuroscan_core.domain.errors import UnreadableObject
from neuroscan_core.domain.events import SegmentationReady, SeriesCompleted
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation, Triage
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.pipeline.measure import finish_segmentation, measure_region
from neuroscan_core.pipeline.postprocess import remove_small_components

MAX_LABEL = 255
_WARNING = "Warning: "
_COMMENT, _ALGORITHM_NAME, _ALGORITHM_VERSION, _PARAMETERS = "121106", "111001", "111003", "111002"


def read_back(
    seg: Path | None, report: Path | None, completed: SeriesCompleted, cards: Mapping[str, ModelCard], model: str
) -> SegmentationReady:
    """Make the result of a series again from its files.

    Parameters
    ----------
    seg : Path or None
        None where nothing was found, so that no SEG was written.
    report : Path or None
        The SR, for warnings and the opinion of a classifier.
    completed : SeriesCompleted
        Of the version that was segmented.
    cards : mapping of str to ModelCard
        Cards of the bundles by name.
    model : str
        Name of the model where there is no SEG that says it.

    Raises
    ------
    UnreadableObject
        A file is damaged, is not there, or belongs to other slices.
    """
    if seg is None:
        labels_kji = np.zeros(completed.geometry.shape, np.uint8)
        card = cards.get(model)
        identity = ModelIdentity(model, card.version if card else "", card.onnx_sha256 if card else "")
    else:
        ds = _read(seg)
        identity = _identity(ds)
        labels_kji = _labels(ds, completed, identity.name)
        card = cards.get(identity.name)
    segmentation = _measured(labels_kji, completed, card)
    if report is not None:
        segmentation = _with_words(segmentation, _read(report), cards)
    return SegmentationReady(completed.series_instance_uid, completed.version, segmentation, identity)


def _read(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except (OSError, InvalidDicomError, ValueError) as exc:
        raise UnreadableObject(
            f"The result {path.name} cannot be read: {type(exc).__name__}.", remedy="It was purged, or is damaged."
        ) from exc


def _identity(ds: Dataset) -> ModelIdentity:
    try:
        # A label map describes its background as a segment of its own, which no algorithm made.
        made = [one for one in ds.SegmentSequence if "SegmentationAlgorithmIdentificationSequence" in one]
        algorithm = made[0].SegmentationAlgorithmIdentificationSequence[0]
        sha256 = str(algorithm.get("AlgorithmParameters", "")).partition("sha256=")[2]
        return ModelIdentity(str(algorithm.AlgorithmName), str(algorithm.AlgorithmVersion), sha256)
    except (AttributeError, IndexError, TypeError) as exc:
        raise UnreadableObject("A segmentation object does not say which model made it.") from exc


def _labels(ds: Dataset, completed: SeriesCompleted, model: str) -> npt.NDArray[np.uint8]:
    """Label map on the grid of the manifest."""
    index = {key: k for k, key in enumerate(completed.manifest)}
    labels_kji = np.zeros(completed.geometry.shape, np.uint8)
    try:
        value_of = _label_values(ds, completed.series_instance_uid, model)
        is_labelmap = str(ds.SegmentationType) == "LABELMAP"
        frames_nji = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
        for frame_ji, item in zip(frames_nji, ds.PerFrameFunctionalGroupsSequence, strict=True):
            k = index[_source_of(item)]
            if is_labelmap:
                for number, value in value_of.items():
                    labels_kji[k][frame_ji == number] = value
            else:
                labels_kji[k][frame_ji > 0] = value_of[_segment_of(item, ds)]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, NotImplementedError) as exc:
        raise UnreadableObject(
            f"A segmentation object does not fit its series ({type(exc).__name__}).",
            remedy="Send the series again; it is segmented anew.",
        ) from exc
    return labels_kji


def _label_values(ds: Dataset, series_uid: str, model: str) -> dict[int, int]:
    """Segment number -> value of the label map: the tracking UID was derived from it (see `ResultIdentity`)."""
    values = {derived_uid(series_uid, model, "region", str(value)): value for value in range(1, MAX_LABEL + 1)}
    return {int(segment.SegmentNumber): values[str(segment.TrackingUID)] for segment in ds.SegmentSequence
            if "TrackingUID" in segment}  # fmt: skip


def _source_of(item: Dataset) -> FrameKey:
    source = item.DerivationImageSequence[0].SourceImageSequence[0]
    number = source.get("ReferencedFrameNumber") or 1
    return FrameKey(str(source.ReferencedSOPInstanceUID), int(number))


def _segment_of(item: Dataset, ds: Dataset) -> int:
    holder = item if "SegmentIdentificationSequence" in item else ds.SharedFunctionalGroupsSequence[0]
    return int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _measured(labels_kji: npt.NDArray[np.uint8], completed: SeriesCompleted, card: ModelCard | None) -> Segmentation:
    known = {label.value for label in card.labels} if card else set()
    found = {int(value) for value in np.unique(labels_kji)} - {0}
    if card is not None and found <= known:
        return finish_segmentation(labels_kji, completed.geometry, completed.manifest, card)
    # The bundle is gone, or has other labels now: what was written still can be measured.
    measurements = []
    for value in sorted(found):
        mask_kji, num_components = remove_small_components(labels_kji == value, completed.geometry.voxel_volume_ml, 0.0)
        measurements.append(measure_region(value, mask_kji, num_components, completed.geometry, completed.manifest))
    return Segmentation(completed.geometry, completed.manifest, labels_kji, tuple(measurements))


# ------------------------------------------------------------------------------------------------------- the report


def _with_words(segmentation: Segmentation, ds: Dataset, cards: Mapping[str, ModelCard]) -> Segmentation:
    items = list(ds.get("ContentSequence", []))
    texts = [str(item.get("TextValue", "")) for item in items if _concept(item) == _COMMENT]
    warnings = tuple(text.removeprefix(_WARNING) for text in texts if text.startswith(_WARNING))
    return Segmentation(
        segmentation.geometry, segmentation.keys, segmentation.labels_kji, segmentation.measurements,
        segmentation.composites, warnings, _triage(items, cards),
    )  # fmt: skip


def _triage(items: Sequence[Dataset], cards: Mapping[str, ModelCard]) -> Triage | None:
    """The opinion of a classifier; None where there is none, or where its bundle is not known any more."""
    for outer in items:
        for item in outer.get("ContentSequence", []):
            if _concept(item) == PICTURE_CLASSIFICATION.value:
                return _triage_of(list(item.ContentSequence), cards)
    return None


def _triage_of(items: Sequence[Dataset], cards: Mapping[str, ModelCard]) -> Triage | None:
    said = {_concept(item): item for item in items}
    card = cards.get(str(said[_ALGORITHM_NAME].get("TextValue", ""))) if _ALGORITHM_NAME in said else None
    if card is None or MOST_LIKELY_CLASS.value not in said:
        return None
    numbers = []
    for entry in card.classes:
        item = said.get(probability_of(entry.code.value, entry.code.meaning).value)
        if item is None:
            return None
        numbers.append(float(item.MeasuredValueSequence[0].NumericValue))
    parameters = str(said[_PARAMETERS].TextValue) if _PARAMETERS in said else ""
    version = str(said[_ALGORITHM_VERSION].TextValue) if _ALGORITHM_VERSION in said else ""
    model = ModelIdentity(card.name, version, parameters.partition("sha256=")[2])
    # What it said of single slices is not in the report.
    return Triage(model, tuple(entry.code for entry in card.classes), tuple(numbers), (), ())


def _concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].get("CodeValue", "")) if names else ""
