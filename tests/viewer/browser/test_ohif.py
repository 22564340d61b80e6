"""What a radiologist sees: the node's SEG from a real archive in OHIF, with the overlay on the tumour."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

from playwright.sync_api import TimeoutError as TookTooLong
from playwright.sync_api import expect

from tests.e2e.conftest import storescu
from tests.e2e.node import RunningNode, wait_for
from tests.orthanc import DICOMWEB, running_orthanc
from tests.viewer.browser.browsing import new_tab
from tests.viewer.browser.conftest import Series
from tests.viewer.browser.npm import npm_package

OHIF_VERSION = "3.12.0"  # that of docker/compose.yaml
FRAME = 6  # pixels of the line around the active viewport
BRIGHT = 45  # of 255: head, not background
pytestmark = pytest.mark.slow


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A real archive with DICOMweb: its ports for DICOM and HTTP."""
    if not DICOMWEB.exists():
        pytest.skip("there is no Orthanc with DICOMweb (apt-get install orthanc orthanc-dicomweb)")
    settings = {"Plugins": [str(DICOMWEB)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    folder = tmp_path / "orthanc"
    folder.mkdir()
    with running_orthanc(folder, settings) as ports:
        yield ports


@pytest.fixture
def ohif(orthanc: tuple[int, int], repository: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """OHIF with the configuration of docker/compose.yaml before that archive; its address."""
    dist = npm_package(Path(request.config.cache.mkdir("npm")), "@ohif/app", OHIF_VERSION) / "dist"
    script = (repository / "docker" / "compose" / "ohif.js").read_bytes()
    _, http_port = orthanc

    class Handler(SimpleHTTPRequestHandler):
        """The files of OHIF, and DICOMweb of the archive under the same address, as nginx of the compose file does."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(dist))

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/dicom-web/"):
                self._pass_on()
            elif path == "/app-config.js":
                self._answer(200, "text/javascript", script)
            else:
                if not (dist / path.lstrip("/")).is_file():
                    self.path = "/index.html"  # routes of the page
                super().do_GET()

        def _pass_on(self) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=60)
            connection.request("GET", self.path, headers={"Accept": self.headers.get("Accept", "*/*"),
                                                          "Host": self.headers["Host"]})  # fmt: skip
            answer = connection.getresponse()
            self._answer(answer.status, answer.getheader("Content-Type", ""), answer.read())
            connection.close()

        def _answer(self, status: int, content_type: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def end_headers(self) -> None:
            # OHIF shares memory between its workers; browsers allow that to isolated pages alone.
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="ohif", daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_ohif_shows_the_seg_of_the_node_on_the_tumour(
    ohif: str, orthanc: tuple[int, int], browser: Any, pictures: Path, tmp_path: Path,
    write_series: Callable[[str], Series],
) -> None:  # fmt: skip
    dicom_port, http_port = orthanc
    series = write_series("ohif")
    node = RunningNode(tmp_path, [{"name": "orthanc", "host": "127.0.0.1", "port": dicom_port, "ae_title": "ORTHANC"}])
    try:
        node.start()
        storescu(node.port, series.paths)
        storescu(dicom_port, series.paths, "-xs")
        node.wait_for_state(series.uid, "delivered")
    finally:
        node.close()
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/instances") as answer:
        assert len(json.load(answer)) == len(series.paths) + 2, "images, SEG and SR"
    study = pydicom.dcmread(series.paths[0], stop_before_pixels=True).StudyInstanceUID
    page = new_tab(browser, ohif, pictures, {"width": 1400, "height": 900}).page
    page.goto(f"{ohif}/viewer?StudyInstanceUIDs={study}", wait_until="domcontentloaded")
    for text in ("Skip all", "Confirm and hide"):
        with contextlib.suppress(TookTooLong):  # a tour and a notice, which not every version shows
            page.get_by_text(text).first.click(timeout=15_000)
    page.locator('[data-cy="study-browser-thumbnail-no-image"]', has_text="SEG").dblclick()
    page.get_by_role("button", name="Yes").click()  # it is asked whether the segmentation should be opened
    shown = page.locator(".cornerstone-canvas").first
    wait_for(lambda: _with_overlay(shown), "the overlay")
    # OHIF begins where the segment begins; the slice with most of the lesion says most.
    largest = int(series.truth_kji.sum(axis=(1, 2)).argmax())
    image = pydicom.dcmread(series.paths[largest])
    wanted = page.get_by_text(re.compile(rf"I:\s*{image.InstanceNumber} \("))
    for _ in series.paths:
        if wanted.count():
            break
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(300)
    expect(wanted.first).to_be_visible()
    coloured, head = wait_for(lambda: _with_overlay(shown), "the overlay")
    page.screenshot(path=pictures / "ohif.png")
    truth, inside = series.truth_kji[largest], image.pixel_array > 0.15 * image.pixel_array.max()
    for axis in (0, 1):
        found = _relative(np.nonzero(coloured)[axis], _extent(head, 1 - axis))
        true = _relative(np.nonzero(truth)[axis], _extent(inside, 1 - axis))
        assert abs(found - true) < 0.05, "the overlay lies on the lesion; shares of the head's extent"
    shares = coloured.sum() / head.sum(), truth.sum() / inside.sum()
    assert 0.5 < shares[0] / shares[1] < 2
    page.context.close()


def _with_overlay(shown: Any) -> Any:
    import io

    from PIL import Image

    box = shown.bounding_box()
    if box is None:
        return None  # it is made anew when a segmentation is opened
    shot = np.asarray(Image.open(io.BytesIO(shown.page.screenshot(clip=box))).convert("RGB"))
    pixels = shot[FRAME:-FRAME, FRAME:-FRAME].astype(int)
    coloured = pixels[..., 0] - pixels[..., 2] > 40  # the orange of the segment, not the blue of the bars
    # The bars of OHIF are blue: nothing of them is bright in every channel.
    return (coloured, coloured | (pixels.min(axis=2) > BRIGHT)) if coloured.sum() > 500 else None


def _extent(mask: Any, axis: int) -> tuple[float, float]:
    """First and last row (axis 1) or column (axis 0) of which some share belongs to a mask: single pixels do not."""
    lines = np.nonzero(mask.mean(axis=axis) > 0.05)[0]
    return float(lines[0]), float(lines[-1])


def _relative(places: Any, extent: tuple[float, float]) -> float:
    return float((np.median(places) - extent[0]) / (extent[1] - extent[0]))
