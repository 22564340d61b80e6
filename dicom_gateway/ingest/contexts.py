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

# For senders that have no preference, what every reader can decode stands first.
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


def in_order(context: PresentationContext, preferred: Iterable[str]) -> PresentationContext:
    """The same context with the preferred ones of its transfer syntaxes first."""
    supported = set(context.transfer_syntax)
    first = [uid for uid in dict.fromkeys(preferred) if uid in supported]
    if not first:
        return context
    reordered = _context(str(context.abstract_syntax), dict.fromkeys((*first, *context.transfer_syntax)))
    reordered.scu_role, reordered.scp_role = context.scu_role, context.scp_role
    return reordered


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
