"""The HTTP side of cases: what a browser reads of one, and how it asks for another model.

Voxels and masks are binary and little-endian. Handlers are plain functions, which Starlette runs in threads: whatever
blocks or computes stays off the event loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from neuroscan_core.domain.errors import BusError, CaseError, CaseNotFound, CaseNotReady, WebProblem
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.domain.requests import Identity
from neuroscan_core.log import get_logger
from neuroscan_core.viewer.cases.case import Case, Download, SliceBlock
from neuroscan_core.viewer.cases.compare import CompareJobs
from neuroscan_core.viewer.cases.describe import SPARE_COLOURS
from neuroscan_core.viewer.cases.store import CaseStore
from neuroscan_core.viewer.topics import RevisionTopic

if TYPE_CHECKING:
    from neuroscan_core.pipeline.surface import SurfacePart

log = get_logger(__name__)

MAX_NUMBER = 2**53
_BINARY = "application/octet-stream"
_IMMUTABLE = {"cache-control": "private, no-store"}  # patients' images stay out of the caches of shared computers


def case_topic(store: CaseStore) -> RevisionTopic:
    """Tells a browser that the case it shows has changed."""
    return RevisionTopic(
        "case", store.revision, lambda case_id: {"id": case_id, "revision": store.revision(case_id) or 0}
    )


def case_routes(
    store: CaseStore, jobs: CompareJobs, *, is_identity_shown: Callable[[Request], bool]
) -> list[BaseRoute]:
    """Routes of cases of every kind.

    Parameters
    ----------
    store : CaseStore
    jobs : CompareJobs
        Runs other models.
    is_identity_shown : callable
        Whether the session of a request has the audited switch on.
    """

    def meta(request: Request) -> Response:
        case = _case(store, request)
        body = case.meta()
        if is_identity_shown(request):
            body["identity"], body["identity_note"] = _identity(store, case.id)
        return JSONResponse(body)

    def slices(request: Request) -> Response:
        case = _case(store, request)
        return _slices_response(case.slices(_number(request, "from", 0), _number(request, "count", 1)))

    def sequence(request: Request) -> Response:
        start, count = _number(request, "from", 0), _number(request, "count", 1)
        try:
            block = _case(store, request).sequence_slices(request.path_params["name"], start, count)
        except CaseNotReady as waiting:
            return _waiting("loading", waiting)
        return _slices_response(block)

    def masks(request: Request) -> Response:
        update = _case(store, request).masks(request.path_params["sid"], _number(request, "since", -1))
        header = {"revision": update.revision, "slices": list(update.slices)}
        return _with_header(header, update.labels_nji.tobytes())

    def probabilities(request: Request) -> Response:
        try:
            values_nji = _case(store, request).probabilities(request.path_params["sid"])
        except CaseNotReady as waiting:
            return _waiting("computing", waiting)
        return Response(np.ascontiguousarray(values_nji).tobytes(), media_type=_BINARY)

    def surface(request: Request) -> Response:
        case, sid = _case(store, request), request.path_params["sid"]
        parts = case.surface(sid)
        entries = [one for one in case.meta()["segmentations"] if one["id"] == sid]
        named = {label["value"]: (label["name"], label["colour"]) for one in entries for label in one["labels"]}
        return _surface_response(parts, named)

    def head(request: Request) -> Response:
        return _surface_response(_case(store, request).head_surface(), {0: ("head", "#c8c8c8")})

    def download(request: Request) -> Response:
        number = request.query_params.get("slice")
        made: Download = _case(store, request).download(
            request.path_params["kind"],
            request.query_params.get("segmentation") or None,
            None if number is None else _number(request, "slice", 0),
        )
        headers = {"content-disposition": f'attachment; filename="{made.name}"', **_IMMUTABLE}
        return Response(made.content, media_type=made.media_type, headers=headers)

    async def segment(request: Request) -> Response:
        model = _model_of(await request.body())
        return await anyio.to_thread.run_sync(lambda: _segment(store, jobs, request, model))

    def models(_: Request) -> Response:
        return JSONResponse([_model_entry(card) for card in store.cards.values()])

    base = "/api/cases/{case}"
    return [
        Route("/api/models", models),
        Route(base, meta, methods=["GET"]),
        Route(f"{base}/slices", slices),
        Route(f"{base}/sequences/{{name}}/slices", sequence),
        Route(f"{base}/segmentations/{{sid}}/masks", masks),
        Route(f"{base}/segmentations/{{sid}}/probabilities", probabilities),
        Route(f"{base}/segmentations/{{sid}}/surface", surface),
        Route(f"{base}/head-surface", head),
        Route(f"{base}/download/{{kind}}", download),
        Route(f"{base}/segment", segment, methods=["POST"]),
    ]


def _case(store: CaseStore, request: Request) -> Case:
    return store.get(request.path_params["case"])


def _slices_response(block: SliceBlock) -> Response:
    headers = {"x-num-slices": str(block.num_slices), "x-pixels-revision": str(block.pixels_revision), **_IMMUTABLE}
    return Response(block.content, media_type=_BINARY, headers=headers)


def _waiting(state: str, waiting: CaseNotReady) -> Response:
    """Ask again: it is being made."""
    body = {"state": state, "progress": round(waiting.progress, 3), "error": waiting.message}
    return JSONResponse(body, status_code=202, headers={"retry-after": "1"})


def _identity(store: CaseStore, case_id: str) -> tuple[dict[str, str] | None, str]:
    """As the page has it, or None and a sentence that says why it cannot be had. Not logged."""
    try:
        found: Identity = store.identity(case_id)
    except (BusError, CaseError) as error:
        return None, str(error)
    shown = {
        "name": found.patient_name.replace("^", " ").strip(),
        "id": found.patient_id,
        "birth_date": found.patient_birth_date,
        "sex": found.patient_sex,
        "study_date": found.study_date,
    }
    return shown, ""


def _segment(store: CaseStore, jobs: CompareJobs, request: Request, model: str) -> Response:
    case = _case(store, request)
    sid = jobs.submit(case, model)
    return JSONResponse({"segmentation": sid, "state": "running"}, status_code=202)


def _model_of(body: bytes) -> str:
    try:
        asked = json.loads(body)
        model = asked["model"]
    except (ValueError, KeyError, TypeError) as exc:
        raise WebProblem(422, "The request names no model.", remedy='Send {"model": NAME}.') from exc
    if not isinstance(model, str):
        raise WebProblem(422, "The name of the model is no text.", remedy='Send {"model": NAME}.')
    return model


def _model_entry(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "version": card.version,
        "kind": card.kind.value,
        "title": str(card.raw.get("title") or card.task or card.name),
        "sequence": card.sequence,
        "channels": list(card.channels),
        "is_for_one_series": card.kind is ModelKind.SLICE25D,
        "labels": [
            {
                "value": label.value,
                "name": label.name,
                "colour": "#{:02x}{:02x}{:02x}".format(*label.colour_rgb),
            }
            for label in card.labels
        ],
    }


def _surface_response(parts: list[SurfacePart], named: Mapping[int, tuple[str, str]]) -> Response:
    if not parts:
        raise CaseNotFound("There is no surface (yet).")
    described = []
    content = []
    for part in parts:
        spare = (f"label {part.label}", SPARE_COLOURS[(part.label - 1) % len(SPARE_COLOURS)])
        name, colour = named.get(part.label, spare)
        described.append(
            {
                "label": part.label,
                "name": name,
                "colour": colour,
                "num_vertices": len(part.vertices_v3),
                "num_triangles": len(part.triangles_t3),
            }
        )
        content += [
            part.vertices_v3.astype("<f4").tobytes(),
            part.normals_v3.astype("<f4").tobytes(),
            part.triangles_t3.astype("<u4").tobytes(),
        ]
    return _with_header({"parts": described}, b"".join(content))


def _with_header(header: dict[str, Any], content: bytes) -> Response:
    """Length, JSON padded so that what follows lies on a multiple of four bytes, content."""
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % 4)
    return Response(len(packed).to_bytes(4, "little") + packed + content, media_type=_BINARY)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError as exc:
        raise WebProblem(422, f"{name} is no whole number.") from exc
    if not -1 <= number <= MAX_NUMBER:
        raise WebProblem(422, f"{name} is out of range.")
    return number
