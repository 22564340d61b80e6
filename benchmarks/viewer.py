"""The application as a browser sees it: a slice changed, a case opened, a mask pushed; and the memory of its process.

A real node, a series of 155 slices of 256x256, and Chromium without a window or a graphics card, all on this machine.
The page times itself: from the key press to the drawn slice, and from opening a case to its first picture.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.chromium import ARGUMENTS, chromium_path
from benchmarks.end_to_end import SCANNER_PACE, NodeUnderTest, Processes, node, phantom_series
from dicom_gateway.send import send_folder
from neuroscan_core.viewer.case_ids import series_case_id

NUM_OPENED = 7
PLANES = ("axial", "sagittal", "coronal")
STEP_MS, KEY_REPEAT_MS = 150, 33  # somebody who looks at each slice; a key that is held
SLICE_TARGET_MS, FIRST_PICTURE_TARGET_MS = 50.0, 1000.0


def available() -> bool:
    """Whether there is a browser to measure with."""
    import importlib.util

    return chromium_path() is not None and importlib.util.find_spec("playwright") is not None


def measure(progress: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure all of it.

    Returns
    -------
    dict
        Times in milliseconds, memory in MB.
    """
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as name,
        Processes(Path(name) / "log") as processes,
        node(Path(name), processes) as under_test,
        sync_playwright() as playwright,
    ):
        folder = Path(name)
        (series,), (uid,) = phantom_series(folder / "series", 1)
        address = f"http://127.0.0.1:{_viewer_port(folder)}"
        case = f"{address}/#/case/{series_case_id(uid)}"
        browser = playwright.chromium.launch(
            executable_path=chromium_path(),
            args=ARGUMENTS,
        )
        version = browser.version
        viewer = _viewer(under_test)
        idle_mb = viewer.memory_full_info().pss / 1e6
        progress("masks on their way to the page")
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(f"{address}/#/live")
        arrivals = _push_latencies(page, address, series, uid, under_test)
        progress(f"a case opened {NUM_OPENED} times")
        first_ms = [_first_picture_ms(browser, case) for _ in range(NUM_OPENED)]
        progress("slices changed by keys")
        steps = {plane: _slice_changes_ms(browser, case, plane, STEP_MS) for plane in PLANES}
        repeats_ms = _slice_changes_ms(browser, case, PLANES[0], KEY_REPEAT_MS)
        busy_mb = viewer.memory_full_info().pss / 1e6
        browser.close()
    everything = [ms for times in steps.values() for ms in times]
    return {
        "browser": f"Chromium {version}, software rendering",
        **{f"slice_change_{plane}_p50_ms": statistics.median(times) for plane, times in steps.items()},
        "slice_change_p50_ms": statistics.median(everything),
        "slice_change_p99_ms": float(np.percentile(everything, 99)),
        "slice_change_num": len(everything),
        "slice_change_key_held_p50_ms": statistics.median(repeats_ms),
        "slice_change_key_held_p99_ms": float(np.percentile(repeats_ms, 99)),
        "slice_change_key_held_num": len(repeats_ms),
        "slice_change_target_ms": SLICE_TARGET_MS,
        "first_picture_p50_ms": statistics.median(first_ms),
        "first_picture_max_ms": max(first_ms),
        "first_picture_target_ms": FIRST_PICTURE_TARGET_MS,
        **arrivals,
        "viewer_idle_mb": idle_mb,
        "viewer_with_open_case_mb": busy_mb,
    }


def _viewer_port(folder: Path) -> int:
    import yaml

    return int(yaml.safe_load((folder / "neuroscan.yaml").read_text())["viewer"]["port"])


def _viewer(under_test: NodeUnderTest) -> psutil.Process:
    return next(child for child in under_test.process.children() if "viewer" in child.cmdline())


def _push_latencies(page: Any, address: str, series: Path, uid: str, under_test: NodeUnderTest) -> dict[str, float]:
    """From the moment at which the viewer counts a mask to the moment at which the page's bar says so.

    The viewer is asked every 2 ms, the page notes every change of the bar with the same clock (Unix time).
    """
    page.evaluate(
        """() => {
          window.benchSeen = [];
          new MutationObserver(() => {
            const bar = document.querySelector('article.series [aria-label="Masks"]');
            const count = Number.parseInt(bar?.getAttribute("aria-valuetext") ?? "0", 10);
            const last = window.benchSeen.at(-1)?.[0] ?? 0;
            if (count > last) window.benchSeen.push([count, performance.timeOrigin + performance.now()]);
          }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
        }"""
    )
    known: dict[int, float] = {}
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            with urllib.request.urlopen(f"{address}/api/series") as answer:
                entries = json.load(answer)
            at_ms = time.time() * 1000
            if entries:
                known.setdefault(entries[0]["num_masks"], at_ms)
            time.sleep(0.002)

    watcher = threading.Thread(target=ask, name="masks", daemon=True)
    watcher.start()
    report = send_folder(series, "127.0.0.1", under_test.port, images_per_s=SCANNER_PACE)
    assert not report.failures, report.failures
    under_test.delay_s(uid, report.last_response_at_s)
    page.wait_for_timeout(1000)
    done.set()
    watcher.join()
    seen: list[tuple[int, float]] = [tuple(pair) for pair in page.evaluate("window.benchSeen")]
    # A push may tell of several masks at once: each is on the page when a count as large is.
    delays = [
        next(at_ms for shown, at_ms in seen if shown >= count) - at_known_ms
        for count, at_known_ms in known.items()
        if 0 < count <= seen[-1][0]
    ]
    return {
        "mask_known_to_page_p50_ms": statistics.median(delays),
        "mask_known_to_page_p99_ms": float(np.percentile(delays, 99)),
        "mask_known_to_page_num": len(delays),
    }


def _wait_for_mark(page: Any, name: str) -> float:
    page.wait_for_function("name => performance.getEntriesByName(name).length > 0", arg=name, timeout=120_000)
    return float(page.evaluate("name => performance.getEntriesByName(name)[0].startTime", name))


def _first_picture_ms(browser: Any, case: str) -> float:
    """A new page with an empty cache: from opening the case to its first picture."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(case)
    picture_ms = _wait_for_mark(page, "neuroscan:first-picture")
    opened_ms = _wait_for_mark(page, "neuroscan:case-open")
    page.close()
    return picture_ms - opened_ms


def _slice_changes_ms(browser: Any, case: str, plane: str, pause_ms: int, num_keys: int = 40) -> list[float]:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(case)
    _wait_for_mark(page, "neuroscan:surface")  # everything is loaded
    canvas = page.locator(f'canvas[data-plane="{plane}"]')
    canvas.focus()
    page.keyboard.press("Home")
    page.evaluate("performance.clearMarks('neuroscan:slice-change')")
    for _ in range(num_keys):
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(pause_ms)
    page.wait_for_timeout(200)
    marks = page.evaluate("performance.getEntriesByName('neuroscan:slice-change').map(({ detail }) => detail)")
    page.close()
    return [mark["ms"] for mark in marks if mark["plane"] == plane]
