"""From images sent over DICOM to what a browser reads: real gateway, segmenter and viewer on one bus, real HTTP."""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pydicom
import pytest

from dicom_gateway.gateway import Gateway
from dicom_gateway.phantom_series import write_phantom_series
from dicom_gateway.results.readback import read_back
from dicom_gateway.send import send_folder
from neuroscan_core.bus.feed import MaskFeed, SeriesFeed
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import NodeConfig, parse_config
from neuroscan_core.inference.bundle import find_bundles
from neuroscan_core.phantom import HeadPhantom, Weighting, head_phantom
from neuroscan_core.service import SegmentationService
from neuroscan_core.viewer.case_ids import series_case_id
from neuroscan_core.viewer.process import Viewer

NUM_SLICES = 24
PATIENCE_S = 90.0
MODEL = "mobilenetv2-unet-flair"


def wait_for(ask: Callable[[], Any], what: str) -> Any:
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := ask()):
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


class Node:
    """Everything but the archive. The viewer can be started again."""

    def __init__(self, folder: Path, stack: ExitStack, phantom: HeadPhantom) -> None:
        self.folder, self.phantom = folder, phantom
        self.config_path = folder / "neuroscan.yaml"
        content: dict[str, Any] = {
            "state_dir": str(folder / "state"),
            "gateway": {"host": "127.0.0.1", "port": 0, "min_free_bytes": 1 << 20, "workers": 1},
            "viewer": {"port": 0},
            "rules": [{"name": "every MR", "when": {"Modality": "MR"}, "model": MODEL}],
        }
        self.config_path.write_text(json.dumps(content))
        self.config: NodeConfig = parse_config(content)
        self.bus = InMemoryBus()
        stack.callback(self.bus.close)
        self.gateway = stack.enter_context(Gateway(self.config, self.bus))
        bundles = {name: bundle for name, bundle in find_bundles(None).items() if name == MODEL}
        self.cards = {name: bundle.card for name, bundle in bundles.items()}
        feed = stack.enter_context(SeriesFeed(self.bus))
        stack.enter_context(SegmentationService(self.bus, bundles, self.config.segmenter, feed=feed))
        self.images = folder / "images"
        self.images.mkdir()
        paths = write_phantom_series(self.images, phantom, Weighting.FLAIR)
        self.uid = str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)
        self.id = series_case_id(self.uid)
        host, port = self.gateway.address
        send_folder(self.images, host, port, ae_title="NEUROSCAN")

    @contextmanager
    def viewer(self) -> Iterator[Browser]:
        command = (sys.executable, "-m", "neuroscan_core.cli", "segment-case", "-c", str(self.config_path))
        with (
            MaskFeed(self.bus) as masks,
            Viewer(self.config.viewer, self.bus, masks, cards=self.cards, segment_command=command) as viewer,
        ):
            host, port = viewer.address
            with httpx.Client(base_url=f"http://{host}:{port}", timeout=30) as http:
                yield Browser(http, self.id)


class Browser:
    """What the page does."""

    def __init__(self, http: httpx.Client, case_id: str) -> None:
        self.http, self.base = http, f"/api/cases/{case_id}"
        self.csrf = http.get("/api/session").json()["csrf"]

    def meta(self) -> dict[str, Any]:
        answer = self.http.get(self.base)
        return answer.json() if answer.status_code == 200 else {"num_slices": 0, "segmentations": []}

    def wait_until_final(self) -> dict[str, Any]:
        def whole() -> dict[str, Any] | None:
            meta = self.meta()
            is_final = [one["state"] for one in meta["segmentations"]] == ["final"]
            kinds = {one["kind"] for one in meta.get("downloads", [])}
            return meta if is_final and meta["num_slices"] == NUM_SLICES and {"SEG", "SR"} <= kinds else None

        found: dict[str, Any] = wait_for(whole, "the final segmentation")
        return found

    def voxels(self) -> np.ndarray:
        meta = self.meta()
        content = self.http.get(f"{self.base}/slices?from=0&count=1000").content
        return np.frombuffer(content, "<u2").reshape(-1, meta["rows"], meta["columns"])

    def masks(self, sid: str, since: int = -1) -> tuple[dict[str, Any], np.ndarray]:
        meta = self.meta()
        header, content = unpack(self.http.get(f"{self.base}/segmentations/{sid}/masks?since={since}").content)
        return header, np.frombuffer(content, np.uint8).reshape(-1, meta["rows"], meta["columns"])

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.http.post(path, json=body, headers={"x-csrf-token": self.csrf})


