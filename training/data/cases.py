"""What a case is, and how cases are found below the data root.

A case is one examination of one patient, or one picture of a class folder.
Where its files lie and how they are read is the business of its reader in
`training.data.readers`; here is what all of them have in common.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neuroscan_core.domain.study import SEQUENCES
from training.data.errors import NoCasesError

LGG = "lgg"
BRATS = "brats"
MSD = "msd"
DICOM = "dicom"
PICTURES = "pictures"

#: Order of classes everywhere in NeuroScan.
CLASSES = ("glioma", "meningioma", "no tumour", "pituitary")
#: View of the data -> channels of its arrays.
VIEWS: dict[str, tuple[str, ...]] = {"flair": ("FLAIR",), "multimodal": SEQUENCES, "pictures": ("grey",)}

#: Kind of network -> view of the data that it is trained from.
VIEW_OF_KIND = {
    "slice25d": "flair",
    "multimodal2d": "multimodal",
    "volume3d": "multimodal",
    "classifier": "pictures",
}

#: View of the data -> the committed split that belongs to it.
SPLIT_OF_VIEW = {"flair": "flair-v1", "multimodal": "brats-v1", "pictures": "pictures-v1"}
_BRATS_WITH_TIME_POINT = re.compile(r"brats1[789]_.+_\d+$", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Case:
    """One examination, or one picture.

    Parameters
    ----------
    dataset : str
        `lgg`, `brats`, `msd`, `dicom` or `pictures`: what it is counted as.
    name : str
        Unique in the data root.
    folder : pathlib.Path
        Where its files lie.
    reader : str
        Key in `training.data.readers.READERS`; empty for the reader of the dataset's name.
    channels : tuple of str
        What it can give: sequences, or `grey`.
    patient_id : str
        Where it is not part of the name; never a name or number of a person.
    """

    dataset: str
    name: str
    folder: Path
    reader: str = ""
    channels: tuple[str, ...] = field(default=("FLAIR",))
    patient_id: str = ""

    @property
    def patient(self) -> str:
        """Patient of the case: the name without date or time point."""
        if self.patient_id:
            return self.patient_id
        if self.dataset == LGG:
            return "_".join(self.name.split("_")[:3])
        if _BRATS_WITH_TIME_POINT.match(self.name):  # Brats18_TCIA10_103_1, the same in 2017 and 2019
            return self.name.rsplit("_", 1)[0]
        if self.name.startswith("BraTS-"):  # BraTS-GLI-00005-000: the last number is the time point
            return self.name.rsplit("-", 1)[0]
        return self.name

    @property
    def centre(self) -> str:
        """Contributing centre: TCGA tissue source site, or the BraTS source."""
        return self.name.split("_")[1] if "_" in self.name else ""

    def offers(self, view: str) -> bool:
        """Whether the case has all channels of a view."""
        return set(VIEWS[view]) <= set(self.channels)


def find_cases(data_root: Path, view: str | None = None) -> list[Case]:
    """List all cases in the folders of the data root, sorted.

    Every reader looks at the root itself and at each folder in it, and takes
    what has the layout that it knows.

    Parameters
    ----------
    view : str, optional
        `flair`, `multimodal` or `pictures`: only cases that have its channels.

    Raises
    ------
    NoCasesError
        If there is none, saying which layouts are known, or no such folder.
    """
    from training.data.readers import READERS

    if not data_root.is_dir():
        raise NoCasesError(f"there is no folder {data_root}.", remedy="Give the folder of the data sets by --data.")
    folders = [data_root, *sorted(path for path in data_root.glob("*") if path.is_dir())]
    cases = {case for reader in READERS.values() for folder in folders for case in reader.find(folder)}
    chosen = [case for case in cases if view is None or case.offers(view)]
    if not chosen:
        layouts = "; ".join(reader.LAYOUT for reader in READERS.values())
        raise NoCasesError(f"no cases{f' for {view}' if view else ''} in {data_root}.", remedy=f"Known: {layouts}.")
    _check_unique(chosen)
    return sorted(chosen)


def _check_unique(cases: Sequence[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        other = seen.setdefault(case.name, case)
        if other is not case:
            raise NoCasesError(
                f"two cases are named {case.name}: {other.folder} and {case.folder}.",
                remedy="Remove or rename one of them: a split names cases.",
            )
