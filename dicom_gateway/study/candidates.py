"""Series as candidates for a study, from their headers."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from dicom_gateway.reading.attributes import IMAGE_TYPE, SERIES_DESCRIPTION, string, strings
from dicom_gateway.results.uids import derived_uid
from dicom_gateway.study.choice import Candidate
from dicom_gateway.study.roles import RoleVerdict
from neuroscan_core.domain.geometry import StackGeometry

_SERIES_NUMBER = BaseTag(0x00200011)
_TIMES = tuple(
    (BaseTag(date), BaseTag(time))
    for date, time in ((0x00080022, 0x00080032), (0x00080021, 0x00080031), (0x00080020, 0x00080030))
)
_ACQUISITION_DATE_TIME = BaseTag(0x0008002A)


def candidate_of(
    series_instance_uid: str,
    header: Dataset,
    verdict: RoleVerdict,
    geometry: StackGeometry,
    *,
    received_at_s: float = 0.0,
) -> Candidate:
    """A whole series as a candidate for its role.

    Parameters
    ----------
    header : Dataset
        Of any of its images.
    received_at_s : float
        Orders series whose headers do not say when they were acquired.
    """
    return Candidate(
        series_instance_uid,
        verdict,
        geometry,
        is_original=is_original(header),
        acquired=(acquired_at(header), received_at_s),
        name=series_name(header),
    )


def is_original(header: Dataset) -> bool:
    """Whether ImageType does not say DERIVED."""
    return "DERIVED" not in [value.upper() for value in strings(header, IMAGE_TYPE)[:1]]


def acquired_at(header: Dataset) -> str:
    """Date and time of acquisition as text that sorts by time; empty where not stated."""
    stated = string(header, _ACQUISITION_DATE_TIME)
    if stated:
        return stated
    return next((string(header, d) + string(header, t) for d, t in _TIMES if string(header, d)), "")


def series_name(header: Dataset) -> str:
    """Number and description of a series, for people."""
    number, description = string(header, _SERIES_NUMBER), string(header, SERIES_DESCRIPTION)
    return " ".join(part for part in (f"series {number}" if number else "a series", f"'{description}'") if part != "''")


def job_uid(study_instance_uid: str, name: str) -> str:
    """Identifier of what is made of a study under a name, derived so that a repetition has the same.

    Parameters
    ----------
    name : str
        Of the study in the configuration, or of the model.
    """
    return derived_uid("study", study_instance_uid, name)
