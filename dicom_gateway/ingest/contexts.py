"""What the storage SCP offers in association negotiation: SOP classes and transfer syntaxes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import (
    UID,
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    MRSpectroscopyStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES
from pynetdicom.presentation import PresentationContext

from dicom_gateway.ingest.header import is_uid
from neuroscan_core.domain.errors import ConfigurationError

VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_CLASSES: Final = (
    MRImageStorage,
    EnhancedMRImageStorage,
    EnhancedMRColorImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRSpectroscopyStorage,
    SecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

# pynetdicom takes the first of these that the peer proposes too, so what every reader can decode stands first.
_FIRST = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
TRANSFER_SYNTAXES: Final = (*_FIRST, *(uid for uid in ALL_TRANSFER_SYNTAXES if uid not in _FIRST))
_UNCOMPRESSED = (*_FIRST, "1.2.840.10008.1.2.2")


def storage_contexts(extra_sop_classes: Iterable[str]) -> list[PresentationContext]:
    """Contexts for Verification, MR, secondary capture and the configured classes, in every known transfer syntax.

    Raises
    ------
    ConfigurationError
        An entry is neither a UID nor the keyword of a SOP class.
    """
    classes = dict.fromkeys((*STORAGE_CLASSES, *(_sop_class_uid(name) for name in extra_sop_classes)))
    return [_context(VERIFICATION, _UNCOMPRESSED), *(_context(uid, TRANSFER_SYNTAXES) for uid in classes)]


def _context(abstract_syntax: str, transfer_syntaxes: Iterable[str]) -> PresentationContext:
    context = PresentationContext()
    context.abstract_syntax = UID(abstract_syntax)
    context.transfer_syntax = [UID(uid) for uid in transfer_syntaxes]
    return context


def _sop_class_uid(name: str) -> str:
    if is_uid(name):
        return name
    for uid, (_, kind, _, _, keyword) in UID_dictionary.items():
        if keyword == name and kind == "SOP Class":
            return uid
    raise ConfigurationError(
        f"gateway.extra_sop_classes: {name!r} is neither a UID nor the keyword of a SOP class.",
        remedy="Write it like 1.2.840.10008.5.1.4.1.1.2 or CTImageStorage.",
    )
