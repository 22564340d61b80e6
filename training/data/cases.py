"""What a case is, and how cases are found below the data root.

A case is one examination of one patient with a FLAIR stack and a mask. The
folders `lgg_flair`, `brats_volumes_u8` and `brats_volumes` are looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LGG = "lgg"
BRATS = "brats"
LGG_FOLDER = "lgg_flair"
BRATS_FOLDERS = ("brats_volumes_u8", "brats_volumes")


@dataclass(frozen=True, order=True)
class Case:
    """One examination.

    Parameters
    ----------
    dataset : str
        `lgg` or `brats`.
    name : str
        Name of the case's folder.
    folder : pathlib.Path
        Where its files lie.
    """

    dataset: str
    name: str
    folder: Path

    @property
    def patient(self) -> str:
        """Patient of the case: the name without date or time point."""
        if self.dataset == LGG:
            return "_".join(self.name.split("_")[:3])
        if self.name.startswith("Brats18_"):
            return self.name.rsplit("_", 1)[0]
        return self.name

    @property
    def centre(self) -> str:
        """Contributing centre: TCGA tissue source site, or the BraTS source."""
        return self.name.split("_")[1]


def find_cases(data_root: Path) -> list[Case]:
    """List all cases below the data root, sorted.

    Raises
    ------
    FileNotFoundError
        If none of the known folders holds a case.
    """
    cases = [Case(LGG, folder.name, folder) for folder in (data_root / LGG_FOLDER).glob("TCGA_*")]
    for name in BRATS_FOLDERS:
        cases += [
            Case(BRATS, folder.name, folder) for folder in (data_root / name).glob("B[Rr][Aa]*") if folder.is_dir()
        ]
    if not cases:
        known = ", ".join((LGG_FOLDER, *BRATS_FOLDERS))
        raise FileNotFoundError(f"no cases in {data_root}; expected folders {known}")
    return sorted(cases)
