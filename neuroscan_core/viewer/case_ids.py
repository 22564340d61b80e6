"""Names of cases in addresses: opaque, so that no DICOM identifier stands in a URL, a history or a log of a proxy."""

from __future__ import annotations

import hashlib
import re
import secrets

SERIES_PREFIX, DIAGNOSIS_PREFIX = "s", "d"
CASE_ID = re.compile(r"[sd][0-9a-f]{16}")


def series_case_id(series_instance_uid: str) -> str:
    """Case of a series, or of a study's segmentation; the same after every restart."""
    return SERIES_PREFIX + hashlib.sha256(series_instance_uid.encode()).hexdigest()[:16]


def new_diagnosis_id() -> str:
    """Case of a new diagnosis; cannot be guessed."""
    return DIAGNOSIS_PREFIX + secrets.token_hex(8)


def is_case_id(text: str) -> bool:
    """Whether a text has the form of a case id."""
    return CASE_ID.fullmatch(text) is not None
