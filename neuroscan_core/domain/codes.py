"""Coded concepts for segments (PS3.16 CID 7150, 7159, 7168, 7169), regions and classes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


MORPHOLOGICALLY_ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NEOPLASM = Code("108369006", "SCT", "Neoplasm")
EDEMA = Code("79654002", "SCT", "Edema")
NECROSIS = Code("6574001", "SCT", "Necrosis")
NON_ENHANCING_LESION = Code("C81175", "NCIt", "Non-Enhancing Lesion")
ENHANCING_LESION = Code("C113842", "NCIt", "Enhancing Lesion")
BRAIN = Code("12738006", "SCT", "Brain")

# What the triage classifier tells apart: SNOMED CT where it has the concept, and a private code where it has not.
GLIOMA = Code("393564001", "SCT", "Glioma")
MENINGIOMA = Code("302820008", "SCT", "Intracranial meningioma")
PITUITARY_NEOPLASM = Code("127024001", "SCT", "Neoplasm of pituitary gland")
NO_TUMOUR = Code("NS-10", "99NEUROSCAN", "No tumour")
# PS3.16 has no concept for the tumour without its oedema.
TUMOUR_CORE = Code("NS-11", "99NEUROSCAN", "Tumour core")
