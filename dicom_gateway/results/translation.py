"""The boundary to pydicom and highdicom: their errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from neuroscan_core.domain.errors import UnreadableObject


@contextmanager
def foreign_errors(message: str) -> Iterator[None]:
    """Raise `UnreadableObject` for what highdicom and pydicom raise on values of a header that they cannot use."""
    try:
        yield
    except (AttributeError, KeyError, IndexError, NotImplementedError, TypeError, ValueError) as exc:
        raise UnreadableObject(
            f"{message}: {type(exc).__name__}.", remedy="Send the series again, or report its scanner and version."
        ) from exc
