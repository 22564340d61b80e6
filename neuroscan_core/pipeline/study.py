"""Series of one study brought together: whether they fit, on whose grid, and the models that need several of them.

The grid is that of the series with the finest voxels among those that show the tumour's outline best (T1ce and FLAIR,
by default): what it holds is not interpolated, and a result on it can be laid over it voxel by voxel. Nothing is
registered; series in different frames of reference are refused unless the configuration says that they fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.segmentation import Segmentation, Triage
from neuroscan_core.domain.study import SEQUENCES, StudyVolume
from neuroscan_core.domain.volume import Volume
from neuroscan_core.pipeline.classify import classify_volume
from neuroscan_core.pipeline.multimodal import BATCH, segment_multimodal
from neuroscan_core.pipeline.resample import Pause, overlap, resample
from neuroscan_core.pipeline.sliding import Progress, no_progress
from neuroscan_core.pipeline.volume3d import segment_volume3d
from neuroscan_core.pipeline.window25d import is_axial
from neuroscan_core.ports import InferenceEngine

STUDY_KINDS = (ModelKind.MULTIMODAL2D, ModelKind.VOLUME3D)
REFERENCE_SEQUENCES = ("T1ce", "FLAIR")
TRIAGE_SEQUENCE = "T1ce"
MIN_OVERLAP = 0.5
FEW_OVERLAP = 0.9  # below it the result says that a series does not cover the others
SAME_EDGE_MM = 0.1  # voxels that differ by less count as equally fine


@dataclass(frozen=True)
class Match:
    """How the series of a study fit together.

    Parameters
    ----------
    reference : str
        Sequence on whose grid the study is segmented.
    why : str
        Sentence that says why this one.
    warnings : tuple of str
        What a reader of the result must know.
    """

    reference: str
    why: str
    warnings: tuple[str, ...] = ()


def match_series(
    geometries: Mapping[str, StackGeometry],
    *,
    references: Sequence[str] = REFERENCE_SEQUENCES,
    min_overlap: float = MIN_OVERLAP,
    allow_different_frames: bool = False,
) -> Match:
    """Decide whether series can be seen as one study, and on which grid.

    Parameters
    ----------
    geometries : mapping of str to StackGeometry
        Sequence -> where its series lies.
    references : sequence of str
        Sequences whose grid may be taken; of equally fine ones the first.
    min_overlap : float
        Least share of the smaller of two series that must lie inside the other.
    allow_different_frames : bool
        Believe that series in different frames of reference lie where they say.

    Raises
    ------
    SeriesRejection
        ``missing-sequence``, ``different-frames-of-reference`` or ``no-overlap``.
    """
    candidates = [name for name in references if name in geometries] or sorted(geometries)
    if not candidates:
        raise SeriesRejection(RejectionCode.MISSING_SEQUENCE, "There is no series.")
    reference = min(candidates, key=lambda name: _fineness(geometries[name], candidates.index(name)))
    warnings = [
        *_check_frames(geometries, reference, allow_different_frames),
        *_check_overlap(geometries, reference, min_overlap),
    ]
    k_mm, j_mm, i_mm = _voxel_mm(geometries[reference])
    why = f"{reference} has the finest voxels ({i_mm:.2f} x {j_mm:.2f} x {k_mm:.2f} mm) of {', '.join(candidates)}."
    return Match(reference, why, tuple(warnings))


def bring_together(
    volumes: Mapping[str, Volume], reference: str, *, pause: Pause = lambda: None, channels: Sequence[str] = SEQUENCES
) -> StudyVolume:
    """Resample every series onto the grid of one of them.

    Parameters
    ----------
    volumes : mapping of str to Volume
        One per channel.
    pause : callable
        Called between pieces of work; may wait or raise.
    """
    target = volumes[reference]
    voxels_CKJI = np.empty((len(channels), *target.geometry.shape), dtype=np.float32)
    for channel, name in enumerate(channels):
        source = volumes[name]
        voxels_CKJI[channel] = resample(source.voxels_kji, source.geometry, target.geometry, pause=pause)
    return StudyVolume(target.geometry, target.keys, tuple(channels), voxels_CKJI)


def segment_study(
    study: StudyVolume,
    engine: InferenceEngine,
    *,
    progress: Progress = no_progress,
    warnings: Sequence[str] = (),
    batch: int = BATCH,
) -> Segmentation:
    """Segment a study with the model that an engine executes, on the study's own grid.

    Parameters
    ----------
    progress : callable
        Told of pieces done and of all; may wait or raise between them.
    warnings : sequence of str
        Added to the result's.
    batch : int
        Slices of a ``multimodal2d`` model that are computed between two calls of `progress`.

    Raises
    ------
    SeriesRejection
        The study does not suit the model.
    """
    assert engine.card.kind in STUDY_KINDS, engine.card.kind
    if engine.card.kind is ModelKind.VOLUME3D:
        found = segment_volume3d(study, engine, progress)
    else:
        found = segment_multimodal(study, engine, progress, batch=batch)
    return replace(found, warnings=(*warnings, *found.warnings))


def classify_study(study: StudyVolume, classifier: InferenceEngine, segmentation: Segmentation) -> Triage:
    """What a classifier says of a study: it is shown the sequence that pictures for its training mostly were."""
    name = TRIAGE_SEQUENCE if TRIAGE_SEQUENCE in study.channels else study.channels[0]
    return classify_volume(Volume(study.geometry, study.keys, study.channel(name)), classifier, segmentation)


def _voxel_mm(geometry: StackGeometry) -> tuple[float, float, float]:
    row_mm, column_mm = geometry.first.spacing_mm
    return (geometry.spacing_mm, row_mm, column_mm)


def _fineness(geometry: StackGeometry, preference: int) -> tuple[int, bool, int]:
    """Sort key: the shortest longest edge first, then axial ones, then in order of preference."""
    return (round(max(_voxel_mm(geometry)) / SAME_EDGE_MM), not is_axial(geometry.first), preference)


def _check_frames(geometries: Mapping[str, StackGeometry], reference: str, is_allowed: bool) -> list[str]:
    frame = geometries[reference].first.frame_of_reference_uid
    others = [name for name, geometry in geometries.items() if geometry.first.frame_of_reference_uid != frame]
    if not others:
        return []
    names = (
        f"{' and '.join(others)} {'is' if len(others) == 1 else 'are'} in another frame of reference than {reference}"
    )
    if not is_allowed:
        raise SeriesRejection(
            RejectionCode.DIFFERENT_FRAMES,
            f"{names}: the patient may have moved in between, and nothing is registered here.",
            remedy="Register the series first, or set allow_different_frames of the study if they fit as they are.",
        )
    return [f"{names}; they were taken to lie where they say."]


def _check_overlap(geometries: Mapping[str, StackGeometry], reference: str, min_overlap: float) -> list[str]:
    warnings = []
    for name, geometry in geometries.items():
        share = overlap(geometry, geometries[reference])
        if share < min_overlap:
            raise SeriesRejection(
                RejectionCode.NO_OVERLAP,
                f"{name} and {reference} share {share:.0%} of their volume; {min_overlap:.0%} are needed.",
                remedy="Send series that show the same part of the head.",
            )
        if share < FEW_OVERLAP:
            warnings.append(f"{name} and {reference} share {share:.0%} of their volume only.")
    return warnings
