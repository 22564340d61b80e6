"""A node with a finished series, and a browser, for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from benchmarks.chromium import chromium_path
from dicom_gateway.phantom_series import write_phantom_series
from neuroscan_core.phantom import HeadPhantom, Weighting, head_phantom
from neuroscan_core.viewer.case_ids import series_case_id
from tests.e2e.conftest import storescu
from tests.e2e.node import RunningArchive, RunningNode
from tests.viewer.browser.browsing import ARGUMENTS, DESKTOP, Tab, new_tab

PATIENCE_MS = 45_000
PICTURES = "NEUROSCAN_SCREENSHOTS"
_kept: list[Path] = []


@dataclass(frozen=True)
class Series:
    """A series on disk.

    Attributes
    ----------
    paths : list of Path
        Images from the neck to the crown.
    case : str
        Name of its page.
    truth_kji : ndarray of bool
        Where the lesion is.
    """

    paths: list[Path]
    uid: str
    case: str
    truth_kji: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Site:
    """A node that runs, its archive, and a series that it has segmented and delivered."""

    node: RunningNode
    archive: RunningArchive
    series: Series

    @property
    def address(self) -> str:
        """Of the application."""
        return f"http://127.0.0.1:{self.node.viewer_port}"


@pytest.fixture(scope="package")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for screenshots: that which NEUROSCAN_SCREENSHOTS names, or a temporary one."""
    named = os.environ.get(PICTURES)
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    _kept.append(folder)
    return folder


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say where the screenshots are."""
    for folder in _kept:
        if any(folder.iterdir()):
            terminalreporter.write_line(f"screenshots of the application: {folder} ({PICTURES} names another folder)")


# Not for the whole session: while Playwright runs, no other test of the process can have an event loop of its own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    program = chromium_path()
    if program is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    playwright.expect.set_options(timeout=PATIENCE_MS)
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def head() -> HeadPhantom:
    """A small head: enough slices for a lesion, few enough to be quick."""
    return head_phantom(num_slices=24)


@pytest.fixture(scope="package")
def write_series(tmp_path_factory: pytest.TempPathFactory, head: HeadPhantom) -> Callable[[str], Series]:
    """Write a FLAIR series of the phantom; another name, other UIDs."""

    def write(name: str) -> Series:
        folder = tmp_path_factory.mktemp(f"series-{name}")
        paths = write_phantom_series(folder, head, Weighting.FLAIR, series=name)
        uid = str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)
        return Series(paths, uid, series_case_id(uid), head.tumour_kji)

    return write


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory, write_series: Callable[[str], Series]) -> Iterator[Site]:
    """The node that most tests look at; DCMTK has pushed one series to it."""
    folder = tmp_path_factory.mktemp("site")
    archive = RunningArchive(folder / "archive")
    node = RunningNode(folder, [archive.destination], series={"quiet_s": 10.0, "give_up_s": 2.0})
    series = write_series("finished")
    try:
        node.start()
        storescu(node.port, series.paths)
        node.wait_for_state(series.uid, "delivered")
        yield Site(node, archive, series)
    finally:
        node.close()
        archive.stop()


@pytest.fixture
def open_tab(browser: Any, pictures: Path) -> Iterator[Callable[..., Tab]]:
    """Open watched tabs; at the end none may have complained or have asked another host."""
    tabs: list[Tab] = []

    def open_one(address: str, **options: Any) -> Tab:
        tab = new_tab(browser, address, pictures, **{"viewport": DESKTOP, **options})
        tabs.append(tab)
        return tab

    yield open_one
    for tab in tabs:
        tab.close()
    for tab in tabs:
        tab.check()


@pytest.fixture
def tab(site: Site, open_tab: Callable[..., Tab]) -> Tab:
    """A tab for the node, 1280x720."""
    return open_tab(site.address)
