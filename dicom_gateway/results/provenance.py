"""What every result says about itself alike: whose it is, who made it, when and with what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from highdicom import ContributingEquipment
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag
from pydicom.uid import UID, MRImageStorage
from pydicom.valuerep import DA, DT, TM

from dicom_gateway.results.sources import SourceSlice
from dicom_gateway.results.uids import derived_uid
from neuroscan_core import __version__
from neuroscan_core.domain.segmentation import ModelIdentity

MANUFACTURER = "NeuroScan"
MODEL_NAME = "NeuroScan edge node"
RESEARCH_USE = "Research use only, not a medical device"
PLACEHOLDER_UID = "2.25.1"  # replaced before anything is written
IMPLEMENTATION_UID = derived_uid("implementation class")
IMPLEMENTATION_VERSION = f"NEUROSCAN_{__version__}"[:16]

# Type 1 or 2 attributes of the Patient and General Study modules. highdicom validates them; a clinic's own values are
# copied whatever they are, so it gets empty ones and the real ones follow.
_IDENTITY = (
    "SpecificCharacterSet", "AccessionNumber", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


def bare_header(source: SourceSlice) -> Dataset:
    """Header of a slice for highdicom: a single-frame MR image whose identity is left blank.

    Frames of enhanced objects and tiles of mosaics become single-frame images here; `seg` corrects the references.
    """
    header = source.header[:]
    for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", *_IDENTITY):
        if keyword in header:
            del header[keyword]
    for tag in _empty_sequences(header):
        del header[tag]
    for keyword in _IDENTITY[1:]:
        setattr(header, keyword, "" if keyword == "PatientBirthDate" or keyword[-4:] not in ("Date", "Time") else None)
    replace(
        header,
        SOPClassUID=MRImageStorage,
        Modality="MR",
        Rows=source.shape[0],
        Columns=source.shape[1],
        ImagePositionPatient=list(source.position),
        ImageOrientationPatient=list(source.orientation),
        PixelSpacing=list(source.spacing),
        SliceThickness=source.thickness or source.gap or source.spacing[0],
    )
    return header


def _empty_sequences(header: Dataset) -> list[BaseTag]:
    """Sequences without items, which optional attributes must not be (some scanners write them)."""
    empty = (tag for tag in header.keys() if not header.get_item(tag).value)  # noqa: SIM118 - no conversion
    return [tag for tag in empty if header[tag].VR == "SQ"]


def replace(ds: Dataset, **values: object) -> None:
    """Put new elements in place of those of `ds`, which may be shared with other data sets."""
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        ds[tag] = DataElement(tag, dictionary_VR(tag), value)


def restore_identity(result: Dataset, header: Dataset) -> None:
    """Copy patient and study attributes exactly as the source has them; absent ones become empty."""
    for keyword in _IDENTITY:
        if keyword in header:
            result[keyword] = header[keyword]
        elif keyword == "SpecificCharacterSet":
            result.pop("SpecificCharacterSet", None)
        else:
            setattr(result, keyword, "")


def identify(result: Dataset, *, sop_uid: str, series_uid: str, number: int, description: str, at_s: float) -> None:
    """Set identifiers, series and dates.

    The time is that of the last image, so that a repeated write gives the same bytes.
    """
    result.SOPInstanceUID = sop_uid
    result.SeriesInstanceUID = series_uid
    result.SeriesNumber = number
    result.SeriesDescription = description
    meta = result.file_meta
    meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    date, time = DA(moment(at_s).date()), TM(moment(at_s).time())
    for keyword in ("InstanceCreation", "Content", "Series"):
        setattr(result, f"{keyword}Date", date)
        setattr(result, f"{keyword}Time", time)


def moment(at_s: float) -> datetime:
    """Unix time as DICOM wants it: local, where no time zone is given; whole seconds."""
    return datetime.fromtimestamp(int(at_s))


def processing_equipment(model: ModelIdentity) -> ContributingEquipment:
    """Item of the Contributing Equipment Sequence for the node and its model (PS3.3 C.12.1.5)."""
    return ContributingEquipment(
        manufacturer=MANUFACTURER,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=MODEL_NAME,
        software_versions=(__version__, f"{model.name} {model.version}"[:64]),
        contribution_description=f"Model {model.name} {model.version}, SHA-256 {model.sha256}. {RESEARCH_USE}.",
    )


def add_equipment(result: Dataset, *models: ModelIdentity, at_s: float) -> None:
    """Insert the node, with each model, between the acquiring equipment and the library that highdicom names last."""
    *others, library = result.ContributingEquipmentSequence
    library.ContributionDateTime = DT(moment(at_s))
    result.ContributingEquipmentSequence = [*others, *map(processing_equipment, models), library]


def charset_of(header: Dataset) -> str | Sequence[str]:
    """SpecificCharacterSet of a header; the default repertoire where absent."""
    value: str | Sequence[str] = header.get("SpecificCharacterSet") or "ISO_IR 6"
    return value


def fitting(text: str, charset: str | Sequence[str], *, length: int = 64) -> str:
    """Shorten a text to a VR's length, with question marks for what the source's character set cannot write."""
    codec = convert_encodings(charset if isinstance(charset, str) else list(charset))[0]
    return text[:length].encode(codec, "replace").decode(codec).replace("\\", "/")


def series_description(what: str, header: Dataset, version: int, note: str) -> str:
    """Name of a result series: stable, with the version of the result (viewers show it as a label)."""
    series = f" of series {header.SeriesNumber}" if header.get("SeriesNumber") else ""
    full = f"{MANUFACTURER} {what} v{version}{series} {note}".strip()
    return fitting(full, charset_of(header))
