"""Reading cases of every layout into one form: canonical slices and labels.

Each reader is a module with `LAYOUT` (one line for people), `find(folder)`,
`files(case)`, `num_slices(case, channels)` (from headers alone) and `read(case,
channels)`. What they return is `Volume`; how arrays get there from an affine
is in `canonical`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from training.data.cases import Case
from training.data.errors import (
    MissingModalityError,
    ShapeMismatchError,
    UnknownLabelError,
    UnreadableCaseError,
    UnsupportedPlaneError,
)
from training.data.readers import brats, class_folders, dicom_series, msd, paired_slices
from training.data.readers.canonical import Volume

__all__ = [
    "READERS",
    "MissingModalityError",
    "Reader",
    "ShapeMismatchError",
    "UnknownLabelError",
    "UnreadableCaseError",
    "UnsupportedPlaneError",
    "Volume",
    "case_files",
    "num_slices",
    "read_case",
    "reader_of",
]


class Reader(Protocol):
    """One layout of files."""

    LAYOUT: str

    def find(self, folder: Path) -> list[Case]:
        """List the cases in a folder; empty where it has another layout."""

    def files(self, case: Case) -> list[Path]:
        """List what `read` reads, sorted."""

    def num_slices(self, case: Case, channels: Sequence[str]) -> int:
        """Count the slices that `read` will return, from headers alone."""

    def read(self, case: Case, channels: Sequence[str]) -> Volume:
        """Read the named channels and the labels."""


READERS: dict[str, Reader] = {
    "brats": brats,
    "paired-slices": paired_slices,
    "class-folders": class_folders,
    "msd": msd,
    "dicom": dicom_series,
}
_OF_DATASET = {"lgg": "paired-slices", "pictures": "class-folders"}


def reader_of(case: Case) -> Reader:
    """Return the reader of a case."""
    return READERS[case.reader or _OF_DATASET.get(case.dataset, case.dataset)]


def case_files(case: Case) -> list[Path]:
    """List the files that `read_case` reads, sorted."""
    return reader_of(case).files(case)


def num_slices(case: Case, channels: Sequence[str] = ("FLAIR",)) -> int:
    """Count the slices of a case from headers alone."""
    return reader_of(case).num_slices(case, channels)


def read_case(case: Case, channels: Sequence[str] = ("FLAIR",)) -> Volume:
    """Read channels and labels of a case.

    Raises
    ------
    UnreadableCaseError
        Of the subclass that says what is wrong.
    """
    return reader_of(case).read(case, channels)
