"""Every error that NeuroScan raises on purpose.

    NeuroScanError
    ├── ConfigurationError          a key of the configuration file is wrong or missing
    ├── ModelError
    │   ├── InvalidBundle           card, hash or shapes of a model bundle disagree
    │   ├── EngineRefused           an engine does not agree with the reference of its bundle
    │   └── EngineUnavailable       the engine that was asked for cannot run on this machine
    │       └── EngineUnreachable   the server that executes the networks does not answer; it may come back
    ├── DicomError
    │   ├── UnreadableObject        the bytes are not a DICOM object that can be used
    │   ├── UndecodablePixels       the pixel data does not decode
    │   └── IdentityConflict        a SOP Instance UID came again with other contents
    ├── SeriesRejection             the series must not be segmented (carries a RejectionCode)
    ├── BusError
    │   ├── RequestTimeout          nobody answered in time
    │   ├── RequestRefused          the server answered with an error
    │   └── WireFormatError         a message does not decode
    ├── StorageError
    │   ├── DiskFull                the watermark of free space is reached
    │   └── JournalError            the journal cannot be read or written
    ├── CaseError                   a case of the viewer cannot give what was asked for
    │   ├── CaseNotFound            there is no such case, or it has nothing of the kind
    │   ├── CaseNotReady            what was asked for is being made; ask again
    │   └── CaseConflict            the state of the case does not allow it
    ├── DeliveryError
    │   ├── DestinationUnreachable  no association with the destination
    │   └── DestinationRefused      the destination answered with a failure status
    └── WebProblem                  a request of a browser is refused (carries an HTTP status)

Foreign exceptions are translated at the boundary with ``raise ... from exc``.
"""

from __future__ import annotations

from enum import Enum


class NeuroScanError(Exception):
    """What happened, what it means and what to do.

    Parameters
    ----------
    message : str
        What happened, for a person. Never holds patient data.
    remedy : str, optional
        What the person can do about it.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class ConfigurationError(NeuroScanError):
    """A key of the configuration file is wrong or missing."""


class ModelError(NeuroScanError):
    """A model cannot be used."""


class InvalidBundle(ModelError):
    """Card, hash or shapes of a model bundle disagree."""


class EngineRefused(ModelError):
    """An engine does not agree with the reference of its bundle."""


class EngineUnavailable(ModelError):
    """The engine that was asked for cannot run on this machine: a library, a device or a server is missing."""


class EngineUnreachable(EngineUnavailable):
    """The server that executes the networks does not answer; it may come back."""


class DicomError(NeuroScanError):
    """A DICOM object cannot be used."""


class UnreadableObject(DicomError):
    """The bytes are not a DICOM object that can be used."""


class UndecodablePixels(DicomError):
    """The pixel data does not decode."""


class IdentityConflict(DicomError):
    """A SOP Instance UID came again with other contents."""


class RejectionCode(str, Enum):
    """Why a series is not segmented; the value is what logs, events and the status page show."""

    WRONG_MODALITY = "wrong-modality"
    WRONG_BODY_PART = "wrong-body-part"
    WRONG_SOP_CLASS = "wrong-sop-class"
    NO_RULE = "no-rule"
    DERIVED_IMAGE = "derived-image"
    LOCALIZER = "localizer"
    TOO_FEW_SLICES = "too-few-slices"
    UNEQUAL_SPACING = "unequal-spacing"
    MISSING_SLICES = "missing-slices"
    DUPLICATE_POSITIONS = "duplicate-positions"
    GANTRY_TILT = "gantry-tilt"
    NON_PARALLEL = "non-parallel"
    MIXED_ORIENTATION = "mixed-orientation"
    MIXED_GEOMETRY = "mixed-geometry"
    MISSING_GEOMETRY = "missing-geometry"
    LOSSY_COMPRESSED = "lossy-compressed"
    UNDECODABLE = "undecodable"
    NOT_GREYSCALE = "not-greyscale"
    UNSUPPORTED_PLANE = "unsupported-plane"
    NOT_BRAIN_LIKE = "not-brain-like"
    MISSING_SEQUENCE = "missing-sequence"
    DIFFERENT_FRAMES = "different-frames-of-reference"
    NO_OVERLAP = "no-overlap"


class SeriesRejection(NeuroScanError):
    """The series must not be segmented.

    Parameters
    ----------
    code : RejectionCode
        Machine-readable reason.
    message : str
        The same as a sentence.
    """

    def __init__(self, code: RejectionCode, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class BusError(NeuroScanError):
    """The message bus failed."""


class RequestTimeout(BusError):
    """Nobody answered in time."""


class RequestRefused(BusError):
    """The server answered with an error.

    Parameters
    ----------
    code : str
        Name of the server's error class; empty where it is not known.
    """

    def __init__(self, message: str, *, remedy: str = "", code: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class WireFormatError(BusError):
    """A message does not decode."""


class StorageError(NeuroScanError):
    """Spool or journal cannot keep what it was given."""


class DiskFull(StorageError):
    """The watermark of free space is reached."""


class JournalError(StorageError):
    """The journal cannot be read or written."""


class CaseError(NeuroScanError):
    """A case of the viewer cannot give what was asked for."""


class CaseNotFound(CaseError):
    """There is no such case, or it has nothing of the kind."""


class CaseNotReady(CaseError):
    """What was asked for is being made.

    Parameters
    ----------
    progress : float
        How much of it is done, 0..1.
    """

    def __init__(self, message: str, *, remedy: str = "", progress: float = 0.0) -> None:
        super().__init__(message, remedy=remedy)
        self.progress = progress


class CaseConflict(CaseError):
    """The state of the case does not allow what was asked for."""


class DeliveryError(NeuroScanError):
    """A result could not be delivered."""


class DestinationUnreachable(DeliveryError):
    """No association with the destination."""


class DestinationRefused(DeliveryError):
    """The destination answered with a failure status.

    Parameters
    ----------
    status : int
        DIMSE status (PS3.7 annex C).
    """

    def __init__(self, message: str, *, status: int, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


class WebProblem(NeuroScanError):
    """A request of a browser is refused.

    Parameters
    ----------
    status : int
        HTTP status (RFC 9110).
    message : str
        What happened, for a person. Never holds patient data.
    meaning : str
        What follows from it.
    retry_after_s : int
        When it is worth to try again; 0 where that is not a matter of time.
    """

    def __init__(
        self, status: int, message: str, *, meaning: str = "", remedy: str = "", retry_after_s: int = 0
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status, self.meaning, self.retry_after_s = status, meaning, retry_after_s
