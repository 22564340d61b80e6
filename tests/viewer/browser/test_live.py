"""The list of series in a browser: a series that arrives, one that is refused, a node that is restarted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import storescu
from tests.e2e.node import RunningArchive, RunningNode
from tests.viewer.browser.browsing import TABLET, Tab
from tests.viewer.browser.conftest import Series, Site
from tests.viewer.browser.scanner import HeldScanner


def card_of(page: Page, case: str) -> Locator:
    """The series on the list that leads to a case."""
    return page.locator("article.series").filter(has=page.locator(f'a[href="#/case/{case}"]'))


def bar(card: Locator, name: str) -> Locator:
    return card.get_by_role("progressbar", name=name)


def scanner_for(node: RunningNode, series: Series) -> HeldScanner:
    return HeldScanner(node.port, [pydicom.dcmread(series.paths[0], stop_before_pixels=True).SOPClassUID])


def test_a_series_that_dcmtk_pushed_is_listed_as_stored_with_its_volume(tab: Tab, site: Site) -> None:
    page = tab.open()
    card = card_of(page, site.series.case)
    expect(card.locator(".series-head .badge")).to_have_text("Stored")
    expect(bar(card, "Masks")).to_have_attribute("aria-valuenow", str(len(site.series.paths)))
    expect(card).to_contain_text("SEG to archive")
    expect(card).to_contain_text(re.compile(r"\d (ml|mL)"))
    expect(card.locator("img")).to_be_visible()
    expect(page.get_by_text("Research use only").first).to_be_visible()


def test_progress_and_masks_grow_on_the_page_while_images_arrive_and_nobody_reloads(
    tab: Tab, site: Site, write_series: Callable[[str], Series]
) -> None:
    series = write_series("growing")
    page = tab.open()
    scanner = scanner_for(site.node, series)
    try:
        scanner.send(series.paths[:16])
        card = card_of(page, series.case)
        expect(card.locator(".series-head .badge")).to_have_text("Receiving")
        expect(card).to_contain_text("16")
        # The network sees three neighbouring slices: the last one's mask waits for the next image.
        expect(bar(card, "Masks")).to_have_attribute("aria-valuetext", re.compile("^1[4-6]"))
        scanner.send(series.paths[16:])
        scanner.release()
    finally:
        scanner.abort()
    expect(card.locator(".series-head .badge")).to_have_text("Stored")
    expect(bar(card, "Masks")).to_have_attribute("aria-valuetext", "24 of 24")


@pytest.mark.slow
def test_a_series_with_a_missing_image_says_why_it_is_refused_and_what_to_do(
    tab: Tab, site: Site, write_series: Callable[[str], Series]
) -> None:
    series = write_series("gap")
    page = tab.open()
    storescu(site.node.port, series.paths[:10] + series.paths[12:])
    card = card_of(page, series.case)
    expect(card.locator(".series-head .badge")).to_have_text("Rejected")
    problem = card.locator(".card-problem p")
    expect(problem.first).to_contain_text("equal distances are needed")
    expect(problem.nth(1)).to_contain_text("Send the missing slices")
    card.get_by_role("button", name=re.compile("Try again")).click()
    expect(card.locator(".card-answer")).to_contain_text("Asked")
    expect(card.locator(".series-head .badge")).to_have_text("Rejected")
    tab.picture("live-rejected")
    storescu(site.node.port, series.paths[10:12])  # the images that were missing come late
    expect(card.locator(".series-head .badge")).to_have_text("Stored")


def test_a_failed_series_is_segmented_again_by_a_click(
    tab: Tab, site: Site, write_series: Callable[[str], Series]
) -> None:
    series = write_series("failed")
    storescu(site.node.port, series.paths)
    site.node.wait_for_state(series.uid, "delivered")
    with site.node.journal() as journal:
        journal.record(series.uid, state="failed", reason="results", message="The disk was full.")
    page = tab.open()
    card = card_of(page, series.case)
    expect(card.locator(".series-head .badge")).to_have_text("Failed")
    expect(card.locator(".card-problem")).to_contain_text("The disk was full.")
    card.get_by_role("button", name=re.compile("Try again")).click()
    expect(card.locator(".series-head .badge")).to_have_text("Stored")
    site.node.wait_for_state(series.uid, "delivered")


def test_the_filters_show_what_they_say(tab: Tab, site: Site, write_series: Callable[[str], Series]) -> None:
    page = tab.open()
    done = page.get_by_role("button", name=re.compile("^Done"))
    expect(card_of(page, site.series.case)).to_be_visible()
    done.click()
    expect(done).to_have_attribute("aria-pressed", "true")
    expect(card_of(page, site.series.case)).to_be_visible()
    page.get_by_role("button", name=re.compile("^In progress")).click()
    expect(card_of(page, site.series.case)).to_be_hidden()


@pytest.mark.slow
def test_an_empty_list_says_where_images_are_to_be_sent(tmp_path: Path, open_tab: Callable[..., Tab]) -> None:
    node = RunningNode(tmp_path, [])
    try:
        node.start()
        tab = open_tab(f"http://127.0.0.1:{node.viewer_port}")
        page = tab.open()
        expect(page.get_by_role("heading", name="No series yet")).to_be_visible()
        expect(page.locator(".empty")).to_contain_text(str(node.port))
        expect(page.locator(".empty")).to_contain_text("NEUROSCAN")
        tab.picture("live-empty")
        tab.close()
    finally:
        node.close()


@pytest.mark.slow
def test_a_viewer_that_is_killed_mid_series_comes_back_with_everything_and_the_page_goes_on_by_itself(
    tmp_path: Path, open_tab: Callable[..., Tab], write_series: Callable[[str], Series]
) -> None:
    series = write_series("killed")
    archive = RunningArchive(tmp_path / "archive")
    node = RunningNode(tmp_path, [archive.destination], series={"quiet_s": 60.0})
    try:
        node.start()
        tab = open_tab(f"http://127.0.0.1:{node.viewer_port}")
        tab.expect_complaint("net::ERR_")  # of the requests while nobody answers
        page = tab.open()
        scanner = scanner_for(node, series)
        scanner.send(series.paths[:10])
        card = card_of(page, series.case)
        expect(bar(card, "Masks")).to_have_attribute("aria-valuetext", re.compile(r"^([89]|10)\b"))
        node.processes()["viewer"].kill()
        scanner.send(series.paths[10:20])  # the scanner notices nothing
        node.wait_until_ready()
        expect(bar(card, "Masks")).to_have_attribute("aria-valuetext", re.compile("^(18|19|20)"))
        scanner.send(series.paths[20:])
        scanner.release()
        expect(card.locator(".series-head .badge")).to_have_text("Stored")
        expect(bar(card, "Masks")).to_have_attribute("aria-valuetext", "24 of 24")
        # Once more, after its end: results are read back from their files.
        node.processes()["viewer"].kill()
        node.wait_until_ready()
        page.reload()
        expect(bar(card, "Masks")).to_have_attribute("aria-valuetext", "24 of 24")
        expect(card).to_contain_text(re.compile(r"\d (ml|mL)"))
        expect(card.locator("img")).to_be_visible()
        tab.close()
    finally:
        node.close()
        archive.stop()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("screen", ["desktop", "tablet"])
def test_the_list_fits_every_screen_and_theme(
    scheme: str, screen: str, site: Site, open_tab: Callable[..., Tab]
) -> None:
    options: dict[str, Any] = {"theme": scheme, **({"viewport": TABLET} if screen == "tablet" else {})}
    tab = open_tab(site.address, **options)
    page = tab.open()
    expect(card_of(page, site.series.case).locator("img")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    tab.picture(f"live-{screen}-{scheme}")
