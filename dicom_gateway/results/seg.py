"""The segmentation object (PS3.3 A.51), built by highdicom on the source grid.

`segmentation` is the plain way, for every encoding, and the measure of correctness. `shell` is what of it can be made
before the last image is there; `seg_bytes` completes that for BINARY in a few milliseconds, with the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.seg import Segmentation as HighdicomSegmentation
from highdicom.seg import SegmentationFractionalTypeValues, SegmentDescription
from highdicom.spatial import VOLUME_INDEX_CONVENTION, get_normal_vector, get_volume_positions
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless
from pydicom.valuerep import format_number_as_ds

from dicom_gateway.results import provenance
from dicom_gateway.results.segments import Segment, descriptions
from dicom_gateway.results.sources import SPACING_TOLERANCE, CompanionSeries, SourceSlice
from dicom_gateway.results.translation import foreign_errors
from dicom_gateway.results.uids import ResultIdentity
from neuroscan_core import __version__
from neuroscan_core.config import SegFormat
from neuroscan_core.domain.errors import ConfigurationError

CONTENT_LABEL = "NEUROSCAN"
LABELMAP_SOP_CLASS_UID = UID("1.2.840.10008.5.1.4.1.1.66.7")
BINARY_SOP_CLASS_UID = UID("1.2.840.10008.5.1.4.1.1.66.4")
SERIES_NUMBER_OFFSETS = {SegFormat.BINARY: 0, SegFormat.LABELMAP: 1, SegFormat.FRACTIONAL: 2}


@dataclass(frozen=True, eq=False)
class SegContent:
    """Everything a SEG is made of.

    Parameters
    ----------
    identity : ResultIdentity
    slices : sequence of SourceSlice
        All slices of the series, ordered along the normal.
    segments : sequence of Segment
        At least one; see `segments.segments_of`.
    spacing_mm : float
        Measured distance of neighbouring slices.
    at_s : float
        Unix time of the last image.
    series_number : int
    series_description : str
    device_name : str
        AE title of the node: what tells one node from another, so it stands as DeviceSerialNumber.
    omit_empty_frames : bool
    companions : sequence of CompanionSeries
        Other series that it was made from; frames refer to `slices`, on whose grid they lie.
    """

    identity: ResultIdentity
    slices: Sequence[SourceSlice]
    segments: Sequence[Segment]
    spacing_mm: float
    at_s: float
    series_number: int
    series_description: str
    device_name: str = "NEUROSCAN"
    omit_empty_frames: bool = True
    companions: Sequence[CompanionSeries] = ()

    @property
    def header(self) -> Dataset:
        """Header that patient and study are copied from: the first slice's."""
        return self.slices[0].header

    def label_map(self) -> npt.NDArray[np.uint8]:
        """Segment numbers per voxel, shape (slices, rows, columns).

        Raises
        ------
        ConfigurationError
            Segments overlap, so that there is no such map.
        """
        numbers_kji = np.zeros((len(self.slices), *self.slices[0].shape), np.uint8)
        for segment in self.segments:
            planes_pji = numbers_kji[segment.plane_indices]
            if planes_pji[segment.mask_pji].any():
                raise ConfigurationError(
                    "Regions overlap, which only the encoding BINARY can hold.", remedy="Set seg_format: BINARY."
                )
            planes_pji[segment.mask_pji] = segment.number
            numbers_kji[segment.plane_indices] = planes_pji
        return numbers_kji

    def stacked_masks(self) -> npt.NDArray[np.uint8]:
        """Masks of all segments, shape (slices, rows, columns, segments)."""
        masks_kjis = np.zeros((len(self.slices), *self.slices[0].shape, len(self.segments)), np.uint8)
        for s, segment in enumerate(self.segments):
            masks_kjis[segment.plane_indices, :, :, s] = segment.mask_pji
        return masks_kjis


def sop_class_of(encoding: SegFormat) -> UID:
    """SOP class of an encoding. Label map storage is not among the presentation contexts that pynetdicom lists."""
    return LABELMAP_SOP_CLASS_UID if encoding is SegFormat.LABELMAP else BINARY_SOP_CLASS_UID


