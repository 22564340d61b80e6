"""Another model on a case that is open: one worker process at a time, the viewer only waits for it.

The volume goes to the worker as a `CaseFolder`, and what it found comes back in the same way. Names of files and
arguments hold nothing of the patient.
"""

from __future__ import annotations

import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroscan_core.domain.errors import CaseConflict, CaseError, NeuroScanError, WebProblem
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.log import get_logger
from neuroscan_core.viewer.cases.case import Case
from neuroscan_core.viewer.cases.folder import CaseFolder
from neuroscan_core.viewer.worker import end_worker, messages_of, start_worker

log = get_logger(__name__)

MAX_WAITING = 4
SEGMENTATION = "result"  # name under which the worker writes it
DEFAULT_TIMEOUT_S = 900.0


class CompareJobs:
    """Runs models one after the other.

    Parameters
    ----------
    command : sequence of str
        Of the worker; the folder and the name of the model are added. Empty: no model can be run.
    cards : mapping of str to ModelCard
        Models by name.
    timeout_s : float
        A worker that takes longer is ended.
    """

    def __init__(
        self, command: Sequence[str], cards: Mapping[str, ModelCard], *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        self._command, self._cards, self._timeout_s = tuple(command), cards, timeout_s
        self._waiting: queue.Queue[tuple[Case, str, ModelCard] | None] = queue.Queue(MAX_WAITING)
        self._running: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewer-compare", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def stop(self) -> None:
        """End the worker, if one runs, and take no more."""
        self._stopping.set()
        with self._lock:
            if self._process is not None:
                end_worker(self._process)
        if self._thread.ident is not None:
            while True:
                try:
                    self._waiting.get_nowait()
                except queue.Empty:
                    break
            self._waiting.put(None)
            self._thread.join(timeout=5)

    def submit(self, case: Case, model: str) -> str:
        """Queue a model for a case; the identifier of what will be its segmentation.

        Raises
        ------
        WebProblem
            The model is not there, or needs more than one series.
        CaseConflict
            The volume is not complete, this model is in hand for it already, or too many wait.
        CaseNotReady
            The volume is being loaded.
        """
        card = self._cards.get(model)
        if card is None or not self._command:
            raise WebProblem(422, "There is no such model here.", remedy="Choose one of the list.")
        if card.kind is ModelKind.CLASSIFIER:
            raise WebProblem(422, f"{model} does not segment.", remedy="Choose a model that does.")
        if card.kind is not ModelKind.SLICE25D and not set(card.channels) <= set(case.sequences):
            raise WebProblem(
                422, f"{model} does not segment a single series.",
                meaning=f"It needs {', '.join(card.channels)} of one study.",
                remedy="Choose a model of one series, or open the study.",
            )  # fmt: skip
        case.volume()  # raises where it is not there
        with self._lock:
            if (case.id, model) in self._running:
                raise CaseConflict("This model is running on this case already.", remedy="Wait for its result.")
            if self._waiting.full():
                raise CaseConflict("Too many models wait to be run.", remedy="Try again when one of them is done.")
            self._running.add((case.id, model))
        sid = case.announce(model, card.version)
        self._waiting.put((case, sid, card))
        return sid

    def _run(self) -> None:
        while not self._stopping.is_set():
            job = self._waiting.get()
            if job is None:
                return
            case, sid, card = job
            try:
                self._segment(case, sid, card)
            except NeuroScanError as error:
                case.fail_added(sid, str(error))
            except Exception as error:
                log.exception("a model could not be run on a case")
                case.fail_added(sid, f"The model could not be run: {type(error).__name__}.")
            finally:
                with self._lock:
                    self._running.discard((case.id, card.name))

    def _segment(self, case: Case, sid: str, card: ModelCard) -> None:
        from neuroscan_core.pipeline.measure import finish_segmentation

        volume = case.volume()
        folder = Path(tempfile.mkdtemp(prefix="neuroscan-compare-"))
        try:
            CaseFolder(folder).write_volume(volume)
            if card.kind is not ModelKind.SLICE25D:
                for n, (name, source) in enumerate(case.sources().items()):
                    CaseFolder(folder).write_source(name, source, is_reference=n == 0)
            identity = self._work(folder, case, sid, card)
            found = CaseFolder(folder)
            labels_kji = np.array(found.labels_kji(SEGMENTATION))
            probabilities_kji = np.array(found.probabilities_kji(SEGMENTATION))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        # What was written is postprocessed already; only keys and sizes are those of the case again.
        segmentation = finish_segmentation(labels_kji, volume.geometry, volume.keys, card)
        case.add_segmentation(segmentation, identity, card, probabilities_kji, sid)

    def _work(self, folder: Path, case: Case, sid: str, card: ModelCard) -> ModelIdentity:
        """Run the worker to its end."""
        command = [*self._command, str(folder), card.name]
        with self._lock:
            if self._stopping.is_set():
                raise CaseError("The viewer stops.")
            self._process = process = start_worker(command)
        timer = threading.Timer(self._timeout_s, end_worker, (process,))
        timer.start()
        last: dict[str, Any] = {}
        try:
            with process:  # closes its output and waits
                for last in messages_of(process):
                    if "progress" in last:
                        case.note_added(sid, float(last["progress"]))
            status = process.returncode
        finally:
            timer.cancel()
            with self._lock:
                self._process = None
        if status != 0 or "engine" not in last:
            raise CaseError(
                str(last.get("error") or "The model could not be run to its end."), remedy=str(last.get("remedy") or "")
            )
        return ModelIdentity(card.name, card.version, card.onnx_sha256, str(last["engine"]))
