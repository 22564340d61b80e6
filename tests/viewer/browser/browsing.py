"""A real browser before the application, and what it must never do: complain, or speak with other hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import chromium

if TYPE_CHECKING:  # the tests that need it skip where it is not installed
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Response, ViewportSize

DESKTOP: ViewportSize = {"width": 1280, "height": 720}
TABLET: ViewportSize = {"width": 820, "height": 1180}
# Of its own accord the browser would ask other hosts than the node.
ARGUMENTS = [
    *chromium.ARGUMENTS, "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class Tab:
    """A page of the browser, watched.

    Attributes
    ----------
    complaints : list of str
        Errors and warnings of the console, exceptions that nobody caught, and violations of the content policy.
    foreign : list of str
        Requests to other hosts than the node's.
    refused : list of (int, str)
        Status and path of answers that were refusals.
    """

    page: Page
    address: str
    pictures: Path
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("request", self._see)
        self.page.on("response", self._answered)

    def _hear(self, message: ConsoleMessage) -> None:
        # What Chromium itself writes about software rendering says nothing of the page.
        if message.type in ("error", "warning") and "GPU stall" not in message.text:
            self.complaints.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _see(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.address:
            self.foreign.append(request.url)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.refused.append((response.status, urlsplit(response.url).path))

    def close(self) -> None:
        """Before the node ends: a page that asks nobody complains."""
        self.page.context.close()

    def expect_complaint(self, pattern: str) -> None:
        """A test provokes something that browsers write into the console, e.g. an answer 401."""
        self.expected.append(pattern)

    def check(self) -> None:
        """Fail where the page complained or spoke with others."""
        left = [text for text in self.complaints if not any(re.search(pattern, text) for pattern in self.expected)]
        assert not left, left
        assert not self.foreign, f"the page asks other hosts: {self.foreign}"

    def open(self, route: str = "#/live") -> Page:
        """Go to a page of the application."""
        self.page.goto(f"{self.address}/{route}")
        return self.page

    def wait_for_mark(self, name: str) -> None:
        """Wait for a performance mark of the page."""
        self.page.wait_for_function("name => performance.getEntriesByName(name).length > 0", arg=name)

    def picture(self, name: str, **options: Any) -> Path:
        """Keep a screenshot."""
        path = self.pictures / f"{name}.png"
        self.page.screenshot(path=path, **options)
        return path

    def pixels(self, shown: Locator) -> npt.NDArray[np.uint8]:
        """What is on the screen in place of an element, shape (height, width, 3)."""
        import io

        return np.asarray(Image.open(io.BytesIO(shown.screenshot())).convert("RGB"))


def new_tab(
    browser: Browser,
    address: str,
    pictures: Path,
    viewport: ViewportSize = DESKTOP,
    theme: str = "",
    **options: Any,
) -> Tab:
    """Open a tab in a context of its own: cookies and storage are nobody else's; a theme where one was chosen."""
    context = browser.new_context(viewport=viewport, accept_downloads=True, locale="en-GB", **options)
    context.set_default_timeout(60_000)
    if theme:
        context.add_init_script(f"localStorage.setItem('neuroscan.theme', '{theme}')")
    return Tab(context.new_page(), address, pictures)