def segmentation(content: SegContent, encoding: SegFormat) -> HighdicomSegmentation:
    """Build the complete object, pixels included.

    FRACTIONAL holds 0 and 255 as occupancy: the node keeps label maps, not probabilities.
    """
    header = content.header
    described = descriptions(content.segments, content.identity, provenance.charset_of(header))
    is_labelmap = encoding is SegFormat.LABELMAP
    sources = bare_sources(content.slices)
    result = _construct(
        sources,
        content.label_map() if is_labelmap else content.stacked_masks(),
        encoding,
        described,
        omit_empty_frames=content.omit_empty_frames,
    )
    by_placeholder = {str(bare.SOPInstanceUID): s for bare, s in zip(sources, content.slices, strict=True)}
    for frame in result.PerFrameFunctionalGroupsSequence:
        _refer_to_true_source(frame, by_placeholder)
    references = [reference_item(source) for source in _objects(content.slices)]
    result.SourceImageSequence = references
    result.ReferencedSeriesSequence[0].ReferencedInstanceSequence = references
    result.ReferencedSeriesSequence.extend(companion_item(companion) for companion in content.companions)
    _pad_with_zero(result)
    if is_labelmap:
        # Not left to highdicom: it may choose GDCM, whose encoder ends the process on frames of an odd size.
        result.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    finish(result, content, encoding)
    return result


def shell(source: SourceSlice) -> Dataset:
    """A SEG of one voxel of the first slice: all that does not depend on other slices, the model and the masks."""
    mask_kjis = np.zeros((1, *source.shape, 1), np.uint8)
    mask_kjis[0, 0, 0, 0] = 1
    algorithm = hd.AlgorithmIdentificationSequence("-", codes.DCM.ArtificialIntelligence, "-")
    tissue = SegmentDescription(1, "-", codes.SCT.Tissue, codes.SCT.Tissue, "AUTOMATIC", algorithm)
    with foreign_errors("A segmentation object cannot be built around the header of an image"):
        made = _construct(bare_sources([source]), mask_kjis, SegFormat.BINARY, [tissue], omit_empty_frames=True)
    # highdicom's object carries an index in SQLite that only the thread that made it may use or copy.
    plain = Dataset(made)
    plain.file_meta = made.file_meta
    return plain


def bare_sources(slices: Sequence[SourceSlice]) -> list[Dataset]:
    """Headers for highdicom, with placeholders for UIDs so that frames of one object are told apart."""
    headers = []
    for k, source in enumerate(slices):
        header = provenance.bare_header(source)
        provenance.replace(
            header,
            SOPInstanceUID=f"{provenance.PLACEHOLDER_UID}.{k + 1}",
            ImageOrientationPatient=list(slices[0].orientation),  # equal within the viewers' tolerance
        )
        headers.append(header)
    return headers


def _construct(
    sources: Sequence[Dataset],
    pixels: npt.NDArray[np.uint8],
    encoding: SegFormat,
    described: Sequence[SegmentDescription],
    *,
    omit_empty_frames: bool,
) -> HighdicomSegmentation:
    return HighdicomSegmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=encoding.value,
        segment_descriptions=described,
        series_instance_uid=provenance.PLACEHOLDER_UID,
        series_number=1,
        sop_instance_uid=provenance.PLACEHOLDER_UID,
        instance_number=1,
        manufacturer=provenance.MANUFACTURER,
        manufacturer_model_name=provenance.MODEL_NAME,
        software_versions=__version__,
        device_serial_number="-",
        fractional_type=SegmentationFractionalTypeValues.OCCUPANCY,
        content_description=provenance.RESEARCH_USE,
        content_label=CONTENT_LABEL,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=omit_empty_frames,
    )


