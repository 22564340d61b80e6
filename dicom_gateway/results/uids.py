"""Identifiers of results, derived from what they were made of, so that a retry makes the same object again.

UUIDv5 below the root 2.25 (PS3.5 B.2). Nothing here is random and nothing depends on the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID, uuid5

from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey

NAMESPACE = UUID("6d0b7b2e-3f0a-5c59-9d0e-2f4f0c7f5a11")


def derived_uid(*parts: str) -> str:
    """UID that is a function of `parts` alone; at most 44 characters."""
    return f"2.25.{uuid5(NAMESPACE, chr(31).join(parts)).int}"


def manifest_digest(manifest: Iterable[FrameKey]) -> str:
    """SHA-256 of the slices that a result rests on, in their order."""
    lines = (f"{key.sop_instance_uid}#{key.frame_number}\n" for key in manifest)
    return hashlib.sha256("".join(lines).encode("ascii", "replace")).hexdigest()


def also_made_from(objects: Iterable[str], models: Iterable[ModelIdentity]) -> str:
    """SHA-256 of the objects of other series and of further models; empty where there are none."""
    lines = [*objects, *(f"{model.name} {model.version} {model.sha256}" for model in models)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest() if lines else ""


@dataclass(frozen=True)
class ResultIdentity:
    """What a result is made of.

    Parameters
    ----------
    series_instance_uid : str
        The segmented series.
    model : ModelIdentity
        The engine that executed it does not count: it gives the same result.
    version : int
        Of the completion of the series.
    manifest_sha256 : str
        See `manifest_digest`.
    also : str
        What else it rests on, see `also_made_from`; empty where it rests on one series and one model.
    """

    series_instance_uid: str
    model: ModelIdentity
    version: int
    manifest_sha256: str
    also: str = ""

    def _uid(self, *what: str) -> str:
        model = (self.model.name, self.model.version, self.model.sha256)
        rests_on = (self.manifest_sha256, self.also) if self.also else (self.manifest_sha256,)
        return derived_uid(self.series_instance_uid, *model, str(self.version), *rests_on, *what)

    def series_uid(self, kind: str, variant: str = "") -> str:
        """SeriesInstanceUID of the results of a kind (``SEG``, ``SR``, ``SC``) and variant (the SEG's encoding)."""
        return self._uid("series", kind, variant)

    def instance_uid(self, kind: str, variant: str = "", number: int = 1) -> str:
        """SOPInstanceUID of the result with this number in its series."""
        return self._uid("instance", kind, variant, str(number))

    def dimension_organization_uid(self, variant: str = "") -> str:
        """DimensionOrganizationUID of a SEG."""
        return self._uid("dimensions", variant)

    def tracking_uid(self, label: int) -> str:
        """TrackingUID of a region: the same in every version of the result."""
        return self.region_tracking_uid(str(label))

    def region_tracking_uid(self, name: str) -> str:
        """TrackingUID of what has a name instead of a label."""
        return derived_uid(self.series_instance_uid, self.model.name, "region", name)