def unpack(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<I", content[:4])
    assert length % 4 == 0, "what follows lies on a multiple of four bytes"
    return json.loads(content[4 : 4 + length]), content[4 + length :]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with ExitStack() as stack:
        yield Node(tmp_path_factory.mktemp("node"), stack, head_phantom(num_slices=NUM_SLICES))


@pytest.fixture(scope="module")
def browser(node: Node) -> Iterator[Browser]:
    with node.viewer() as browser:
        browser.wait_until_final()
        yield browser


def test_voxels_are_those_of_the_scanner(node: Node, browser: Browser) -> None:
    meta = browser.meta()
    np.testing.assert_allclose(meta["scale"]["slope"], 1.0)
    image_kji = node.phantom.image(Weighting.FLAIR)
    order = np.argsort([position[2] for position in meta["positions_mm"]])
    np.testing.assert_array_equal(browser.voxels()[order], np.rint(image_kji).astype(np.uint16))


def test_masks_and_sizes_are_those_of_the_object_in_the_archive(node: Node, browser: Browser, tmp_path: Path) -> None:
    meta = browser.meta()
    (entry,) = meta["segmentations"]
    header, labels_nji = browser.masks(entry["id"])
    assert header["slices"] == list(range(NUM_SLICES)) and header["revision"] == entry["revision"]
    seg = tmp_path / "seg.dcm"
    seg.write_bytes(browser.http.get(f"{browser.base}/download/SEG").content)
    report = tmp_path / "sr.dcm"
    report.write_bytes(browser.http.get(f"{browser.base}/download/SR").content)
    completed = node.gateway._assembler.completed(node.uid)
    back = read_back(seg, report, completed, node.cards, MODEL)
    order = np.argsort([position[2] for position in meta["positions_mm"]])
    np.testing.assert_array_equal(labels_nji[order], back.segmentation.labels_kji)
    truth_kji = node.phantom.tumour_kji
    overlap = 2 * np.count_nonzero(truth_kji & (labels_nji[order] > 0))
    assert overlap / (np.count_nonzero(truth_kji) + np.count_nonzero(labels_nji)) > 0.5
    (label,), (measured,) = entry["labels"], back.segmentation.measurements
    assert label["volume_ml"] == pytest.approx(measured.volume_ml, abs=1e-3)
    assert measured.diameter is not None and label["long_mm"] == pytest.approx(measured.diameter.long_mm, abs=0.01)
    assert not browser.masks(entry["id"], header["revision"])[0]["slices"]


def test_everything_comes_back_after_a_restart_of_the_viewer(node: Node, browser: Browser) -> None:
    before, voxels, (_, labels_nji) = browser.meta(), browser.voxels(), browser.masks("v1")
    with node.viewer() as again:
        after = again.wait_until_final()
        np.testing.assert_array_equal(again.voxels(), voxels)
        np.testing.assert_array_equal(again.masks("v1")[1], labels_nji)
        for name in ("positions_mm", "scale", "window", "num_expected", "title", "version"):
            assert after[name] == before[name]
        assert after["segmentations"][0]["labels"] == before["segmentations"][0]["labels"]


def test_nifti_has_the_geometry_and_the_labels(node: Node, browser: Browser) -> None:
    labels = nibabel.Nifti1Image.from_bytes(
        gzip.decompress(browser.http.get(f"{browser.base}/download/NIfTI?segmentation=v1").content)
    )
    ras_from_lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(labels.affine, ras_from_lps @ node.phantom.geometry.affine_lps, atol=1e-3)
    assert np.count_nonzero(np.asarray(labels.dataobj)) == np.count_nonzero(browser.masks("v1")[1])
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(browser.http.get(f"{browser.base}/download/volume").content))
    assert image.shape == labels.shape


def test_downloads_tell_nobody_who_the_patient_is(node: Node, browser: Browser) -> None:
    header = pydicom.dcmread(next(node.images.iterdir()), stop_before_pixels=True)
    secrets = [str(header.PatientName), str(header.PatientID), node.uid]
    for kind in ("NIfTI", "volume", "PNG"):
        answer = browser.http.get(f"{browser.base}/download/{kind}")
        content = gzip.decompress(answer.content) if kind != "PNG" else answer.content
        for secret in secrets:
            assert secret.encode() not in content and secret not in str(answer.headers)
    # As the archive has it: the one exception, which a person asks for.
    seg = pydicom.dcmread(io.BytesIO(browser.http.get(f"{browser.base}/download/SEG").content))
    assert seg.PatientID == header.PatientID
    assert not [secret for secret in secrets if secret in json.dumps(browser.meta())]


