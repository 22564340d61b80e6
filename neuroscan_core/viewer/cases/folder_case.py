"""A case that lies in a folder: the result of a diagnosis."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import CaseNotFound
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import Volume
from neuroscan_core.viewer.cases.cache import Cache
from neuroscan_core.viewer.cases.case import DIAGNOSIS, Case, Download, MaskUpdate, SliceBlock
from neuroscan_core.viewer.cases.describe import geometry_entry
from neuroscan_core.viewer.cases.files import make_download
from neuroscan_core.viewer.cases.folder import CaseFolder
from neuroscan_core.viewer.cases.masks import FAILED, FINAL, RUNNING
from neuroscan_core.viewer.cases.resampled import READY

if TYPE_CHECKING:
    from neuroscan_core.pipeline.surface import SurfacePart

_MEDIA_TYPES = {".dcm": "application/dicom", ".gz": "application/gzip", ".nii": "application/octet-stream",
                ".pdf": "application/pdf", ".png": "image/png", ".json": "application/json",
                ".html": "text/html; charset=utf-8"}  # fmt: skip


class FolderCase(Case):
    """Reads a `CaseFolder`; what it does not hold in its files it does not know.

    Parameters
    ----------
    case_id : str
    folder : CaseFolder
    """

    def __init__(self, case_id: str, folder: CaseFolder) -> None:
        self._id, self._folder = case_id, folder
        self._cache = Cache()
        self._lock = threading.RLock()
        self._added: dict[str, dict[str, Any]] = {}  # what is being computed, or failed; forgotten with the viewer
        self._changed_at = 0

    @property
    def id(self) -> str:
        """See `Case`."""
        return self._id

    @property
    def folder(self) -> CaseFolder:
        """Where it lies."""
        return self._folder

    @property
    def revision(self) -> int:
        """See `Case`."""
        return max(self._folder.revision, self._changed_at)

    def meta(self) -> dict[str, Any]:
        """See `Case`."""
        revision = self.revision
        return {**self._cache.get(("meta", revision), lambda: self._meta(revision))}

    def _meta(self, revision: int) -> dict[str, Any]:
        case, facts = self._folder.case(), self._folder.volume_facts()
        meta: dict[str, Any] = {
            "id": self._id, "kind": DIAGNOSIS, "title": case.get("title", ""), "state": case.get("state", "waiting"),
            "modality": case.get("modality", ""), "description": case.get("description", ""), "revision": revision,
            "pixels_revision": 0, "identity": None, "sources": self._sources(), "agents": self._folder.agents(),
            "reason": case.get("reason", ""), "remedy": case.get("remedy", ""), "warnings": case.get("warnings", []),
            "verdict": case.get("verdict", ""),
            "reports": [
                {"kind": one["kind"], "url": f"/api/cases/{self._id}/report/{one['kind']}"}
                for one in case.get("reports", [])
            ],
        }  # fmt: skip
        if facts is None:
            scale, window, num_slices = {"slope": 1.0, "intercept": 0.0}, {"low": 0.0, "high": 1.0}, 0
            meta.update(geometry_entry([], None))
        else:
            geometry = self._folder.geometry()
            scale, window, num_slices = facts["scale"], facts["window"], geometry.num_slices
            meta.update(geometry_entry([geometry.slice_geometry(k) for k in range(num_slices)], geometry.spacing_mm))
        with self._lock:
            entries = [*self._folder.segmentations(), *self._added.values()]
        segmentations = [self._segmentation_entry(entry, num_slices) for entry in entries]
        meta.update(
            num_slices=num_slices, num_expected=num_slices or None, scale=scale, window=window,
            has_millimetres=bool(facts and facts["has_millimetres"]), segmentations=segmentations,
        )  # fmt: skip
        meta["downloads"] = self._downloads(case, segmentations, has_volume=facts is not None)
        return meta

    def _sources(self) -> list[dict[str, Any]]:
        """The series of a study, on the grid of what is shown first: files, so that each can be had at once."""
        return [
            {"name": name, "is_shown": facts["is_reference"], "num_slices": facts["geometry"]["num_slices"],
             "state": READY, "reason": "", "scale": facts["shown"]["scale"], "window": facts["shown"]["window"],
             "pixels_revision": 0}
            for name, facts in self._folder.source_facts().items() if facts["shown"] is not None
        ]  # fmt: skip

    def _segmentation_entry(self, entry: dict[str, Any], num_slices: int) -> dict[str, Any]:
        done = {"state": FINAL, "revision": 1, "num_masks": num_slices, "latency_ms": None, "reason": ""}
        if "state" in entry:  # it is not there yet
            done = {**done, "revision": 0, "num_masks": round(entry["progress"] * num_slices)}
        return {**done, **entry}

    def _downloads(
        self, case: dict[str, Any], segmentations: list[dict[str, Any]], *, has_volume: bool
    ) -> list[dict[str, str]]:
        base = f"/api/cases/{self._id}/download"
        listed = []
        for one in case.get("downloads", []):
            tail = f"?segmentation={one['segmentation']}" if one.get("segmentation") else ""
            listed.append({"kind": one["kind"], "name": one["name"], "url": f"{base}/{one['kind']}{tail}"})
        if has_volume:
            if segmentations and not any(one["kind"] == "NIfTI" for one in listed):
                listed.append({"kind": "NIfTI", "name": "Labels (NIfTI)", "url": f"{base}/NIfTI"})
            listed.append({"kind": "volume", "name": "Images (NIfTI)", "url": f"{base}/volume"})
            listed.append({"kind": "PNG", "name": "Picture of a slice (PNG)", "url": f"{base}/PNG"})
        return listed

    # ------------------------------------------------------------------------------------------------------- arrays

    def slices(self, start: int, count: int) -> SliceBlock:
        """See `Case`."""
        if self._folder.volume_facts() is None:
            return SliceBlock(b"", 0)
        return SliceBlock.of(self._folder.stored_kji(), start, count)

    def sequence_slices(self, name: str, start: int, count: int) -> SliceBlock:
        """See `Case`."""
        return SliceBlock.of(self._folder.shown_source_kji(name), start, count)

    def masks(self, segmentation_id: str, since: int) -> MaskUpdate:
        """See `Case`."""
        with self._lock:
            if segmentation_id in self._added:
                return MaskUpdate(0, (), np.zeros((0, 0, 0), np.uint8))
        labels_kji = self._folder.labels_kji(segmentation_id)
        if since >= 1:
            return MaskUpdate(1, (), labels_kji[:0])
        return MaskUpdate(1, tuple(range(len(labels_kji))), labels_kji)

    def probabilities(self, segmentation_id: str) -> npt.NDArray[np.uint8]:
        """See `Case`."""
        return self._folder.probabilities_kji(segmentation_id)

    def surface(self, segmentation_id: str) -> list[SurfacePart]:
        """See `Case`."""
        from neuroscan_core.pipeline.surface import label_surfaces

        labels_kji = self._folder.labels_kji(segmentation_id)
        geometry = self._folder.geometry()
        return self._cache.get(("surface", segmentation_id), lambda: label_surfaces(labels_kji, geometry))

    def head_surface(self) -> list[SurfacePart]:
        """See `Case`."""
        from neuroscan_core.pipeline.surface import head_surface

        geometry = self._folder.geometry()
        part = self._cache.get("head", lambda: head_surface(self._folder.stored_kji(), geometry))
        return [] if part is None else [part]

    def volume(self) -> Volume:
        """See `Case`."""
        return self._folder.read_volume()

    @property
    def sequences(self) -> tuple[str, ...]:
        """See `Case`."""
        return tuple(self._folder.source_facts())

    def sources(self) -> Mapping[str, Volume]:
        """See `Case`."""
        return self._folder.read_sources()

    def download(self, kind: str, segmentation_id: str | None = None, slice_number: int | None = None) -> Download:
        """See `Case`."""
        listed = [one for one in self._folder.case().get("downloads", []) if one["kind"] == kind]
        # A file of one segmentation goes with that; a file of the whole case with any.
        fitting = [
            one for one in listed if not segmentation_id or one.get("segmentation") in (segmentation_id, None, "")
        ]
        if fitting:
            path = self._folder.file(max(fitting, key=lambda one: one.get("segmentation") == segmentation_id)["file"])
            media_type = _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
            return Download(f"neuroscan-{self._id}-{path.name}", media_type, path.read_bytes())
        facts = self._folder.volume_facts()
        if facts is None:
            raise CaseNotFound("There are no images (yet).")
        entries = self._folder.segmentations()
        chosen = segmentation_id or (entries[0]["id"] if entries else None)
        labels_kji = self._folder.labels_kji(chosen) if chosen else None
        colours = {label["value"]: label["colour"] for one in entries if one["id"] == chosen for label in one["labels"]}
        return make_download(
            kind, self._id, chosen, self._folder.geometry(), self._folder.scale().restore(self._folder.stored_kji()),
            labels_kji, window=facts["window"], colours=colours, k=slice_number, number=slice_number,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------- other models

    def announce(self, model: str, version: str) -> str:
        """See `Case`."""
        with self._lock:
            taken = {entry["id"] for entry in self._folder.segmentations()} | self._added.keys()
            name = next(name for n in range(1, len(taken) + 2) if (name := f"c{n}") not in taken)
            self._added[name] = {
                "id": name, "model": model, "version": version, "engine": "", "labels": [], "composites": [],
                "has_probabilities": False, "warnings": [], "triage": None, "state": RUNNING, "progress": 0.0,
                "reason": "",
            }  # fmt: skip
            self._note_change()
            return name

    def note_added(self, segmentation_id: str, progress: float) -> None:
        """See `Case`."""
        with self._lock:
            if segmentation_id in self._added:
                self._added[segmentation_id]["progress"] = progress
                self._note_change()

    def fail_added(self, segmentation_id: str, reason: str) -> None:
        """See `Case`."""
        with self._lock:
            if segmentation_id in self._added:
                self._added[segmentation_id].update(state=FAILED, reason=reason)
                self._note_change()

    def add_segmentation(
        self,
        segmentation: Segmentation,
        identity: ModelIdentity,
        card: ModelCard | None,
        probabilities_kji: npt.NDArray[np.uint8] | None,
        segmentation_id: str,
    ) -> None:
        """See `Case`."""
        facts = self._folder.volume_facts()
        self._folder.write_segmentation(
            segmentation_id, segmentation, identity, card, probabilities_kji,
            has_millimetres=bool(facts and facts["has_millimetres"]),
        )  # fmt: skip
        with self._lock:
            self._added.pop(segmentation_id, None)
            self._note_change()

    def _note_change(self) -> None:
        self._changed_at = max(self._changed_at + 1, time.time_ns() // 1000)
