"""What cards say in words: of data, licences, use and limits, per split and per kind of network.

Numbers of patients are counted from the split itself. How well a network does is not here: it is measured.
"""

from __future__ import annotations

from typing import Any

from neuroscan_core.domain.model_card import ModelKind
from training.data.cases import BRATS, LGG, SPLIT_OF_VIEW, VIEW_OF_KIND
from training.data.splits import PARTS, Split

SET_NAMES = {LGG: "LGG Segmentation Dataset", BRATS: "BraTS 2018/2021", "pictures": "Brain Tumor MRI Dataset"}
SPLITS = {kind: SPLIT_OF_VIEW[VIEW_OF_KIND[kind.value]] for kind in ModelKind}
TASKS = {
    ModelKind.SLICE25D: "Whole-tumour segmentation in FLAIR MR images of the brain",
    ModelKind.MULTIMODAL2D: "Segmentation of glioma (necrotic core, oedema, enhancing tumour) in brain MR slices",
    ModelKind.VOLUME3D: "Segmentation of glioma (whole tumour, tumour core, enhancing tumour) in brain MR volumes",
    ModelKind.CLASSIFIER: "Classification of MR pictures of the brain: glioma, meningioma, no tumour, pituitary tumour",
}
INTENDED_USE = {
    ModelKind.SLICE25D: "Research: outline of the whole tumour (oedema included) in axial FLAIR series of adults with "
    "glioma, slice by slice while the series arrives; to be checked by a person.",
    ModelKind.MULTIMODAL2D: "Research: parts of a glioma in co-registered T1, T1ce, T2 and FLAIR series of adults; "
    "to be checked by a person.",
    ModelKind.VOLUME3D: "Research: regions of a glioma in co-registered T1, T1ce, T2 and FLAIR series of adults; "
    "to be checked by a person.",
    ModelKind.CLASSIFIER: "Research: evidence of what kind of tumour a series may show, beside a segmentation; never a "
    "diagnosis.",
}
_SMALL_SET = "Trained and tested on few patients of public sets: figures on other scanners may be lower."
_STRIPPED = (
    "Trained on skull-stripped, co-registered 1 mm volumes: heads with skull, other resolutions or moved series need "
    "preparation, and results there were not measured on patients."
)
LIMITS = {
    ModelKind.SLICE25D: (
        _SMALL_SET,
        "Lesions other than glioma (stroke, multiple sclerosis, metastases) may be marked as tumour.",
        "Children, treated tumours and images with contrast medium were not looked at separately.",
    ),
    ModelKind.MULTIMODAL2D: (_SMALL_SET, _STRIPPED, "Treated tumours were not looked at separately."),
    ModelKind.VOLUME3D: (_SMALL_SET, _STRIPPED, "Treated tumours were not looked at separately."),
    ModelKind.CLASSIFIER: (
        "The four classes come from different sources: a network can partly tell the sources apart instead of the "
        "tumours, so accuracy in a clinic is expected to be lower than the figures here.",
        "Who the patients are is not published; near-duplicate pictures are on one side of the split, but one patient "
        "may still be on two.",
        "It knows four classes only and gives one of them for every picture, whatever it shows.",
    ),
}
NOT_A_DEVICE = "Not a medical device; not for diagnosis."
_LGG_LICENCE = "CC BY-NC-SA 4.0 as listed by its publisher; images at TCIA CC BY 3.0"
_BRATS_LICENCE = "unclear: challenge terms (registration, citation); research only"
_PICTURES_LICENCE = "CC0 as listed by its publisher; its figshare part CC BY 4.0; other parts unclear"
_LGG_TERMS = "the LGG Segmentation Dataset (CC BY-NC-SA 4.0)"
_BRATS_TERMS = "BraTS challenge data (terms unclear, research only)"
_PICTURES_TERMS = "the Brain Tumor MRI Dataset (CC0 as listed by its publisher, parts of it under other terms)"
_BRATS_CITATION = (
    "Menze 2015, 10.1109/TMI.2014.2377694; Bakas 2017, 10.1038/sdata.2017.117; Bakas 2018, arXiv:1811.02629; "
    "Baid 2021, arXiv:2107.02314"
)


def training_data(split: Split, kind: ModelKind) -> list[dict[str, Any]]:
    """Return what a card says of the data of a split, one entry per set."""
    if kind is ModelKind.CLASSIFIER:
        return [_pictures(split)]
    entries = [_lgg(split), _brats(split, "FLAIR" if kind is ModelKind.SLICE25D else "T1, T1ce, T2 and FLAIR")]
    return [entry for entry in entries if any(entry["patients"].values())]


def licence(split: Split, kind: ModelKind) -> str:
    """Return the terms of the weights, which are those of the data."""
    if kind is ModelKind.CLASSIFIER:
        return f"Weights: research only. Trained on {_PICTURES_TERMS}. {NOT_A_DEVICE}"
    trained = [_is_lgg(name) for name in (*split.parts["train"], *split.parts["val"])]
    terms = [text for text, holds in ((_LGG_TERMS, any(trained)), (_BRATS_TERMS, not all(trained))) if holds]
    use = "research only, non-commercial" if any(trained) else "research only"
    return f"Weights: {use}. Trained on {' and on '.join(terms)}. {NOT_A_DEVICE}"


def _lgg(split: Split) -> dict[str, Any]:
    counts = _count(split, is_lgg=True)
    return {
        "name": f"LGG Segmentation Dataset (TCGA-LGG, FLAIR, with skull), {sum(counts.values())} of 110 patients",
        "patients": counts,
        "licence": _LGG_LICENCE,
        "citation": "Buda 2019, 10.1016/j.compbiomed.2019.05.002; Mazurowski 2017, 10.1007/s11060-017-2420-1",
    }


def _brats(split: Split, sequences: str) -> dict[str, Any]:
    counts = _count(split, is_lgg=False)
    return {
        "name": f"BraTS 2018/2021 challenge volumes ({sequences}, skull-stripped), {sum(counts.values())} patients",
        "patients": counts,
        "licence": _BRATS_LICENCE,
        "citation": _BRATS_CITATION,
    }


def _pictures(split: Split) -> dict[str, Any]:
    counts = {part: len(split.parts[part]) for part in PARTS}
    return {
        "name": f"Brain Tumor MRI Dataset (Nickparvar), {sum(counts.values())} of 7,023 pictures",
        "pictures": counts,
        "licence": _PICTURES_LICENCE,
        "citation": "Nickparvar 2021, 10.34740/kaggle/dsv/2645886; Cheng 2017, 10.6084/m9.figshare.1512427",
    }


def _count(split: Split, is_lgg: bool) -> dict[str, int]:
    # Patients of the LGG set are named after TCGA; those of BraTS are not.
    return {part: sum(_is_lgg(name) == is_lgg for name in split.parts[part]) for part in PARTS}


def _is_lgg(name: str) -> bool:
    return name.startswith("TCGA_")
