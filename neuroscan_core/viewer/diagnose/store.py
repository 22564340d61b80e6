"""Diagnoses on disk: what was uploaded, what was found, and until when it is kept.

    DIRECTORY/                      mode 0700
      d0123456789abcdef/            one diagnosis
        job.json                    state, times, wishes; no identity, no names of files
        upload/                     as it came, archives unpacked
        case/                       `viewer.cases.folder`
      ….part/                       an upload that has not ended
      ….gone/                       being deleted

A folder gets its name when the upload is whole and loses it before it is deleted, so that a crash leaves nothing that
looks like a diagnosis.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neuroscan_core.diagnosis.agent import AgentRecord
from neuroscan_core.diagnosis.steps import STEPS
from neuroscan_core.domain.errors import CaseNotFound
from neuroscan_core.log import get_logger
from neuroscan_core.viewer.case_ids import DIAGNOSIS_PREFIX, is_case_id, new_diagnosis_id
from neuroscan_core.viewer.cases.folder import CaseFolder

log = get_logger(__name__)

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
LIVE_STATES = (QUEUED, RUNNING)


@dataclass(frozen=True)
class Job:
    """A diagnosis.

    Parameters
    ----------
    id : str
    state : str
        ``queued``, ``running``, ``done`` or ``failed``.
    created_at_s, expires_at_s : float
        Unix time.
    models : tuple of str
        Empty: those that suit.
    tta : bool
    num_files, num_bytes : int
        Of the upload.
    reason, remedy : str
        Why it failed, and what to do.
    """

    id: str
    state: str
    created_at_s: float
    expires_at_s: float
    models: tuple[str, ...] = ()
    tta: bool = False
    num_files: int = 0
    num_bytes: int = 0
    reason: str = ""
    remedy: str = ""


class DiagnosisStore:
    """Keeps diagnoses. Thread-safe.

    Parameters
    ----------
    directory : Path
        Made where missing, readable by this user alone.
    keep_s : float
        A diagnosis is deleted so long after its upload.
    clock : callable
        Unix time in seconds.
    """

    def __init__(self, directory: Path, *, keep_s: float, clock: Callable[[], float] = time.time) -> None:
        self._directory, self._keep_s, self._clock = directory, keep_s, clock
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._revision = 0
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        self._recover()

    @property
    def revision(self) -> int:
        """Grows with every change of a job."""
        return self._revision

    def jobs(self) -> list[Job]:
        """All of them, newest first."""
        with self._lock:
            return sorted(self._jobs.values(), key=lambda job: -job.created_at_s)

    def find(self, case_id: str) -> Job | None:
        """One of them; None where there is none."""
        with self._lock:
            return self._jobs.get(case_id)

    def get(self, case_id: str) -> Job:
        """One of them.

        Raises
        ------
        CaseNotFound
        """
        job = self.find(case_id)
        if job is None:
            raise CaseNotFound(
                "There is no such diagnosis.", remedy="It was deleted, or its time is over. Go back to the list."
            )
        return job

    def num_bytes(self) -> int:
        """What all of it takes on disk; files come and go meanwhile."""
        total = 0
        for folder, _, names in os.walk(self._directory):
            for name in names:
                with suppress(FileNotFoundError):
                    total += (Path(folder) / name).lstat().st_size
        return total

    def upload_dir(self, case_id: str) -> Path:
        """Folder of what was uploaded."""
        return self._folder(case_id) / "upload"

    def case_folder(self, case_id: str) -> CaseFolder:
        """Folder of what was found."""
        return CaseFolder(self._folder(case_id) / "case")

    # ------------------------------------------------------------------------------------------------------- changes

    def begin(self) -> tuple[str, Path]:
        """Identifier of a new diagnosis, and the empty folder for its upload; end it by `keep` or `drop`."""
        case_id = new_diagnosis_id()
        folder = self._directory / f"{case_id}.part" / "upload"
        folder.mkdir(parents=True, mode=0o700)
        return case_id, folder

    def keep(self, case_id: str, *, models: tuple[str, ...], tta: bool, num_files: int, num_bytes: int) -> Job:
        """The upload is whole: it is a diagnosis from now on, and waits."""
        now_s = self._clock()
        job = Job(case_id, QUEUED, now_s, now_s + self._keep_s, models, tta, num_files, num_bytes)
        part = self._directory / f"{case_id}.part"
        case = CaseFolder(part / "case")
        case.write_case(title=_title(num_files), state=QUEUED)
        case.write_agents([AgentRecord(name, title).as_json() for name, title in STEPS])
        _write(part, job)
        part.rename(self._folder(case_id))
        self._put(job)
        return job

    def drop(self, case_id: str) -> None:
        """The upload did not become one."""
        shutil.rmtree(self._directory / f"{case_id}.part", ignore_errors=True)

    def set_running(self, case_id: str) -> None:
        """The worker has begun."""
        with self._lock:
            job = self.find(case_id)
            if job is not None:
                self.case_folder(case_id).write_case(title=_title(job.num_files), state=RUNNING)
                self._change(case_id, state=RUNNING)

    def set_done(self, case_id: str) -> None:
        """The worker has ended well; it has written its case itself."""
        self._change(case_id, state=DONE)

    def set_failed(self, case_id: str, reason: str, remedy: str = "") -> None:
        """The worker has not ended well."""
        with self._lock:  # what is deleted meanwhile is not written again
            job = self.find(case_id)
            if job is None:
                return
            folder = self.case_folder(case_id)
            case = folder.case()
            folder.write_agents([_ended(agent) for agent in folder.agents()])
            folder.write_case(
                title=case.get("title", _title(job.num_files)),
                state=FAILED,
                modality=case.get("modality", ""),
                description=case.get("description", ""),
                reason=reason,
                remedy=remedy,
                warnings=case.get("warnings", []),
                verdict=case.get("verdict", ""),
                downloads=case.get("downloads", []),
                reports=case.get("reports", []),
            )
            self._change(case_id, state=FAILED, reason=reason, remedy=remedy)  # at last: the case is whole by then

    def delete(self, case_id: str) -> None:
        """Forget a diagnosis and everything of it; one that is not there is gone already."""
        with self._lock:
            if self._jobs.pop(case_id, None) is None:
                return
            self._revision += 1
            gone = self._directory / f"{case_id}.gone"
            try:
                self._folder(case_id).rename(gone)
            except OSError:
                gone = self._folder(case_id)
        shutil.rmtree(gone, ignore_errors=True)
        log.info("a diagnosis was deleted", case=case_id)

    def expired(self) -> list[str]:
        """Those whose time is over."""
        now_s = self._clock()
        return [job.id for job in self.jobs() if job.expires_at_s <= now_s]

    def _change(self, case_id: str, **changes: Any) -> None:
        """Change a job, unless it was deleted meanwhile."""
        with self._lock:
            if case_id in self._jobs:
                job = self._jobs[case_id] = replace(self._jobs[case_id], **changes)
                self._revision += 1
                _write(self._folder(case_id), job)

    def _put(self, job: Job) -> None:
        with self._lock:
            self._jobs[job.id] = job
            self._revision += 1

    def _folder(self, case_id: str) -> Path:
        assert is_case_id(case_id) and case_id.startswith(DIAGNOSIS_PREFIX), case_id
        return self._directory / case_id

    # ------------------------------------------------------------------------------------------------------ recovery

    def _recover(self) -> None:
        """Find what an earlier viewer left: diagnoses stay, what was under way is marked, remains are deleted."""
        for folder in self._directory.iterdir():
            if folder.suffix in (".part", ".gone"):
                shutil.rmtree(folder, ignore_errors=True)
        for job in _stored(self._directory):
            self._jobs[job.id] = job
        for job in self.jobs():
            if job.state == RUNNING:
                self.set_failed(
                    job.id, "The viewer was stopped while it was at work on this.", "Drop the images once more."
                )


def _stored(directory: Path) -> Iterator[Job]:
    for folder in sorted(directory.iterdir()):
        if not is_case_id(folder.name) or not folder.is_dir():
            continue
        try:
            raw = json.loads((folder / "job.json").read_text(encoding="utf-8"))
            yield Job(**{**raw, "models": tuple(raw["models"])})
        except (OSError, ValueError, TypeError, KeyError):
            log.warning("a folder holds no diagnosis and is deleted", case=folder.name)
            shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, job: Job) -> None:
    temporary = folder / "job.json.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(asdict(job), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / "job.json")


def _ended(agent: dict[str, Any]) -> dict[str, Any]:
    """An agent whose worker has gone."""
    instead = {"running": "failed", "waiting": "skipped"}.get(agent.get("state", ""))
    if instead is None:
        return agent
    notes = ["This step was broken off."] if instead == "failed" else ["The chain ended before this step."]
    return {**agent, "state": instead, "notes": [*agent.get("notes", []), *notes], "progress": None}


def _title(num_files: int) -> str:
    return "Diagnosis of 1 file" if num_files == 1 else f"Diagnosis of {num_files} files"
