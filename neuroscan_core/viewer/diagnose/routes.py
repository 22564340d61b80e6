"""The HTTP side of diagnoses: take in, list, delete, read the report. What a case shows is the routes' of `cases`."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from neuroscan_core.config import ViewerConfig
from neuroscan_core.diagnosis.report.policy import POLICY
from neuroscan_core.domain.errors import CaseNotFound, WebProblem
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.viewer.case_ids import DIAGNOSIS_PREFIX, is_case_id
from neuroscan_core.viewer.cases.folder_case import FolderCase
from neuroscan_core.viewer.diagnose.queue import DiagnosisQueue
from neuroscan_core.viewer.diagnose.store import DiagnosisStore, Job
from neuroscan_core.viewer.diagnose.unpacking import Limits, unpack_all
from neuroscan_core.viewer.diagnose.upload import receive_files
from neuroscan_core.viewer.topics import RevisionTopic

MAX_UPLOADS_AT_ONCE = 4
_MODEL_NAMES = re.compile(r"[A-Za-z0-9_.,-]{0,500}")
_MEDIA_TYPES = {"html": "text/html; charset=utf-8", "pdf": "application/pdf", "sr": "application/dicom"}
_SUFFIXES = {"html": "html", "pdf": "pdf", "sr": "dcm"}


class DiagnosisCase(FolderCase):
    """A diagnosis as the browser sees it: its folder, with the times and the place in the queue."""

    def __init__(self, job: Job, store: DiagnosisStore, queue: DiagnosisQueue) -> None:
        super().__init__(job.id, store.case_folder(job.id))
        self._store, self._queue = store, queue

    def meta(self) -> dict[str, Any]:
        """See `Case`."""
        job = self._store.get(self.id)
        return {
            **super().meta(),
            "created_at_s": job.created_at_s,
            "expires_at_s": job.expires_at_s,
            "queue_position": self._queue.position(self.id),
        }


class Diagnoses:
    """Diagnoses of this viewer: the store, the queue, and cases of them for those who look.

    Parameters
    ----------
    store : DiagnosisStore
    queue : DiagnosisQueue
    """

    def __init__(self, store: DiagnosisStore, queue: DiagnosisQueue) -> None:
        self.store, self.queue = store, queue
        self._cases: dict[str, DiagnosisCase] = {}
        self._lock = threading.Lock()

    def find(self, case_id: str) -> DiagnosisCase | None:
        """Case of a diagnosis; None where there is none. For `CaseStore.add_finder`."""
        job = self.store.find(case_id) if case_id.startswith(DIAGNOSIS_PREFIX) else None
        with self._lock:
            if job is None:
                self._cases.pop(case_id, None)
                return None
            if case_id not in self._cases:
                self._cases[case_id] = DiagnosisCase(job, self.store, self.queue)
            return self._cases[case_id]

    def delete(self, case_id: str) -> None:
        """End and delete a diagnosis.

        Raises
        ------
        CaseNotFound
        """
        self.store.get(case_id)
        self.queue.cancel(case_id)
        self.store.delete(case_id)


def agents_topic(diagnoses: Diagnoses) -> RevisionTopic:
    """Tells a browser what the agents of the case that it shows do."""

    def revision(case_id: str) -> int | None:
        if not is_case_id(case_id) or diagnoses.store.find(case_id) is None:
            return None
        try:
            return (diagnoses.store.case_folder(case_id).path / "agents.json").stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def data(case_id: str) -> Any:
        return {"id": case_id, "agents": diagnoses.store.case_folder(case_id).agents()}

    return RevisionTopic("agents", revision, data)


def diagnose_routes(diagnoses: Diagnoses, config: ViewerConfig, cards: Mapping[str, ModelCard]) -> list[BaseRoute]:
    """Routes of diagnoses.

    Parameters
    ----------
    diagnoses : Diagnoses
    config : ViewerConfig
    cards : mapping of str to ModelCard
        Models that may be asked for.
    """
    slots = threading.BoundedSemaphore(MAX_UPLOADS_AT_ONCE)

    async def take(request: Request) -> Response:
        models, tta = _wishes(request, cards)
        if not config.diagnose.enabled:
            raise WebProblem(
                HTTPStatus.FORBIDDEN, "This node takes no studies.", meaning="Uploads are switched off.",
                remedy="Use `neuroscan diagnose` on the command line.",
            )  # fmt: skip
        if not slots.acquire(blocking=False):
            raise WebProblem(
                HTTPStatus.TOO_MANY_REQUESTS, "Too many uploads at once.", meaning="Nothing was kept.",
                remedy="Wait until one of them has ended.", retry_after_s=10,
            )  # fmt: skip
        try:
            job = await _receive(request, diagnoses, config, models, tta)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is there to read it
        finally:
            slots.release()
        return JSONResponse({"id": job.id}, status_code=HTTPStatus.CREATED)

    def cases(_: Request) -> Response:
        return JSONResponse([_entry(job, diagnoses) for job in diagnoses.store.jobs()])

    def delete(request: Request) -> Response:
        case_id = request.path_params["case"]
        if not case_id.startswith(DIAGNOSIS_PREFIX):
            raise WebProblem(
                HTTPStatus.METHOD_NOT_ALLOWED, "Only diagnoses can be deleted here.",
                meaning="Series belong to the node, which keeps them as long as it is told to.",
            )  # fmt: skip
        diagnoses.delete(case_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def report(request: Request) -> Response:
        return _report(diagnoses, request.path_params["case"], request.path_params["kind"])

    return [
        Route("/api/diagnose", take, methods=["POST"]),
        Route("/api/cases", cases),
        Route("/api/cases/{case}", delete, methods=["DELETE"]),
        Route("/api/cases/{case}/report/{kind}", report),
    ]


def _wishes(request: Request, cards: Mapping[str, ModelCard]) -> tuple[tuple[str, ...], bool]:
    text = request.query_params.get("models", "")
    names = tuple(dict.fromkeys(name for name in text.split(",") if name)) if _MODEL_NAMES.fullmatch(text) else ("",)
    unknown = [name for name in names if name not in cards or cards[name].kind is ModelKind.CLASSIFIER]
    if unknown:
        raise WebProblem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "There is no such segmenter here.", meaning="Nothing was kept.",
            remedy="Choose models of the list.",
        )  # fmt: skip
    return names, request.query_params.get("tta", "0") in ("1", "true")


async def _receive(
    request: Request, diagnoses: Diagnoses, config: ViewerConfig, models: tuple[str, ...], tta: bool
) -> Job:
    store, queue, uploads = diagnoses.store, diagnoses.queue, config.uploads
    queue.require_room()
    await anyio.to_thread.run_sync(_require_space, store, uploads.max_kept_bytes)
    case_id, folder = await anyio.to_thread.run_sync(store.begin)
    gone = threading.Event()
    try:
        received = await receive_files(
            request.headers.get("content-type", ""), request.stream(), folder, max_files=uploads.max_files,
            max_bytes=uploads.max_bytes,
        )  # fmt: skip
        limits = Limits(uploads.max_files, uploads.max_unpacked_bytes)
        await anyio.to_thread.run_sync(lambda: unpack_all(folder, limits, is_stopping=gone.is_set))

        def keep() -> Job:
            return store.keep(
                case_id, models=models, tta=tta, num_files=received.num_files, num_bytes=received.num_bytes
            )

        job = await anyio.to_thread.run_sync(keep)
    except BaseException:
        gone.set()
        store.drop(case_id)
        raise
    queue.submit(job)
    return job


def _require_space(store: DiagnosisStore, max_kept_bytes: int) -> None:
    if store.num_bytes() >= max_kept_bytes:
        raise WebProblem(
            HTTPStatus.INSUFFICIENT_STORAGE, "There is no room for further uploads.",
            meaning="Earlier diagnoses take all that may be kept. Nothing was kept of this one.",
            remedy="Delete some, or raise viewer.uploads.max_kept_bytes.",
        )  # fmt: skip


def _entry(job: Job, diagnoses: Diagnoses) -> dict[str, Any]:
    case = diagnoses.store.case_folder(job.id).case()
    return {
        "id": job.id,
        "title": case.get("title", ""),
        "state": job.state,
        "created_at_s": job.created_at_s,
        "expires_at_s": job.expires_at_s,
        "queue_position": diagnoses.queue.position(job.id),
    }


def _report(diagnoses: Diagnoses, case_id: str, kind: str) -> Response:
    diagnoses.store.get(case_id)
    folder = diagnoses.store.case_folder(case_id)
    named = next((one for one in folder.case().get("reports", []) if one["kind"] == kind), None)
    if named is None or kind not in _MEDIA_TYPES:
        raise CaseNotFound("There is no such report (yet).", remedy="Wait until the reporter has finished.")
    headers = {"cache-control": "private, no-store"}
    if kind == "html":
        # Stricter than the page's own: no script, no form, an origin of its own.
        headers["content-security-policy"] = f"{POLICY}; frame-ancestors 'self'; sandbox allow-popups"
    else:
        headers["content-disposition"] = f'attachment; filename="neuroscan-{case_id}.{_SUFFIXES[kind]}"'
    return Response(folder.file(named["file"]).read_bytes(), media_type=_MEDIA_TYPES[kind], headers=headers)


def diagnoses_of(config: ViewerConfig, command: Sequence[str], clock: Callable[[], float] = time.time) -> Diagnoses:
    """Store and queue as a configuration wants them.

    Parameters
    ----------
    config : ViewerConfig
        Its directory is set.
    command : sequence of str
        Of the worker, see `queue`.
    clock : callable
        Unix time in seconds.
    """
    assert config.directory is not None, "the configuration of a node sets it"
    store = DiagnosisStore(config.directory / "diagnoses", keep_s=3600.0 * config.uploads.keep_hours, clock=clock)
    wanted = config.diagnose
    queue = DiagnosisQueue(
        store, command, timeout_s=wanted.timeout_s, max_running=wanted.max_running, max_waiting=wanted.max_waiting
    )
    return Diagnoses(store, queue)
