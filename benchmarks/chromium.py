"""The system's Chromium, as a machine without a graphics card has it: for measurements and for tests."""

from __future__ import annotations

import shutil

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# WebGL by software, but not the drawing of the page through it. Without a sandbox, as containers allow none; all pages
# are the node's own.
ARGUMENTS = ["--no-sandbox", "--enable-unsafe-swiftshader"]


def chromium_path() -> str | None:
    """The system's Chromium, or None."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)
