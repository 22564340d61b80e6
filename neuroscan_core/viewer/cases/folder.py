"""A case as a folder: how a worker process hands a diagnosis, or a further segmentation, to the viewer.

    FOLDER/
      case.json                            title, state, warnings, files to download, reports
      agents.json                          what the agents did, as `GET /api/cases/{id}` has it
      volume.json, volume.npy              geometry and scale; uint16 (slices, rows, columns), ordered along the normal
      source-NAME.json, .npy               the same for each series of a study, on its own grid
      sequence-NAME.npy                    a series of a study on the grid of the volume, where that is another one
      segmentations/SID.json               model, labels, measurements
      segmentations/SID.labels.npy         uint8 (slices, rows, columns)
      segmentations/SID.probabilities.npy  the same, 0..255 = 0..1; where the model gives any

Every file is written under another name and renamed; the arrays before the JSON that tells of them. So a reader finds
either nothing or the whole. The arrival number of a slice is its index along the normal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import CaseNotFound
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.viewer.cases.describe import composite_entries, label_entries, triage_entry
from neuroscan_core.viewer.cases.pixels import Scale, StoredVolume

SEGMENTATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NO_SOURCE = "A series of the study is not there."
_UNNAMED = "volume"  # stands for SOP Instance UIDs, which have no place here


def slice_keys(num_slices: int) -> tuple[FrameKey, ...]:
    """Keys of the slices of a volume that came from a folder."""
    return tuple(FrameKey(_UNNAMED, k + 1) for k in range(num_slices))


class CaseFolder:
    """Reads and writes the files of a case.

    Parameters
    ----------
    path : Path
        Made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    # ------------------------------------------------------------------------------------------------------ writing

    def write_case(
        self,
        *,
        title: str,
        state: str,
        modality: str = "",
        description: str = "",
        reason: str = "",
        remedy: str = "",
        warnings: Sequence[str] = (),
        verdict: str = "",
        downloads: Sequence[dict[str, str]] = (),
        reports: Sequence[dict[str, str]] = (),
    ) -> None:
        """Say what the case is.

        Parameters
        ----------
        title, description : str
            Without identity.
        state : str
            ``waiting``, ``running``, ``done`` or ``failed``.
        reason, remedy : str
            Why it failed, and what to do.
        warnings : sequence of str
            Sentences that a reader of the result must know.
        verdict : str
            Of the critic: ``plausible``, ``doubtful`` or ``not usable``; empty before.
        downloads : sequence of dict
            ``kind`` (SEG, SR, NIfTI, ...), ``name`` for people, ``file`` below the folder, and ``segmentation``, the
            SID it belongs to, where it belongs to one.
        reports : sequence of dict
            ``kind`` (html, pdf, sr) and ``file`` below the folder.
        """
        self._write_json("case.json", {
            "title": title, "state": state, "modality": modality, "description": description, "reason": reason,
            "remedy": remedy, "warnings": list(warnings), "verdict": verdict, "downloads": list(downloads),
            "reports": list(reports),
        })  # fmt: skip

    def write_agents(self, agents: Sequence[dict[str, Any]]) -> None:
        """Say what the agents do and did."""
        self._write_json("agents.json", list(agents))

    def write_volume(self, volume: Volume, *, has_millimetres: bool = True) -> None:
        """Keep the voxels.

        Parameters
        ----------
        has_millimetres : bool
            False for pictures: what would be measured in millimetres is left out.
        """
        stored = self._write_stored("volume", volume.voxels_kji)
        facts = {"geometry": asdict(volume.geometry), **stored, "has_millimetres": has_millimetres}
        self._write_json("volume.json", facts)

    def write_source(
        self,
        name: str,
        volume: Volume,
        *,
        is_reference: bool,
        shown_kji: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Keep the voxels of one series of a study.

        Parameters
        ----------
        name : str
            Of the sequence, e.g. ``T1ce``.
        is_reference : bool
            Whether results lie on its grid.
        shown_kji : ndarray of float32, optional
            The same on the grid of what `write_volume` was told before, to be looked at; of the reference, any.
        """
        assert SEGMENTATION_ID.fullmatch(name), name
        if is_reference and shown_kji is not None:
            facts = self._read_json("volume.json")
            own = shown = {key: facts[key] for key in ("array", "scale", "window")}
        else:
            own = shown = self._write_stored(f"source-{name}", volume.voxels_kji)
            if shown_kji is not None and not _is_same(shown_kji, volume.voxels_kji):
                shown = self._write_stored(f"sequence-{name}", shown_kji)
        self._write_json(f"source-{name}.json", {
            "geometry": asdict(volume.geometry), **own, "is_reference": is_reference,
            "shown": None if shown_kji is None else shown,
        })  # fmt: skip

    def _write_stored(self, name: str, voxels_kji: npt.NDArray[np.float32]) -> dict[str, Any]:
        """Write an array; how it is to be read."""
        volume = StoredVolume.of(voxels_kji)
        self._write_array(f"{name}.npy", volume.stored_kji)
        return {"array": f"{name}.npy", "scale": volume.scale.as_json(), "window": volume.window}

    def write_segmentation(
        self,
        segmentation_id: str,
        segmentation: Segmentation,
        identity: ModelIdentity,
        card: ModelCard | None,
        probabilities_kji: npt.NDArray[np.uint8] | None = None,
        *,
        has_millimetres: bool = True,
        warnings: Sequence[str] = (),
    ) -> None:
        """Keep a segmentation of the volume.

        Parameters
        ----------
        segmentation_id : str
            Matches `SEGMENTATION_ID`, e.g. the name of the model.
        probabilities_kji : ndarray of uint8, optional
            0..255 = 0..1.
        warnings : sequence of str
            Beside those of the segmentation.
        """
        assert SEGMENTATION_ID.fullmatch(segmentation_id), segmentation_id
        (self.path / "segmentations").mkdir(parents=True, exist_ok=True)
        number_of = {key: k for k, key in enumerate(segmentation.keys)}
        self._write_array(f"segmentations/{segmentation_id}.labels.npy", segmentation.labels_kji)
        if probabilities_kji is not None:
            self._write_array(f"segmentations/{segmentation_id}.probabilities.npy", probabilities_kji)
        entry = {
            "id": segmentation_id, "model": identity.name, "version": identity.version, "engine": identity.engine,
            "labels": label_entries(segmentation, card, number_of, has_millimetres=has_millimetres),
            "composites": composite_entries(segmentation, number_of, has_millimetres=has_millimetres),
            "has_probabilities": probabilities_kji is not None,
            "warnings": [*segmentation.warnings, *warnings], "triage": triage_entry(segmentation.triage),
        }  # fmt: skip
        self._write_json(f"segmentations/{segmentation_id}.json", entry)

    def _write_json(self, name: str, content: Any) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f"{name}.tmp"
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.path / name)

    def _write_array(self, name: str, array: npt.NDArray[Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f"{name}.tmp"
        with temporary.open("wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        temporary.replace(self.path / name)

    # ------------------------------------------------------------------------------------------------------ reading

    @property
    def revision(self) -> int:
        """Grows when anything is written: the newest time of change in microseconds; 0 while there is nothing."""
        newest = 0
        for folder in (self.path, self.path / "segmentations"):
            for file in folder.glob("*.json"):
                try:
                    newest = max(newest, file.stat().st_mtime_ns // 1000)
                except FileNotFoundError:  # deleted meanwhile
                    continue
        return newest

    def case(self) -> dict[str, Any]:
        """What `write_case` was told; empty before."""
        found = self._read_json("case.json")
        return found if isinstance(found, dict) else {}

    def agents(self) -> list[dict[str, Any]]:
        """What `write_agents` was told; empty before."""
        found = self._read_json("agents.json")
        return found if isinstance(found, list) else []

    def volume_facts(self) -> dict[str, Any] | None:
        """Geometry, scale, window and has_millimetres as JSON; None while there is no volume."""
        found = self._read_json("volume.json")
        return found if isinstance(found, dict) else None

    def geometry(self) -> StackGeometry:
        """Where the volume lies.

        Raises
        ------
        CaseNotFound
            There is no volume (yet).
        """
        facts = self.volume_facts()
        if facts is None:
            raise CaseNotFound("There are no images (yet).", remedy="Wait until the reader has finished.")
        return geometry_of(facts["geometry"])

    def scale(self) -> Scale:
        """How voxels are stored; see `geometry` for what it raises."""
        facts = self.volume_facts()
        if facts is None:
            raise CaseNotFound("There are no images (yet).", remedy="Wait until the reader has finished.")
        return Scale(**facts["scale"])

    def stored_kji(self) -> npt.NDArray[np.uint16]:
        """Voxels as they are stored, mapped into memory; see `geometry` for what it raises."""
        return np.asarray(self._read_array("volume.npy", "There are no images (yet)."), dtype=np.uint16)

    def read_volume(self) -> Volume:
        """The volume; see `geometry` for what it raises."""
        geometry = self.geometry()
        return Volume(geometry, slice_keys(geometry.num_slices), self.scale().restore(self.stored_kji()))

    def read_sources(self) -> dict[str, Volume]:
        """Volumes of a study by sequence, each on its own grid, the reference first; empty where there are none."""
        return {name: self._read_source(facts) for name, facts in self.source_facts().items()}

    def _read_source(self, facts: dict[str, Any]) -> Volume:
        geometry = geometry_of(facts["geometry"])
        stored_kji = self._read_array(facts["array"], _NO_SOURCE)
        return Volume(geometry, slice_keys(geometry.num_slices), Scale(**facts["scale"]).restore(stored_kji))

    def source_facts(self) -> dict[str, dict[str, Any]]:
        """What was told of each series of a study, by sequence, the reference first.

        ``shown`` has scale and window of what `shown_source_kji` gives, or is None.
        """
        read = {
            file.stem.removeprefix("source-"): self._read_json(file.name) for file in self.path.glob("source-*.json")
        }
        found = {name: facts for name, facts in read.items() if isinstance(facts, dict)}
        return {name: found[name] for name in sorted(found, key=lambda name: (not found[name]["is_reference"], name))}

    def shown_source_kji(self, name: str) -> npt.NDArray[np.uint16]:
        """Voxels of a series of a study on the grid of the volume, as they are stored, mapped into memory.

        Raises
        ------
        CaseNotFound
        """
        facts = self.source_facts().get(name)
        if facts is None or facts["shown"] is None:
            raise CaseNotFound("There is no such sequence.", remedy="Load the case again.")
        return np.asarray(self._read_array(facts["shown"]["array"], _NO_SOURCE), dtype=np.uint16)

    def segmentations(self) -> list[dict[str, Any]]:
        """What was told of each segmentation, oldest first."""
        files = sorted(
            (self.path / "segmentations").glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name)
        )
        found = (self._read_json(f"segmentations/{file.name}") for file in files)
        return [entry for entry in found if isinstance(entry, dict)]

    def labels_kji(self, segmentation_id: str) -> npt.NDArray[np.uint8]:
        """Label map of a segmentation, mapped into memory.

        Raises
        ------
        CaseNotFound
        """
        _check_id(segmentation_id)
        name = f"segmentations/{segmentation_id}.labels.npy"
        return np.asarray(self._read_array(name, "There is no such segmentation."), dtype=np.uint8)

    def probabilities_kji(self, segmentation_id: str) -> npt.NDArray[np.uint8]:
        """Probabilities of a segmentation, mapped into memory.

        Raises
        ------
        CaseNotFound
        """
        _check_id(segmentation_id)
        name = f"segmentations/{segmentation_id}.probabilities.npy"
        return np.asarray(self._read_array(name, "This segmentation has no probabilities."), dtype=np.uint8)

    def file(self, name: str) -> Path:
        """A file that `case` names.

        Raises
        ------
        CaseNotFound
            It is not there, or lies outside of the folder.
        """
        path = (self.path / name).resolve()
        if not path.is_relative_to(self.path.resolve()) or not path.is_file():
            raise CaseNotFound("This file is not there.", remedy="It was deleted, or was never made.")
        return path

    def _read_json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _read_array(self, name: str, otherwise: str) -> npt.NDArray[Any]:
        try:
            array: npt.NDArray[Any] = np.load(self.path / name, mmap_mode="r", allow_pickle=False)
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise CaseNotFound(otherwise) from exc
        return array


def geometry_of(raw: dict[str, Any]) -> StackGeometry:
    """A geometry of what `dataclasses.asdict` made of it, by way of JSON."""
    first: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in raw["first"].items()
    }
    return StackGeometry(SliceGeometry(**first), float(raw["spacing_mm"]), int(raw["num_slices"]))


def _is_same(shown_kji: npt.NDArray[np.float32], own_kji: npt.NDArray[np.float32]) -> bool:
    """Whether nothing was resampled: what is not finite became 0 then, too."""
    return shown_kji.shape == own_kji.shape and np.array_equal(
        shown_kji, np.nan_to_num(own_kji, posinf=0.0, neginf=0.0)
    )


def _check_id(segmentation_id: str) -> None:
    if not SEGMENTATION_ID.fullmatch(segmentation_id):
        raise CaseNotFound("There is no such segmentation.")
