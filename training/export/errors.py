"""What may go wrong in export."""

from __future__ import annotations

from neuroscan_core.domain.errors import ModelError


class ExportError(ModelError, RuntimeError):
    """The exported file is not what was asked for; nothing was written."""
