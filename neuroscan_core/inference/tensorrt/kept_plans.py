"""The plan cache as an engine uses it: what is refused or cannot be kept is logged and built anew, never fatal."""

from __future__ import annotations

from pathlib import Path

from neuroscan_core.domain.errors import StorageError
from neuroscan_core.inference.tensorrt.builder import BuiltPlan
from neuroscan_core.inference.tensorrt.plan_cache import Device, PlanCache, PlanKey, PlanRefused
from neuroscan_core.log import get_logger

log = get_logger(__name__)


class KeptPlans:
    """Plans in a folder, or nowhere.

    Parameters
    ----------
    folder : Path, optional
        None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._cache: PlanCache | None = None
        if folder is None:
            return
        try:
            self._cache = PlanCache(folder)
        except StorageError as exc:
            log.warning("engines are not kept; each start builds them anew", reason=str(exc))

    def load(self, key: PlanKey) -> bytes | None:
        """Read a plan; None where there is none that was built here for this."""
        if self._cache is None:
            return None
        try:
            return self._cache.load_plan(key)
        except PlanRefused as exc:
            log.warning("a stored engine is refused and built anew", model=key.model, reason=str(exc))
            return None

    def timing(self, device: Device) -> bytes:
        """Read what earlier builds measured; empty where there is nothing."""
        return self._cache.load_timing(device) if self._cache is not None else b""

    def keep(self, key: PlanKey, built: BuiltPlan) -> None:
        """Keep what was built."""
        if self._cache is None:
            return
        try:
            self._cache.store_plan(key, built.plan)
            self._cache.store_timing(key.device, built.timing_cache)
        except StorageError as exc:
            log.warning("an engine is not kept; the next start builds it anew", model=key.model, reason=str(exc))
