"""The worker's side: puts what the chain of agents finds into a case's folder while it is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from neuroscan_core.diagnosis.agent import AgentRecord
from neuroscan_core.diagnosis.case import CaseFile, Reading
from neuroscan_core.viewer.cases.folder import CaseFolder

PROGRESS_INTERVAL_S = 0.25
_REPORTS = ("html", "pdf")
_NAMES = {"seg": "DICOM SEG", "sr": "DICOM SR", "nifti": "Labels (NIfTI)"}
_KINDS = {"seg": "SEG", "sr": "SR", "nifti": "NIfTI"}


class CasePublisher:
    """Listener of a chain that writes a `CaseFolder`.

    Parameters
    ----------
    folder : CaseFolder
        The chain's reporter writes its files into the same folder.
    title : str
        Shown until the reader knows more.
    clock : callable
        Seconds that never go back.
    """

    def __init__(self, folder: CaseFolder, title: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._title, self._clock = folder, title, clock
        self._states: tuple[str, ...] = ()
        self._told_at_s = -PROGRESS_INTERVAL_S
        self._has_volume = False
        self._written: set[str] = set()
        folder.path.mkdir(parents=True, exist_ok=True)

    def __call__(self, case: CaseFile, records: Sequence[AgentRecord]) -> None:
        """Write what is new; progress within a step at most a few times a second."""
        states = tuple(record.state.value for record in records)
        now_s = self._clock()
        if states == self._states and now_s - self._told_at_s < PROGRESS_INTERVAL_S:
            return
        is_new_state, self._states, self._told_at_s = states != self._states, states, now_s
        if is_new_state:
            self._write_arrays(case)
            self._write_case(case, "running")
        self._folder.write_agents([record.as_json() for record in records])

    def finish(self, case: CaseFile) -> None:
        """Say that the chain has ended."""
        self._write_arrays(case)
        self._folder.write_agents([record.as_json() for record in case.records])
        why = _why_failed(case)
        self._write_case(case, "failed" if why else "done", reason=why)

    def _write_arrays(self, case: CaseFile) -> None:
        reading = case.reading
        if reading is None:
            return
        if not self._has_volume:
            self._folder.write_volume(reading.volume, has_millimetres=reading.has_millimetres)
            self._has_volume = True
            self._write_sources(case, reading)
        for one in case.results:
            if one.card.name in self._written:
                continue
            self._folder.write_segmentation(
                one.card.name, one.segmentation, one.identity, one.card, one.probability_kji,
                has_millimetres=reading.has_millimetres, warnings=one.notes,
            )  # fmt: skip
            self._written.add(one.card.name)

    def _write_sources(self, case: CaseFile, reading: Reading) -> None:
        """The series of a study, each as it is and as the models see it."""
        if case.gathered is None or reading.study is None:
            return
        for name, source in case.gathered.study.items():
            self._folder.write_source(
                name, source.require_volume(), is_reference=name == case.gathered.reference,
                shown_kji=reading.study.channel(name),
            )  # fmt: skip

    def _write_case(self, case: CaseFile, state: str, *, reason: str = "") -> None:
        reading, verdict = case.reading, case.verdict
        files = {} if case.files is None else case.files.paths
        downloads, reports = [], []
        for kind, path in files.items():
            what, _, model = kind.partition(":")
            file = path.relative_to(self._folder.path).as_posix()
            if what in _REPORTS:
                reports.append({"kind": what, "file": file})
            elif what == "json":
                downloads.append({"kind": "JSON", "name": "Report (JSON)", "file": file, "segmentation": ""})
            else:
                name = f"{_NAMES[what]}, {model}"
                downloads.append({"kind": _KINDS[what], "name": name, "file": file, "segmentation": model})
            if what == "sr" and not any(one["kind"] == "sr" for one in reports):
                reports.append({"kind": "sr", "file": file})
        self._folder.write_case(
            title=self._title if reading is None else title_of(reading),
            state=state,
            reason=reason,
            modality="" if reading is None else reading.source.modality,
            description="" if reading is None else reading.source.name,
            warnings=() if verdict is None else verdict.sentences,
            verdict="" if verdict is None else verdict.word,
            downloads=downloads,
            reports=reports,
        )


def _why_failed(case: CaseFile) -> str:
    """Why there is nothing to show: no images, or no report; empty where there is."""
    wanted = "reader" if case.reading is None else "reporter" if case.files is None else ""
    return " ".join(note for record in case.records if record.name == wanted for note in record.notes)


def title_of(reading: Reading) -> str:
    """What the images are, in a few words without identity."""
    source, num_slices = reading.source, reading.volume.geometry.num_slices
    if reading.study is not None:
        return f"Study of {', '.join(reading.study.channels)}, {num_slices} slices"
    what = f"{source.sequence} series" if source.sequence not in ("", "other") else f"{source.kind.value} images"
    if not source.kind.has_millimetres:
        return "Picture" if num_slices == 1 else f"Stack of {num_slices} pictures"
    return f"{what}, {num_slices} slices"
