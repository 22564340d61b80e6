"""The table of coded concepts, against the standard's dictionary."""

from __future__ import annotations

import pytest
from pydicom.sr.codedict import codes as dictionary

from neuroscan_core.domain import codes
from neuroscan_core.domain.codes import Code

CID_7150, CID_7151, CID_7159, CID_7168 = (getattr(dictionary, f"cid{n}") for n in (7150, 7151, 7159, 7168))


@pytest.mark.parametrize(
    ("code", "value", "scheme", "meaning", "group"),
    [
        (codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE, "49755003", "SCT", "Morphologically Abnormal Structure", CID_7150),
        (codes.NEOPLASM, "108369006", "SCT", "Neoplasm", CID_7159),
        (codes.EDEMA, "79654002", "SCT", "Edema", CID_7159),
        (codes.NECROSIS, "6574001", "SCT", "Necrosis", CID_7159),
        (codes.NON_ENHANCING_LESION, "C81175", "NCIt", "Non-Enhancing Lesion", CID_7159),
        (codes.ENHANCING_LESION, "C113842", "NCIt", "Enhancing Lesion", CID_7159),
        (codes.BRAIN, "12738006", "SCT", "Brain", CID_7151),
    ],
)
def test_codes_are_those_of_the_standard(code: Code, value: str, scheme: str, meaning: str, group: object) -> None:
    assert (code.value, code.scheme) == (value, scheme)
    assert code.meaning.lower() == meaning.lower()
    known = {(c.value, c.scheme_designator): c.meaning for c in group.concepts.values()}  # type: ignore[attr-defined]
    assert known[(value, scheme)].lower() == meaning.lower()
