"""Everything without a mouse, and what axe-core finds on every page in both themes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

from playwright.sync_api import Page, expect

from tests.viewer.browser.browsing import Tab
from tests.viewer.browser.conftest import Site
from tests.viewer.browser.npm import npm_package
from tests.viewer.browser.opened import NATIVE, OpenCase

AXE_VERSION = "4.10.3"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
MAX_TABS = 40  # to come from the top of a page to its first series


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab does not come to {selector}")


def test_a_tumour_is_looked_at_and_measured_with_the_keyboard_alone(tab: Tab, site: Site) -> None:
    page = tab.open()
    expect(page.locator(f'a[href="#/case/{site.series.case}"]')).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, f'a[href="#/case/{site.series.case}"]')
    page.keyboard.press("Enter")
    case = OpenCase(tab, site.series.case, site.series.paths)
    tab.wait_for_mark("neuroscan:surface")
    page.keyboard.press("1")
    expect(case.canvas(NATIVE)).to_be_focused()
    start = case.slice_number()
    page.keyboard.press("ArrowUp")
    expect(page.locator(f'figure[data-plane="{NATIVE}"] input')).to_have_value(str(start - 1))
    page.keyboard.press("m")
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#case-side strong")).to_have_text(f"{12 * case.spacing_mm[0]:.1f} mm")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Previous and next slice")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.get_by_role("heading", name="Diagnose", exact=True)).to_be_focused()


def test_single_keys_can_be_switched_off_for_those_who_speak_to_the_machine(tab: Tab) -> None:
    page = tab.open()
    page.get_by_role("button", name="Help and shortcuts").click()
    page.get_by_role("dialog").get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.get_by_role("heading", name="Live", exact=True)).to_be_visible()
    assert page.url.endswith("#/live")


def test_pages_are_dark_until_somebody_chooses_light(tab: Tab) -> None:
    page = tab.open()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Switch to light colours").click()
    page.reload()
    expect(page.get_by_role("heading", name="Live", exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_main_button_is_readable_under_the_pointer(
    theme: str, site: Site, open_tab: Callable[..., Tab], tmp_path: Path
) -> None:
    (tmp_path / "image").write_bytes(b"DICM")
    tab = open_tab(site.address, theme=theme)
    page = tab.open("#/diagnose")
    page.locator("input[type=file]:not([webkitdirectory])").set_input_files(tmp_path / "image")
    start = page.get_by_role("button", name="Start")
    expect(start).to_be_enabled()
    start.hover()
    grey = tab.pixels(start).mean(axis=2)[5:-5, 5:-5]  # without the line around it
    assert grey.max() - grey.min() > 60, "its word stands out from its ground"


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("route", ["#/live", "case", "#/diagnose"])
def test_axe_finds_nothing(
    route: str, theme: str, site: Site, open_tab: Callable[..., Tab], request: pytest.FixtureRequest
) -> None:
    axe = npm_package(Path(request.config.cache.mkdir("npm")), "axe-core", AXE_VERSION) / "axe.min.js"
    tab = open_tab(site.address, theme=theme, bypass_csp=True)  # axe is not the page's own
    page = tab.page
    if route == "case":
        OpenCase(tab, site.series.case, site.series.paths).open()
    else:
        tab.open(route)
        expect(page.locator("h1")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.evaluate(axe.read_text())
    found: dict[str, Any] = page.evaluate("tags => axe.run(document, { runOnly: { type: 'tag', values: tags } })", WCAG)
    told = [
        f"{one['id']} ({one['impact']}): {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
    assert not told, "\n".join(told)
    assert len(found["passes"]) > 10
