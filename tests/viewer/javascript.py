"""Runs modules of the page in Node.js, where there is one: no test of Python can see whether JavaScript is right."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from neuroscan_core import viewer

STATIC = Path(viewer.__file__).parent / "static"
SCRIPTS = STATIC / "js"
PATIENCE_S = 60.0
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")


def evaluate(code: str) -> Any:
    """Run a module; what it hands to ``say`` comes back.

    Parameters
    ----------
    code : str
        May import from ``js/...`` and call ``say(value)`` once; the English texts are loaded.
    """
    assert NODE is not None
    texts = (STATIC / "locales" / "en.json").as_uri()
    before = f"""
      import {{ readFileSync }} from "node:fs";
      import {{ useTexts }} from "{(SCRIPTS / "i18n.js").as_uri()}";
      useTexts("en", JSON.parse(readFileSync(new URL("{texts}"), "utf8")));
      const say = (value) => console.log("said " + JSON.stringify(value));
      const problems = [];
      console.error = (problem) => problems.push(String(problem));
    """
    source = before + code.replace('"js/', f'"{SCRIPTS.as_uri()}/')
    command = [NODE, "--input-type=module", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    (said,) = (line for line in done.stdout.splitlines() if line.startswith("said "))
    return json.loads(said.removeprefix("said "))
