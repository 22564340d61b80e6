"""One series per role: which of several is taken, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dicom_gateway.study.roles import OTHER, RoleVerdict
from neuroscan_core.domain.geometry import StackGeometry


@dataclass(frozen=True)
class Candidate:
    """A whole series that may be taken for its role.

    Parameters
    ----------
    series_instance_uid : str
    verdict : RoleVerdict
    geometry : StackGeometry
    is_original : bool
        Whether ImageType says ORIGINAL.
    acquired : tuple
        What orders series by time; the later one is greater.
    name : str
        For people: series number and description.
    """

    series_instance_uid: str
    verdict: RoleVerdict
    geometry: StackGeometry
    is_original: bool = True
    acquired: tuple[str, float] = ("", 0.0)
    name: str = ""

    @property
    def role(self) -> str:
        """Role that it may be taken for."""
        return self.verdict.role

    @property
    def _voxel_ul(self) -> float:
        """Size of a voxel in microlitres, to a tenth: finer differences do not matter."""
        return round(self.geometry.voxel_volume_ml * 1000.0, 1)

    @property
    def rank(self) -> tuple[bool, float, int, tuple[str, float], str]:
        """Sort key, best last: original, finest voxels, most slices, latest."""
        return (
            self.is_original, -self._voxel_ul, self.geometry.num_slices, self.acquired, self.series_instance_uid,
        )  # fmt: skip

    def better_because(self, other: Candidate) -> str:
        """Why this one goes before `other`."""
        if self.is_original != other.is_original:
            return "it is original"
        if self._voxel_ul != other._voxel_ul:
            return f"its voxels are finer ({self._voxel_ul:g} to {other._voxel_ul:g} microlitres)"
        if self.geometry.num_slices != other.geometry.num_slices:
            return f"it has more slices ({self.geometry.num_slices} to {other.geometry.num_slices})"
        return "it is the latest"


@dataclass(frozen=True)
class Choice:
    """Series chosen for a study.

    Parameters
    ----------
    chosen : mapping of str to Candidate
        Role -> series.
    missing : tuple of str
        Required roles without a series.
    reasons : tuple of str
        Sentences on why a series was taken before another.
    """

    chosen: Mapping[str, Candidate]
    missing: tuple[str, ...]
    reasons: tuple[str, ...]


def choose(candidates: Iterable[Candidate], requires: Sequence[str]) -> Choice:
    """Take the best series for every required role.

    Series that share a frame of reference go together: of several frames, the one that holds the most roles is taken,
    then the latest. What it lacks is taken from the others, and whether that fits is decided when they are matched.
    """
    usable = [one for one in candidates if one.role in requires and one.role != OTHER]
    frame = _best_frame(usable)
    chosen: dict[str, Candidate] = {}
    reasons: list[str] = []
    for role in requires:
        ranked = sorted((one for one in usable if one.role == role), key=lambda one: (_frame(one) == frame, one.rank))
        if not ranked:
            continue
        best = chosen[role] = ranked[-1]
        for other in ranked[:-1]:
            is_elsewhere = _frame(other) != frame == _frame(best)
            why = "it lies in the frame of reference of the others" if is_elsewhere else best.better_because(other)
            reasons.append(f"{role}: {best.name} before {other.name}, because {why}.")
    return Choice(chosen, tuple(role for role in requires if role not in chosen), tuple(reasons))


def _frame(candidate: Candidate) -> str:
    return candidate.geometry.first.frame_of_reference_uid


def _best_frame(candidates: Sequence[Candidate]) -> str:
    by_frame: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_frame.setdefault(_frame(candidate), []).append(candidate)
    if not by_frame:
        return ""

    def fullness(frame: str) -> tuple[int, tuple[str, float], str]:
        inside = by_frame[frame]
        return (len({one.role for one in inside}), max(one.acquired for one in inside), frame)

    return max(by_frame, key=fullness)
