"""The door of the application in a browser: login, throttle, forged requests, identity of patients, audit trail."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

from playwright.sync_api import Page, expect

from neuroscan_core.viewer.security.audit import FILE_NAME
from neuroscan_core.viewer.security.credentials import PasswordHash
from tests.e2e.conftest import storescu
from tests.e2e.node import RunningNode
from tests.viewer.browser.browsing import Tab
from tests.viewer.browser.conftest import Series

PASSWORD = "three brave otters"  # of nothing but this test
NAME_OF_PHANTOM = "PHANTOM"


@pytest.fixture(scope="module")
def closed(
    browser: Any, tmp_path_factory: pytest.TempPathFactory, write_series: Callable[[str], Series]
) -> Iterator[tuple[RunningNode, Series]]:
    """A node that asks for a password, with a series."""
    node = RunningNode(
        tmp_path_factory.mktemp("closed"), [], viewer={"auth": {"password_hash": str(PasswordHash.of(PASSWORD))}}
    )
    series = write_series("behind-a-door")
    try:
        node.start()
        storescu(node.port, series.paths)
        node.wait_for_state(series.uid, "segmented", "delivered", "purged")
        yield node, series
    finally:
        node.close()


@pytest.fixture
def door(closed: tuple[RunningNode, Series], open_tab: Callable[..., Tab]) -> Tab:
    """A tab that is not logged in."""
    tab = open_tab(f"http://127.0.0.1:{closed[0].viewer_port}")
    tab.expect_complaint("status of 401|status of 429")
    return tab


def log_in(page: Page, secret: str = PASSWORD) -> None:
    expect(page.get_by_role("button", name="Log in")).to_be_enabled()  # the page has dealt with the answer before
    page.get_by_label("Password or access token").fill(secret)
    page.keyboard.press("Enter")


def entries(node: RunningNode) -> list[dict[str, Any]]:
    """The audit trail."""
    directory = node.config.viewer.directory
    assert directory is not None
    return [json.loads(line) for line in (directory / FILE_NAME).read_text().splitlines()]


def test_whoever_comes_is_asked_for_a_password_and_then_led_to_where_he_wanted(
    door: Tab, closed: tuple[RunningNode, Series]
) -> None:
    _, series = closed
    page = door.open(f"#/case/{series.case}")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_label("Password or access token")).to_be_focused()
    expect(page.get_by_role("link", name="Live")).to_be_hidden()
    assert page.request.get(f"{door.address}/api/series").status == 401
    assert page.request.get(f"{door.address}/api/cases/{series.case}/slices?from=0&count=1").status == 401
    door.picture("login")
    log_in(page, "three brave badgers")
    expect(page.get_by_text("That is not right.").first).to_be_visible()
    expect(page.get_by_label("Password or access token")).to_have_attribute("aria-invalid", "true")
    log_in(page)
    expect(page.locator("canvas[data-plane]").first).to_be_visible()
    assert page.url.endswith(f"#/case/{series.case}")
    page.reload()
    expect(page.locator("canvas[data-plane]").first).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert page.request.get(f"{door.address}/api/series").status == 401


def test_a_request_without_the_token_of_the_session_is_refused(door: Tab) -> None:
    page = door.open()
    log_in(page)
    expect(page.locator("article.series")).to_have_count(1)
    forged = page.request.post(f"{door.address}/api/identity", data={"shown": True})
    assert forged.status == 403 and set(forged.json()) >= {"error", "meaning", "remedy"}
    foreign = page.request.post(
        f"{door.address}/api/identity", data={"shown": True}, headers={"Origin": "http://elsewhere.example"}
    )
    assert foreign.status == 403
    assert page.request.get(f"{door.address}/api/session").json()["identity_shown"] is False


def test_identity_is_hidden_until_the_switch_and_every_look_is_written_down(
    door: Tab, closed: tuple[RunningNode, Series]
) -> None:
    node, series = closed
    page = door.open(f"#/case/{series.case}")
    log_in(page)
    expect(page.locator("canvas[data-plane]").first).to_be_visible()
    assert NAME_OF_PHANTOM not in page.content()
    page.locator("header.top").get_by_role("button", name="Identity hidden").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("audit trail")
    page.keyboard.press("Escape")  # whoever hesitates sees nothing
    expect(dialog).to_be_hidden()
    assert NAME_OF_PHANTOM not in page.content()
    page.locator("header.top").get_by_role("button", name="Identity hidden").click()
    page.get_by_role("button", name="Show identity", exact=True).click()
    expect(page.locator(".case-identity")).to_contain_text(NAME_OF_PHANTOM)
    page.locator("header.top").get_by_role("button", name="Identity shown").click()
    expect(page.get_by_text(NAME_OF_PHANTOM)).to_have_count(0)
    written = entries(node)
    actions = [entry["action"] for entry in written]
    assert actions[-3:] == ["identity-shown", "identity-seen", "identity-hidden"], actions
    assert written[-2]["case"] == series.case and written[-2]["address"] == "127.0.0.1"
    assert NAME_OF_PHANTOM not in json.dumps(written), "the trail says who looked at what, not who the patient is"
    assert not re.search("PHANTOM.HEAD", node.log()), "nor does the log"


def test_guessing_has_to_wait(door: Tab, closed: tuple[RunningNode, Series]) -> None:
    page = door.open()
    for _ in range(6):
        with page.expect_response("**/api/login") as answered:
            log_in(page, "any other animal")
        if answered.value.status == 429:
            break
    expect(page.get_by_text("Too many wrong logins.").first).to_be_visible()
    expect(page.get_by_text(re.compile(r"Try again in \d+ s")).first).to_be_visible()
    # Even the right one has to wait: the wait would otherwise tell which it is.
    assert page.request.post(f"{door.address}/api/login", data={"secret": PASSWORD}).status == 429
    assert "login-failed" in [entry["action"] for entry in entries(closed[0])]
