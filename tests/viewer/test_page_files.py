"""Files of the page: whole, wired together, within its content security policy, readable in both themes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.viewer.javascript import SCRIPTS, STATIC

OWN_SCRIPTS = sorted(SCRIPTS.rglob("*.js"))
STYLES = sorted((STATIC / "css").glob("*.css"))
IMPORT = re.compile(r"import\s+(?:(\w+)|(?:\{([^}]*)\})|\*\s+as\s+\w+)\s+from\s+\"([^\"]+)\"")
LAZY_IMPORT = re.compile(r"import\(\"([^\"]+)\"\)")
EXPORT = re.compile(r"export\s+(?:async\s+)?(?:function\*?|class|const|let)\s+(\w+)")
COMMENT = re.compile(r"\s*(//|\*|/\*)")
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
AA = 4.5  # contrast of text, WCAG 2.2, 1.4.3
AA_GRAPHICS = 3.0  # of what has to be seen but not read, 1.4.11


class Elements(HTMLParser):
    """Start tags with their attributes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


PAGE = Elements(STATIC / "index.html").found


def test_page_has_no_script_or_style_of_its_own() -> None:
    for tag, attributes in PAGE:
        assert tag != "style" and "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "script" or attributes.get("src")


def test_files_that_the_page_names_exist() -> None:
    named = [attributes.get("src") or attributes.get("href") for _, attributes in PAGE]
    files = [name for name in named if name and not name.startswith("#")]
    assert {Path(name).suffix for name in files} == {".css", ".js", ".svg"}
    for name in files:
        assert (STATIC.parent / name).is_file(), name


def test_page_says_what_it_is_not_and_has_its_landmarks() -> None:
    tags = [tag for tag, _ in PAGE]
    assert {"header", "main", "footer"} <= set(tags)
    assert "Not a medical device" in (STATIC / "index.html").read_text(encoding="utf-8")
    assert next(attributes for tag, attributes in PAGE if tag == "a")["href"] == "#view", "the skip link comes first"


@pytest.mark.parametrize("script", OWN_SCRIPTS, ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_script_imports_what_is_exported(script: Path) -> None:
    source = script.read_text(encoding="utf-8")
    for default, names, where in IMPORT.findall(source):
        target = (script.parent / where).resolve()
        assert target.is_file(), where
        if default or not names or "vendor" in where:
            continue
        exported = set(EXPORT.findall(target.read_text(encoding="utf-8")))
        wanted = {name.split(" as ")[0].strip() for name in names.split(",") if name.strip()}
        assert wanted <= exported, f"{where} has no {wanted - exported}"
    for where in LAZY_IMPORT.findall(source):
        assert (script.parent / where).is_file(), where


@pytest.mark.parametrize("script", OWN_SCRIPTS, ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_script_makes_no_markup_of_text_and_asks_nobody_else(script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    source = "\n".join(line for line in lines if not COMMENT.match(line)).replace(SVG_NAMESPACE, "")
    forbidden = (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "http://",
        "https://",
    )
    assert not [word for word in forbidden if word in source]
    assert len(lines) < 350


def test_icons_that_are_used_are_drawn() -> None:
    drawn = set(re.findall(r"^  (\w+): \"M", (SCRIPTS / "dom.js").read_text(encoding="utf-8"), re.MULTILINE))
    shell = [path for path in OWN_SCRIPTS if path.parent.name != "case"]
    used = {name for path in shell for name in re.findall(r"\bicon\(\"(\w+)\"\)", path.read_text(encoding="utf-8"))}
    assert used and used <= drawn


def themes() -> dict[str, dict[str, str]]:
    """Theme -> custom property -> #rrggbb; light takes from dark what it does not set."""
    source = (STATIC / "css" / "theme.css").read_text(encoding="utf-8")
    dark, light = (
        dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", re.search(start + r"\s*\{(.*?)\n\}", source, re.DOTALL)[1]))  # type: ignore[index]
        for start in (r"^:root|\n:root", r":root\[data-theme=\"light\"\]")
    )
    return {"dark": dark, "light": {**dark, **light}}


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 (the same) to 21 (black on white)."""
    lower, higher = sorted((luminance(one), luminance(other)))
    return (higher + 0.05) / (lower + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01), "the grey that just passes AA on white"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_can_be_read_on_every_ground(theme: str) -> None:
    colours = themes()[theme]
    grounds = ("ground", "surface", "raised")
    pairs = [
        (text, ground) for text in ("text", "dim", "accent", "good", "warn", "bad", "purple") for ground in grounds
    ]
    pairs += [(look, f"{look}-ground") for look in ("accent", "good", "warn", "bad")]
    pairs += [(text, f"{look}-ground") for look in ("accent", "warn", "bad") for text in ("text", "dim")]
    pairs += [("on-accent", "accent")]
    poor = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert not {pair: value for pair, value in poor.items() if value < AA}


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_edges_of_controls_can_be_seen(theme: str) -> None:
    colours = themes()[theme]
    for ground in ("ground", "surface"):
        assert contrast(colours["line-strong"], colours[ground]) >= AA_GRAPHICS
    for name in ("left", "crosshair", "measure"):
        assert contrast(colours[name], colours["picture"]) >= AA_GRAPHICS


def test_styles_use_no_colour_that_is_not_defined() -> None:
    defined = set(re.findall(r"(--[\w-]+):", "".join(path.read_text(encoding="utf-8") for path in STYLES)))
    for path in STYLES:
        assert set(re.findall(r"var\((--[\w-]+)\)", path.read_text(encoding="utf-8"))) <= defined, path.name
