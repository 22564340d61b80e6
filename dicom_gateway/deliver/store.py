"""What is stored and what the answer means: Part 10 files as C-STORE sees them, and C-STORE statuses. No network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from neuroscan_core.domain.errors import UndecodablePixels, UnreadableObject


@dataclass(frozen=True)
class StoredObject:
    """One Part 10 file on its way to a peer.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid, transfer_syntax_uid : str
        From the file meta information.
    size : int
        Of the file in bytes.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    size: int

    @property
    def context(self) -> tuple[str, str]:
        """SOP class and transfer syntax: what has to be negotiated for it."""
        return self.sop_class_uid, self.transfer_syntax_uid


def read_stored_object(path: Path) -> StoredObject:
    """Read the file meta information of a Part 10 file.

    Raises
    ------
    UnreadableObject
        Missing, not a Part 10 file, or without the UIDs that C-STORE needs.
    """
    try:
        meta = read_file_meta_info(path)
        size = path.stat().st_size
    except (OSError, InvalidDicomError, EOFError, ValueError) as exc:
        raise UnreadableObject(f"{path.name} cannot be read as DICOM: {exc}", remedy="Check the file.") from exc
    return StoredObject(
        path,
        _uid(meta, "MediaStorageSOPClassUID", path),
        _uid(meta, "MediaStorageSOPInstanceUID", path),
        _uid(meta, "TransferSyntaxUID", path),
        size,
    )


def _uid(meta: FileMetaDataset, keyword: str, path: Path) -> str:
    value = str(meta.get(keyword, "") or "")
    if not value:
        raise UnreadableObject(f"{path.name} has no {keyword} in its file meta information.", remedy="Check the file.")
    return value


def read_uncompressed(item: StoredObject) -> Dataset:
    """The object with native pixels, for a peer that does not accept its transfer syntax. Lossless.

    Raises
    ------
    UnreadableObject, UndecodablePixels
        The file is damaged.
    """
    try:
        ds = dcmread(item.path)
    except (OSError, InvalidDicomError, EOFError) as exc:
        raise UnreadableObject(f"{item.path.name} cannot be read as DICOM: {exc}", remedy="Check the file.") from exc
    if UID(item.transfer_syntax_uid).is_compressed:
        try:
            # The object keeps its identity: only its encoding on the wire differs.
            ds.decompress(generate_instance_uid=False)
        except (ValueError, RuntimeError, NotImplementedError, AttributeError) as exc:
            raise UndecodablePixels(f"{item.path.name} cannot be decompressed: {exc}") from exc
    return ds


NATIVE_SYNTAXES = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))


class Verdict(Enum):
    """What a C-STORE status means for the sender."""

    STORED = "stored"
    TRY_AGAIN = "try-again"
    REFUSED = "refused"


# PS3.4 table B.2-1 and PS3.7 annex C.
SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
SOP_CLASS_NOT_SUPPORTED = 0x0122
RESOURCE_LIMITATION = 0x0213

_SENTENCES = {
    PROCESSING_FAILURE: "the archive failed while it processed the object",
    0x0112: "the archive does not have the object",
    0x0115: "an argument value is invalid",
    0x0117: "the SOP Instance UID breaks the rules for UIDs",
    0x0119: "SOP class and SOP instance do not belong together",
    SOP_CLASS_NOT_SUPPORTED: "the archive does not accept this SOP class",
    0x0124: "this node is not authorised to store",
    0x0210: "the message was sent twice",
    0x0211: "the archive does not know the operation",
    0x0212: "an argument has the wrong type",
    RESOURCE_LIMITATION: "the archive is out of resources",
}
_TRANSIENT = frozenset({PROCESSING_FAILURE, RESOURCE_LIMITATION, 0x0210})


def judge(status: int) -> Verdict:
    """Class of a C-STORE status.

    A duplicate is success: the same UID always names the same bytes here, and an earlier response may have been lost.
    """
    if status in (SUCCESS, DUPLICATE_SOP_INSTANCE) or status >> 12 == 0xB:
        return Verdict.STORED
    if status >> 8 == 0xA7 or status in _TRANSIENT:
        return Verdict.TRY_AGAIN
    if status >> 8 == 0xA9 or status >> 12 == 0xC or status in _SENTENCES:
        return Verdict.REFUSED
    return Verdict.TRY_AGAIN


def explain(status: int) -> str:
    """A sentence about a status."""
    if status >> 8 == 0xA7:
        sentence = "the archive is out of resources"
    elif status >> 8 == 0xA9:
        sentence = "the archive says that the data set does not match its SOP class"
    elif status >> 12 == 0xC:
        sentence = "the archive cannot understand the object"
    else:
        sentence = _SENTENCES.get(status, "the archive reports a failure")
    return f"Status 0x{status:04X}: {sentence}."
