"""Sequences of a study in the case view: four phantom series on four grids, dropped and looked at under one mask."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

from playwright.sync_api import Locator, Page, expect

from dicom_gateway.phantom_series import study_geometry, write_phantom_study
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.phantom import HeadPhantom, Weighting
from neuroscan_core.pipeline.resample import resample
from neuroscan_core.viewer.case_ids import series_case_id
from tests.e2e.conftest import storescu
from tests.e2e.node import RunningArchive, RunningNode
from tests.e2e.test_study import MODELS, RULES, STUDY, wait_for_job
from tests.viewer.browser.browsing import Tab
from tests.viewer.browser.conftest import Site
from tests.viewer.browser.opened import NATIVE, OpenCase
from tests.viewer.browser.test_diagnose import choose, expect_done, start

NAMES = ["T1", "T1ce", "T2", "FLAIR"]


class Study:
    """What the four series hold, on the grid of the one that is shown first."""

    def __init__(self, head: HeadPhantom, reference: str) -> None:
        self.head, self.grid = head, study_geometry(head.geometry, Weighting(reference))
        self._found: dict[str, npt.NDArray[np.float32]] = {}

    def values_kji(self, name: str) -> npt.NDArray[np.float32]:
        if name not in self._found:
            own: StackGeometry = study_geometry(self.head.geometry, Weighting(name))
            image_kji = self.head.image(Weighting(name)).astype(np.float32)
            voxels_kji = np.rint(resample(image_kji, self.head.geometry, own))
            self._found[name] = resample(voxels_kji, own, self.grid)
        return self._found[name]

    def value_at(self, name: str, position_mm: npt.NDArray[np.float64]) -> float:
        """At a position of the patient, LPS, that is the middle of a voxel but for what the page rounds."""
        i, j, k = np.rint(np.linalg.solve(self.grid.affine_lps, [*position_mm, 1.0])[:3]).astype(int)
        return float(self.values_kji(name)[k, j, i])


def dropped_study(page: Page, head: HeadPhantom, folder: Path) -> str:
    """Drop the study and wait for what is found; the case."""
    write_phantom_study(folder / "study", head, series="sequences")
    archive = folder / "study.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in sorted((folder / "study").rglob("*.dcm")):
            zipped.write(path, path.relative_to(folder / "study"))
    choose(page, archive)
    case = start(page)
    expect_done(page)
    return case


def control(page: Page) -> Locator:
    return page.get_by_role("group", name="Sequence", exact=True)


def expect_shown(page: Page, name: str) -> None:
    pressed = control(page).locator('[aria-pressed="true"]')
    expect(pressed).to_have_text(name)
    expect(value_line(page)).to_have_text(re.compile(rf"^Value [\d,.]+ in {name}$"))
    expect(page.locator(f'figure[data-plane="{NATIVE}"] .case-view-caption').first).to_have_text(name)


def value_line(page: Page) -> Locator:
    """The part of the line below the pictures that says the value."""
    return page.locator("#case-readout > span").nth(1)


def value_of(page: Page) -> float:
    found = re.fullmatch(r"Value ([\d,.]+) in \w+", value_line(page).inner_text())
    assert found
    return float(found.group(1).replace(",", ""))


@pytest.mark.slow
def test_sequences_of_a_study_are_shown_at_the_same_place_under_the_same_mask(
    tab: Tab, head: HeadPhantom, tmp_path: Path
) -> None:
    page = tab.open("#/diagnose")
    name = dropped_study(page, head, tmp_path)
    page.get_by_role("link", name="Open the images").click()
    tab.wait_for_mark("neuroscan:first-picture")
    meta: dict[str, Any] = page.request.get(f"{tab.address}/api/cases/{name}").json()
    (reference,) = (one["name"] for one in meta["sources"] if one["is_shown"])
    study = Study(head, reference)
    assert (meta["num_slices"], meta["rows"], meta["columns"]) == study.grid.shape
    case = OpenCase.__new__(OpenCase)
    case.tab, case.page, case.case = tab, page, name
    expect(control(page).get_by_role("button")).to_have_text(NAMES)
    expect_shown(page, reference)

    # Somewhere in the brain, beside the middle; from here on the crosshair stays.
    tab.wait_for_mark("neuroscan:surface")
    canvas = case.canvas()
    box = canvas.bounding_box()
    assert box is not None
    canvas.click(position={"x": 0.58 * box["width"], "y": 0.42 * box["height"]})
    page.mouse.move(5, 5)
    case.press("v")
    where, slice_number = page.locator(".case-where").inner_text(), case.slice_number()
    position_mm = case.crosshair_mm()
    scales = {one["name"]: one["scale"]["slope"] for one in meta["sources"]}
    mask = case.coloured()
    assert mask.any()

    seen: dict[str, npt.NDArray[Any]] = {reference: case.grey()}
    levels = {reference: page.get_by_label("Level", exact=True).input_value()}
    for step in range(1, len(NAMES)):  # by the key, from one to the next
        shown = NAMES[(NAMES.index(reference) + step) % len(NAMES)]
        case.press("q")
        expect_shown(page, shown)
        assert (page.locator(".case-where").inner_text(), case.slice_number()) == (where, slice_number)
        # Half a level, and what is rounded to two digits for a reader; single precision in between.
        assert value_of(page) == pytest.approx(study.value_at(shown, position_mm), abs=scales[shown] / 2 + 0.02)
        grey = case.grey()
        assert all(np.abs(grey - other).mean() > 2 for other in seen.values()), "another picture"
        seen[shown] = grey
        levels[shown] = page.get_by_label("Level", exact=True).input_value()
        # Pixels at the edge of the mask mix with what lies below.
        assert np.count_nonzero(case.coloured() ^ mask) < 0.1 * mask.sum(), "the same mask at the same place"
        tab.picture(f"case-sequence-{shown}")
    assert len(set(levels.values())) == len(NAMES), "each has its own window"

    # By the control, and with a window that a person chose for one of them.
    control(page).get_by_role("button", name="T2", exact=True).click()
    expect_shown(page, "T2")
    assert value_of(page) == pytest.approx(study.value_at("T2", position_mm), abs=scales["T2"] / 2 + 0.02)
    page.get_by_label("Level", exact=True).fill("333")
    page.get_by_label("Level", exact=True).press("Enter")
    expect(page.get_by_label("Window", exact=True)).to_have_value("custom")
    case.press("Q")
    expect_shown(page, "T1ce")
    expect(page.get_by_label("Window", exact=True)).to_have_value("auto")
    expect(page.get_by_label("Level", exact=True)).to_have_value(levels["T1ce"])
    case.press("q")
    expect_shown(page, "T2")
    expect(page.get_by_label("Level", exact=True)).to_have_value("333")
    expect(page.get_by_label("Window", exact=True)).to_have_value("custom")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    bar = page.get_by_role("toolbar").bounding_box()
    assert bar is not None and bar["height"] < 60, "the tools fit into one row"

    refused_sequence_is_told(tab, study, reference)


def refused_sequence_is_told(tab: Tab, study: Study, reference: str) -> None:
    """As where images were purged: it is said, and what is shown stays."""
    page, said = tab.page, "The images of the study are not kept any more."
    tab.expect_complaint("status of 409")
    page.route("**/sequences/T2/slices*", lambda route: route.fulfill(status=409, json={"error": said}))
    page.reload()
    tab.wait_for_mark("neuroscan:first-picture")
    control(page).get_by_role("button", name="T2", exact=True).click()
    expect(page.locator(".case-notices").get_by_text(said)).to_be_in_viewport()
    expect_shown(page, reference)
    tab.picture("case-sequence-refused")
    page.unroute("**/sequences/T2/slices*")
    control(page).get_by_role("button", name="T2", exact=True).click()
    expect_shown(page, "T2")
    expect(page.locator(".case-notices")).not_to_contain_text(said)


@pytest.mark.slow
def test_sequences_of_a_study_of_the_node_are_fetched_when_they_are_wanted(
    open_tab: Callable[..., Tab], head: HeadPhantom, tmp_path: Path
) -> None:
    paths = write_phantom_study(tmp_path / "study", head, series="received")
    (tmp_path / "node").mkdir()
    archive = RunningArchive(tmp_path / "archive")
    node = RunningNode(
        tmp_path / "node", [archive.destination], rules=RULES, studies=[STUDY],
        segmenter={"models_dir": str(MODELS), "threads": 1},
    )  # fmt: skip
    try:
        node.start()
        for weighting in Weighting:
            storescu(node.port, paths[weighting])
        case = series_case_id(wait_for_job(node, "delivered").series_uid)
        tab = open_tab(f"http://127.0.0.1:{node.viewer_port}")
        page = tab.open(f"#/case/{case}")
        tab.wait_for_mark("neuroscan:surface")
        meta = page.request.get(f"{tab.address}/api/cases/{case}").json()
        states = {one["name"]: one["state"] for one in meta["sources"]}
        (reference,) = (one["name"] for one in meta["sources"] if one["is_shown"])
        assert states == {name: "ready" if name == reference else "kept" for name in NAMES}
        study, opened = Study(head, reference), OpenCase(tab, case, paths[Weighting(reference)])
        expect_shown(page, reference)
        page.locator(f'figure[data-plane="{NATIVE}"] input').fill("60")
        opened.click(NATIVE, 90, 110, 60)
        expect(value_line(page)).to_have_text(re.compile(r"^Value [1-9]"))
        where, before = page.locator(".case-where").inner_text(), opened.grey()
        for _ in NAMES[1:]:
            shown = control(page).locator('[aria-pressed="true"]').inner_text()
            wanted = NAMES[(NAMES.index(shown) + 1) % len(NAMES)]
            opened.press("q")
            expect_shown(page, wanted)
            assert page.locator(".case-where").inner_text() == where
            meta = page.request.get(f"{tab.address}/api/cases/{case}").json()
            (slope,) = (one["scale"]["slope"] for one in meta["sources"] if one["name"] == wanted)
            # Half a level, and what is rounded to two digits for a reader; single precision in between.
            assert value_of(page) == pytest.approx(study.value_at(wanted, opened.crosshair_mm()), abs=slope / 2 + 0.02)
        assert np.abs(opened.grey() - before).mean() > 2, "another picture"
        tab.picture("case-sequence-of-the-node")
        tab.close()
    finally:
        node.close()
        archive.stop()


def test_a_case_of_one_series_has_no_control_for_sequences(tab: Tab, site: Site) -> None:
    case = OpenCase(tab, site.series.case, site.series.paths)
    page = case.open()
    expect(page.get_by_role("toolbar")).to_be_visible()
    expect(page.locator(".case-sequences")).to_be_hidden()
    expect(value_line(page)).to_have_text(re.compile(r"^Value [\d,.]+$"))
    case.press("q")
    case.settle()
    expect(value_line(page)).to_have_text(re.compile(r"^Value [\d,.]+$"))
