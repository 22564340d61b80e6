"""The HTTP side of diagnoses, with real workers where they matter."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from dicom_gateway.phantom_series import write_phantom_series
from neuroscan_core.config import DiagnoseConfig, UploadsConfig, ViewerConfig
from neuroscan_core.diagnosis.report.policy import POLICY
from neuroscan_core.inference.bundle import find_cards
from neuroscan_core.phantom import HeadPhantom, Weighting
from neuroscan_core.viewer.diagnose.routes import Diagnoses, agents_topic, diagnose_routes, diagnoses_of
from neuroscan_core.viewer.problems import HANDLERS
from tests.viewer.diagnose.test_store_and_queue import COMMAND, wait_for

REAL = (sys.executable, "-m", "neuroscan_core.cli", "diagnose")


def config_of(tmp_path: Path, **uploads: object) -> ViewerConfig:
    kept = UploadsConfig(**uploads)  # type: ignore[arg-type]
    return ViewerConfig(directory=tmp_path / "viewer", uploads=kept, diagnose=DiagnoseConfig(max_waiting=2))


class Site:
    """Routes of diagnoses over HTTP."""

    def __init__(self, config: ViewerConfig, command: tuple[str, ...]) -> None:
        self.diagnoses: Diagnoses = diagnoses_of(config, command)
        routes = diagnose_routes(self.diagnoses, config, find_cards())
        app = Starlette(routes=routes, exception_handlers=HANDLERS)
        self._socket = socket.create_server(("127.0.0.1", 0))
        settings = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        port = self._socket.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0)

    def close(self) -> None:
        self.client.close()
        self.diagnoses.queue.stop()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def drop(self, *files: tuple[str, bytes], query: str = "") -> httpx.Response:
        return self.client.post(f"/api/diagnose{query}", files=[("files", file) for file in files])


@contextmanager
def serving(config: ViewerConfig, command: tuple[str, ...] = COMMAND) -> Iterator[Site]:
    made = Site(config, command)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(config_of(tmp_path)) as made:
        yield made


def test_an_upload_is_taken_queued_and_listed(site: Site) -> None:
    answer = site.drop(("what", b"well"), query="?models=mobilenetv2-unet-flair&tta=1")
    assert answer.status_code == 201
    case_id = answer.json()["id"]
    (entry,) = site.client.get("/api/cases").json()
    assert (entry["id"], entry["state"], entry["queue_position"]) == (case_id, "queued", 1)
    job = site.diagnoses.store.get(case_id)
    assert job.models == ("mobilenetv2-unet-flair",) and job.tta
    meta = site.diagnoses.find(case_id).meta()
    assert meta["expires_at_s"] == pytest.approx(job.created_at_s + 24 * 3600) and meta["kind"] == "diagnosis"
    site.diagnoses.queue.start()
    wait_for(lambda: site.client.get("/api/cases").json()[0]["state"] == "done", "done")


def test_too_many_wait_is_said_with_its_status(site: Site) -> None:
    for _ in range(2):
        assert site.drop(("what", b"well")).status_code == 201
    refused = site.drop(("what", b"well"))
    assert refused.status_code == 429 and refused.headers["retry-after"] == "60"
    assert refused.json()["error"] == "Too many diagnoses wait."


@pytest.mark.parametrize(
    "query", ["?models=none-such", "?models=tumour-classifier", "?models=../x", "?models=" + "a" * 600]
)
def test_models_that_are_not_there_are_refused(site: Site, query: str) -> None:
    refused = site.drop(("what", b"well"), query=query)
    assert refused.status_code == 422 and refused.json()["remedy"]
    assert site.client.get("/api/cases").json() == []


def test_what_is_refused_leaves_nothing_on_disk(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as written:
        written.writestr("../../evil", b"x")
    with serving(config_of(tmp_path, max_bytes=1 << 20, max_files=3)) as site:
        assert site.drop(("a", b"x" * (2 << 20))).status_code == 413
        assert site.drop(*((f"{n}", b"x") for n in range(4))).status_code == 413
        assert site.drop(("../evil", b"x")).status_code == 422
        assert site.drop(("x.zip", inner.getvalue())).status_code == 422
        assert site.client.post("/api/diagnose", content=b"x").status_code == 415
        empty = site.drop(("a", b""))
        assert {"error", "meaning", "remedy"} <= empty.json().keys() and empty.status_code == 422
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_uploads_are_refused_when_all_that_may_be_kept_is_taken(tmp_path: Path) -> None:
    with serving(config_of(tmp_path, max_kept_bytes=1 << 20)) as site:
        assert site.drop(("a", b"x" * (1 << 20))).status_code == 201
        assert site.drop(("b", b"x")).status_code == 507


def test_a_viewer_without_uploads_says_so(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    closed = config.model_copy(update={"diagnose": DiagnoseConfig(enabled=False)})
    with serving(closed) as site:
        assert site.drop(("a", b"x")).status_code == 403


def test_a_browser_that_goes_away_leaves_nothing(site: Site, tmp_path: Path) -> None:
    def half() -> Iterator[bytes]:
        yield b'--b\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 100_000
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        site.client.post("/api/diagnose", content=half(), headers={"content-type": "multipart/form-data; boundary=b"})
    # Not `rglob`: it does not bear that folders vanish under it.
    wait_for(lambda: not any(names for _, _, names in os.walk(tmp_path)), "nothing is left")
    wait_for(lambda: site.drop(("what", b"well")).status_code == 201, "its slot is free again")


def test_deleting_ends_and_forgets_a_diagnosis(site: Site) -> None:
    case_id = site.drop(("what", b"hang")).json()["id"]
    site.diagnoses.queue.start()
    wait_for(lambda: site.diagnoses.store.get(case_id).state == "running")
    assert site.client.delete(f"/api/cases/{case_id}").status_code == 204
    assert site.client.delete(f"/api/cases/{case_id}").status_code == 404
    assert site.client.get("/api/cases").json() == [] and site.diagnoses.find(case_id) is None
    assert not site.diagnoses.store.upload_dir(case_id).exists()


def test_series_of_the_node_cannot_be_deleted(site: Site) -> None:
    assert site.client.delete("/api/cases/s0123456789abcdef").status_code == 405


@pytest.mark.parametrize("case_id", ["d0123456789abcdef", "d", "x" * 40])
def test_cases_that_are_not_there_have_no_report(site: Site, case_id: str) -> None:
    assert site.client.get(f"/api/cases/{case_id}/report/html").status_code == 404


def test_no_name_of_a_file_is_told_or_kept_in_the_list(site: Site) -> None:
    site.drop(("Doe^John.dcm", b"x"))
    assert "Doe" not in site.client.get("/api/cases").text
    job = next(site.diagnoses.store.upload_dir(site.diagnoses.store.jobs()[0].id).parent.glob("job.json"))
    assert "Doe" not in job.read_text()


def test_a_dropped_archive_of_a_head_becomes_a_report(small_phantom: HeadPhantom, tmp_path: Path) -> None:
    """From the upload to the report, with the real worker."""
    folder = tmp_path / "phantom"
    folder.mkdir()
    write_phantom_series(folder, small_phantom, Weighting.FLAIR)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as written:
        for path in folder.iterdir():
            written.write(path, f"study/{path.name}")
    with serving(config_of(tmp_path), REAL) as site:
        site.diagnoses.queue.start()
        _follow(site, packed.getvalue(), small_phantom)


def _follow(site: Site, packed: bytes, small_phantom: HeadPhantom) -> None:
    case_id = site.drop(("study.zip", packed)).json()["id"]
    topic, states, deadline = agents_topic(site.diagnoses), [], time.monotonic() + 200
    seen: object = None
    while (state := site.diagnoses.find(case_id).meta()["state"]) not in ("done", "failed"):
        assert time.monotonic() < deadline, state
        seen, messages = topic.news(case_id, seen)
        states += [[agent["state"] for agent in data["agents"]] for _, data in messages]
        time.sleep(0.05)
    meta = site.diagnoses.find(case_id).meta()
    assert meta["state"] == "done", meta["reason"]
    assert meta["title"] == "FLAIR series, 24 slices" and meta["num_slices"] == 24
    assert ["running", *["waiting"] * 5] in states  # steps were seen while they were at work
    (found,) = meta["segmentations"]
    assert found["labels"][0]["volume_ml"] == pytest.approx(small_phantom.tumour_ml, rel=0.25)
    assert found["has_probabilities"] and (meta["verdict"], meta["warnings"]) == ("plausible", [])
    assert {one["kind"] for one in meta["reports"]} == {"html", "pdf", "sr"}
    html = site.client.get(f"/api/cases/{case_id}/report/html")
    assert html.status_code == 200 and "Research use only" in html.text
    assert (
        html.headers["content-security-policy"].startswith(POLICY)
        and "sandbox" in html.headers["content-security-policy"]
    )
    pdf = site.client.get(f"/api/cases/{case_id}/report/pdf")
    assert pdf.content.startswith(b"%PDF-") and f"neuroscan-{case_id}.pdf" in pdf.headers["content-disposition"]
    sr = site.client.get(f"/api/cases/{case_id}/report/sr")
    assert sr.content[128:132] == b"DICM"
    seg = site.diagnoses.find(case_id).download("SEG", found["id"])
    assert seg.content[128:132] == b"DICM" and "PHANTOM" not in seg.name
    shown = json.dumps(meta)
    assert "PHANTOM^HEAD" not in shown and "2.25." not in shown
