"""How far a series is, for heartbeats and status pages."""

from __future__ import annotations

from dicom_gateway.assembly.series import Assembly, Phase
from dicom_gateway.journal import OPEN_STATES, SeriesRecord
from neuroscan_core.domain.events import SeriesProgress


def progress_of(row: SeriesRecord, num_events: int, assembly: Assembly | None) -> SeriesProgress:
    """State of a series as the journal knows it; its slices are counted live while they arrive."""
    is_live = assembly is not None and assembly.phase is Phase.RECEIVING
    return SeriesProgress(
        row.series_uid,
        row.state.value,
        num_events=num_events,
        num_slices=len(assembly.recorded) if assembly is not None and is_live else row.num_slices,
        version=row.version,
        is_open=row.state in OPEN_STATES,
        model=row.model,
        priority=row.priority,
        modality=row.modality,
        description=row.description,
        reason=row.reason,
        message=row.message,
        opened_at_s=row.opened_at_s,
    )