def _pad_with_zero(result: Dataset) -> None:
    """Make the byte that pads an odd BINARY pixel value zero (PS3.5 8.1.1)."""
    num_bits = int(result.NumberOfFrames) * int(result.Rows) * int(result.Columns) * int(result.BitsAllocated)
    if -(-num_bits // 8) % 2:
        result.PixelData = bytes(result.PixelData[:-1]) + b"\0"


def finish(result: Dataset, content: SegContent, encoding: SegFormat) -> None:
    """Set what highdicom does not copy literally, and what makes a repeated write give the same bytes."""
    provenance.restore_identity(result, content.header)
    provenance.identify(
        result,
        sop_uid=content.identity.instance_uid("SEG", encoding.value),
        series_uid=content.identity.series_uid("SEG", encoding.value),
        number=content.series_number,
        description=content.series_description,
        at_s=content.at_s,
    )
    provenance.add_equipment(result, content.identity.model, at_s=content.at_s)
    result.DeviceSerialNumber = content.device_name
    organization_uid = content.identity.dimension_organization_uid(encoding.value)
    result.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization_uid
    for index in result.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization_uid
    shared = result.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(content.slices[0].orientation)
    measures = shared.PixelMeasuresSequence[0]
    measures.PixelSpacing = list(content.slices[0].spacing)
    measures.SpacingBetweenSlices = _gap(content)
    measures.SliceThickness = content.slices[0].thickness or measures.SpacingBetweenSlices


def _gap(content: SegContent) -> str:
    text = content.slices[0].gap
    if text and abs(float(text) - content.spacing_mm) <= SPACING_TOLERANCE * content.spacing_mm:
        return text
    return str(format_number_as_ds(content.spacing_mm))


def _refer_to_true_source(frame: Dataset, by_placeholder: dict[str, SourceSlice]) -> None:
    item = frame.DerivationImageSequence[0].SourceImageSequence[0]
    source = by_placeholder[str(item.ReferencedSOPInstanceUID)]
    frame.DerivationImageSequence[0].SourceImageSequence = [source_item(source)]
    frame.PlanePositionSequence[0].ImagePositionPatient = list(source.position)


def source_item(source: SourceSlice) -> Dataset:
    """Item of the Source Image Sequence of a frame (PS3.3 C.7.6.16.2.6)."""
    item = reference_item(source)
    if source.frame_number is not None:
        item.ReferencedFrameNumber = source.frame_number
    item.SpatialLocationsPreserved = "YES" if source.is_on_grid else "NO"
    purpose = codes.cid7202.SourceImageForImageProcessingOperation
    item.PurposeOfReferenceCodeSequence = [hd.sr.CodedConcept.from_code(purpose)]
    return item


def reference_item(source: SourceSlice) -> Dataset:
    """Reference to the object of a slice."""
    return instance_item(source.sop_class_uid, source.key.sop_instance_uid)


def instance_item(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Reference to an object (PS3.3 table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def companion_item(companion: CompanionSeries) -> Dataset:
    """Item of the Referenced Series Sequence for a series on another grid. Viewers look at the first item alone."""
    item = Dataset()
    item.ReferencedInstanceSequence = [
        instance_item(sop_class_uid, sop_instance_uid) for sop_instance_uid, sop_class_uid in companion.objects.items()
    ]
    item.SeriesInstanceUID = companion.series_instance_uid
    return item


def _objects(slices: Sequence[SourceSlice]) -> list[SourceSlice]:
    """One slice of each object, in order."""
    return list({source.key.sop_instance_uid: source for source in reversed(slices)}.values())[::-1]


def frame_order(slices: Sequence[SourceSlice]) -> list[int]:
    """Indices of slices in the order in which highdicom writes frames."""
    normal = get_normal_vector(_numbers(slices[0].orientation), index_convention=VOLUME_INDEX_CONVENTION)
    order: list[int] = np.argsort(np.array([s.position_mm for s in slices]) @ normal, kind="stable").tolist()
    return order


def is_regular(slices: Sequence[SourceSlice]) -> bool:
    """Whether these slices, in their order, form a volume to which DimensionOrganizationType 3D applies."""
    spacing, _ = get_volume_positions([s.position_mm for s in slices], _numbers(slices[0].orientation), sort=False)
    return len(slices) > 1 and spacing is not None and spacing > 0


def _numbers(texts: Sequence[str]) -> list[float]:
    return [float(text) for text in texts]
