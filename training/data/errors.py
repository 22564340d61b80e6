"""Errors of cases, caches and splits: what is wrong with the data, and what to do.

    NeuroScanError
    └── DataError
        ├── UnreadableCaseError     a case does not have the documented form
        │   ├── MissingModalityError    a sequence or the mask of a case is missing
        │   ├── ShapeMismatchError      images and mask of a case do not lie on one grid
        │   ├── UnknownLabelError       the mask holds values that mean nothing here
        │   └── UnsupportedPlaneError   slices are oblique, not axial, or run towards the feet
        ├── NoCasesError            nothing that can be read lies below the data folder
        ├── StaleCacheError         the cached arrays do not belong to their index
        └── LeakError               the same person or picture stands on two sides of a split

All are `ValueError` too: arguments of a function were not acceptable.
"""

from __future__ import annotations

from neuroscan_core.domain.errors import NeuroScanError


class DataError(NeuroScanError, ValueError):
    """Data for training cannot be used."""


class UnreadableCaseError(DataError):
    """A case whose files do not have the documented form."""


class MissingModalityError(UnreadableCaseError):
    """A sequence or the mask of a case is missing."""


class ShapeMismatchError(UnreadableCaseError):
    """Images and mask of a case do not lie on one grid."""


class UnknownLabelError(UnreadableCaseError):
    """The mask holds values that mean nothing here."""


class UnsupportedPlaneError(UnreadableCaseError):
    """Slices are oblique, not axial, or run towards the feet."""


class NoCasesError(DataError, FileNotFoundError):
    """Nothing that can be read lies below the data folder."""


class StaleCacheError(DataError):
    """The cached arrays do not belong to their index."""


class LeakError(DataError):
    """The same person or picture stands on two sides of a split."""