def test_identity_is_told_only_while_the_switch_is_on_and_is_in_the_audit_trail(node: Node, browser: Browser) -> None:
    assert browser.meta()["identity"] is None
    assert browser.post("/api/identity", {"shown": True}).status_code == 200
    header = pydicom.dcmread(next(node.images.iterdir()), stop_before_pixels=True)
    assert browser.meta()["identity"]["id"] == header.PatientID
    assert browser.post("/api/identity", {"shown": False}).status_code == 200
    assert browser.meta()["identity"] is None
    actions = [(action, subject) for _, action, subject, _ in node.gateway._journal.audit_trail()]
    assert ("identity-shown", node.uid) in actions


def test_surfaces_are_arrays_that_a_browser_can_draw(browser: Browser) -> None:
    for path in (f"{browser.base}/segmentations/v1/surface", f"{browser.base}/head-surface"):
        header, content = unpack(browser.http.get(path).content)
        (part,) = header["parts"]
        num_vertices, num_triangles = part["num_vertices"], part["num_triangles"]
        assert len(content) == 12 * (2 * num_vertices + num_triangles)
        floats = np.frombuffer(content[: 24 * num_vertices], "<f4").reshape(2, num_vertices, 3)
        triangles = np.frombuffer(content[24 * num_vertices :], "<u4")
        assert np.isfinite(floats).all() and triangles.max() == num_vertices - 1
        np.testing.assert_allclose(np.linalg.norm(floats[1], axis=1), 1, atol=1e-4)


def test_probabilities_are_computed_when_somebody_asks(browser: Browser) -> None:
    path = f"{browser.base}/segmentations/v1/probabilities"

    def ready() -> httpx.Response | None:
        answer = browser.http.get(path)
        assert answer.status_code in (200, 202)
        return answer if answer.status_code == 200 else None

    values = np.frombuffer(wait_for(ready, "the probabilities").content, np.uint8)
    labels = browser.masks("v1")[1].reshape(-1)
    assert values.size == labels.size
    assert values[labels > 0].min() >= 127, "what is labelled is probable"


def test_another_model_runs_in_a_process_of_its_own_and_gives_a_further_segmentation(browser: Browser) -> None:
    answer = browser.post(f"{browser.base}/segment", {"model": MODEL})
    assert answer.status_code == 202
    sid = answer.json()["segmentation"]

    def done() -> dict[str, Any] | None:
        found: dict[str, Any] = next(one for one in browser.meta()["segmentations"] if one["id"] == sid)
        assert found["state"] in ("running", "final"), found["reason"]
        return found if found["state"] == "final" else None

    entry = wait_for(done, "the other model")
    # The same model on the same voxels: the streamed result equals that of the whole volume.
    np.testing.assert_array_equal(browser.masks(sid)[1], browser.masks("v1")[1])
    assert entry["labels"] == browser.meta()["segmentations"][0]["labels"]
    assert entry["has_probabilities"]
    assert browser.http.get(f"{browser.base}/segmentations/{sid}/probabilities").status_code == 200
    assert browser.http.get(f"{browser.base}/download/SEG?segmentation={sid}").status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/cases/s0123456789abcdef", 404),
        ("/api/cases/1.2.3/slices", 404),
        ("{base}/segmentations/../masks", 404),
        ("{base}/segmentations/v9/masks", 404),
        ("{base}/segmentations/v9/surface", 404),
        ("{base}/segmentations/v9/probabilities", 404),
        ("{base}/download/passwd", 404),
        ("{base}/download/PNG?slice=9999", 404),
        ("{base}/download/PNG?slice=x", 422),
        ("{base}/slices?from=x", 422),
        ("{base}/slices?from=-7", 422),
        ("{base}/slices?count=99999999999999999999", 422),
        ("{base}/segmentations/v1/masks?since=now", 422),
    ],
)
def test_bad_requests_are_answered_with_what_is_wrong(browser: Browser, path: str, status: int) -> None:
    answer = browser.http.get(path.format(base=browser.base))
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [({"model": "nothing"}, 422), ({}, 422), ({"model": 7}, 422), ([], 422), ({"model": "unet-brats"}, 422)],
)
def test_models_that_cannot_be_run_are_refused(browser: Browser, body: Any, status: int) -> None:
    answer = browser.post(f"{browser.base}/segment", body)
    assert answer.status_code == status and answer.json()["remedy"]


def test_changes_are_pushed(node: Node) -> None:
    with node.viewer() as browser, browser.http.stream("GET", f"/api/events?case={node.id}") as events:
        lines = events.iter_lines()
        told = (json.loads(next(lines).removeprefix("data: ")) for line in lines if line == "event: case")
        first = next(told)
        assert first["id"] == node.id
        assert next(told)["revision"] > first["revision"], "it is being loaded"
