"""What is known of a case while it goes from agent to agent: values only, each filled in by one agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import SeriesRejection
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation, Triage
from neuroscan_core.domain.study import StudyVolume
from neuroscan_core.domain.volume import Volume, VolumeOrRejection

if TYPE_CHECKING:  # the viewer names cases without what measures them: SciPy and OpenCV stay out of its memory
    from neuroscan_core.diagnosis.agent import AgentRecord
    from neuroscan_core.diagnosis.location import Location
    from neuroscan_core.diagnosis.quality import Quality


class InputKind(str, Enum):
    """What was given."""

    DICOM = "DICOM"
    NIFTI = "NIfTI"
    PICTURE = "picture"
    PICTURES = "stack of pictures"

    @property
    def has_millimetres(self) -> bool:
        """Whether distances and volumes are known."""
        return self in (InputKind.DICOM, InputKind.NIFTI)


@dataclass(frozen=True, eq=False)
class Source(VolumeOrRejection):
    """One series as its reader understood it: a volume, or why it is none.

    Parameters
    ----------
    kind : InputKind
    name : str
        For people; never holds patient data.
    volume : Volume or None
    rejection : SeriesRejection or None
        Exactly one of the two is None.
    modality : str
        ``MR`` and the like; empty where the file does not say.
    sequence : str
        One of `domain.study.SEQUENCES`, ``other``, or empty where nothing tells.
    reasons : tuple of str
        Why this sequence, as sentences; what speaks against it begins with "But".
    facts : tuple of (str, str)
        What else the header says of the series, without identity.
    handle : object
        What the writer of results needs to refer to the source; nobody else looks at it.
    """

    kind: InputKind
    name: str
    volume: Volume | None = None
    rejection: SeriesRejection | None = None
    modality: str = ""
    sequence: str = ""
    reasons: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    handle: object = None


@dataclass(frozen=True, eq=False)
class Gathered:
    """What was found in the input.

    Parameters
    ----------
    sources : tuple of Source
    study : mapping of str to Source
        Sequence -> series that belong together; empty where they do not make a study.
    reference : str
        Sequence on whose grid the study lies; empty where there is none.
    notes : tuple of str
        What was left out and why.
    """

    sources: tuple[Source, ...]
    study: Mapping[str, Source] = field(default_factory=dict)
    reference: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """What the person asked for.

    Parameters
    ----------
    models : tuple of str
        Names of bundles; empty: all that suit the input.
    triage : str
        Name of the classifier; empty: the first there is.
    tta : bool
        Show the networks mirrored images, too.
    """

    models: tuple[str, ...] = ()
    triage: str = ""
    tta: bool = False


@dataclass(frozen=True, eq=False)
class Reading:
    """The reader's finding.

    Parameters
    ----------
    source : Source
        The series that is shown and on whose grid everything lies.
    volume : Volume
        Its voxels.
    study : StudyVolume or None
        All four sequences on that grid.
    quality : Quality
    objection : str
        Why it does not look like a head; empty where it may be one.
    """

    source: Source
    volume: Volume
    study: StudyVolume | None
    quality: Quality
    objection: str = ""

    @property
    def has_millimetres(self) -> bool:
        """Whether distances and volumes mean something."""
        return self.source.kind.has_millimetres


@dataclass(frozen=True)
class View:
    """One way the network was shown the images.

    Parameters
    ----------
    name : str
        E.g. ``identity``, ``left-right``.
    dice : float
        Agreement of its mask with that of the mean of all views; 1 where both are empty.
    volume_ml : float
    """

    name: str
    dice: float
    volume_ml: float


@dataclass(frozen=True, eq=False)
class ModelResult:
    """What one model found.

    Parameters
    ----------
    card : ModelCard
    identity : ModelIdentity
    segmentation : Segmentation
    probability_kji : ndarray of uint8, shape (slices, rows, columns)
        Of any tumour: 0 to 255 for 0 to 1.
    views : tuple of View
    entropy : float
        Mean entropy in bits of the voxels that any view marked; 0 where none did.
    notes : tuple of str
        What a reader of this model's result must know.
    """

    card: ModelCard
    identity: ModelIdentity
    segmentation: Segmentation
    probability_kji: npt.NDArray[np.uint8]
    views: tuple[View, ...]
    entropy: float
    notes: tuple[str, ...] = ()

    @property
    def min_dice(self) -> float:
        """Agreement of the view that agrees least."""
        return min(view.dice for view in self.views)


@dataclass(frozen=True)
class Check:
    """One thing that the critic looked at.

    Parameters
    ----------
    name : str
        For people.
    state : str
        ``ok``, ``doubt`` or ``stop``.
    sentence : str
        What was found, with its number.
    """

    name: str
    state: str
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The critic's finding.

    Parameters
    ----------
    word : str
        ``plausible``, ``doubtful`` or ``not usable``.
    checks : tuple of Check
    """

    word: str
    checks: tuple[Check, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What speaks against the result, the gravest first."""
        return tuple(one.sentence for state in ("stop", "doubt") for one in self.checks if one.state == state)


@dataclass(frozen=True)
class ReportFiles:
    """What the reporter wrote.

    Parameters
    ----------
    paths : mapping of str to Path
        ``json``, ``html``, ``pdf``, and where the input has them ``sr`` and one ``seg:MODEL`` or ``nifti:MODEL`` each.
    """

    paths: Mapping[str, Path]


@dataclass(frozen=True, eq=False)
class CaseFile:
    """Everything known of a case; agents hand back a changed copy.

    Parameters
    ----------
    source : Path
        File or folder that was given.
    options : Options
    gathered : Gathered or None
    reading : Reading or None
    triage : Triage or None
    results : tuple of ModelResult
        The one that is reported first.
    between : mapping of (str, str) to float
        Dice between two models, by their names.
    locations : mapping of str to Location
        By name of the model.
    verdict : Verdict or None
    files : ReportFiles or None
    records : tuple of AgentRecord
        What the chain wrote down up to now.
    """

    source: Path
    options: Options = Options()
    gathered: Gathered | None = None
    reading: Reading | None = None
    triage: Triage | None = None
    results: tuple[ModelResult, ...] = ()
    between: Mapping[tuple[str, str], float] = field(default_factory=dict)
    locations: Mapping[str, Location] = field(default_factory=dict)
    verdict: Verdict | None = None
    files: ReportFiles | None = None
    records: tuple[AgentRecord, ...] = ()

    def adding(self, **changes: Any) -> CaseFile:
        """Return a copy with some parts filled in."""
        return replace(self, **changes)

    def with_records(self, records: Sequence[AgentRecord]) -> CaseFile:
        """Return a copy with what the chain wrote down."""
        return replace(self, records=tuple(records))
