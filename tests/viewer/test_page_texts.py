"""Texts of the page: every key that the JavaScript uses exists, and every key that exists is used."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from neuroscan_core import viewer

STATIC = Path(viewer.__file__).parent / "static"
LOCALES = sorted((STATIC / "locales").glob("*.json"))
CALL = re.compile(r"\b(?:t|hasText)\(\s*([\"'`])([^\"'`]+)\1")
WHOLE_KEY = re.compile(r"[\"']([a-z0-9_]+(?:\.[a-z0-9_-]+)+)[\"']")  # keys that are kept in lists and used later
PLURAL_FORMS = {"zero", "one", "two", "few", "many", "other"}
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def scripts() -> dict[str, str]:
    return {
        str(path.relative_to(STATIC)): path.read_text(encoding="utf-8")
        for path in sorted((STATIC / "js").rglob("*.js"))
    }


def flatten(texts: dict[str, Any], prefix: str = "") -> dict[str, str | dict[str, str]]:
    """Key -> text or plural forms."""
    flat: dict[str, str | dict[str, str]] = {}
    for name, value in texts.items():
        if isinstance(value, str) or is_plural(value):
            flat[prefix + name] = value
        else:
            flat |= flatten(value, f"{prefix}{name}.")
    return flat


def is_plural(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and "other" in value
        and all(name in PLURAL_FORMS and isinstance(text, str) for name, text in value.items())
    )


def load(locale: Path) -> dict[str, str | dict[str, str]]:
    return flatten(json.loads(locale.read_text(encoding="utf-8")))


def used_patterns(source: str) -> list[re.Pattern[str]]:
    """What each call asks for; a ``${...}`` in a key may stand for one part of it."""
    return [
        re.compile(r"[^.]+".join(re.escape(part) for part in re.split(r"\$\{[^}]*\}", key)))
        for _, key in CALL.findall(source)
    ]


ENGLISH = load(STATIC / "locales" / "en.json")


def test_every_key_that_is_used_exists() -> None:
    missing = {
        f"{name}: {pattern.pattern}"
        for name, source in scripts().items()
        for pattern in used_patterns(source)
        if not any(pattern.fullmatch(key) for key in ENGLISH)
    }
    assert not missing


def test_every_key_that_exists_is_used() -> None:
    sources = scripts().values()
    patterns = [pattern for source in sources for pattern in used_patterns(source)]
    named = {key for source in sources for key in WHOLE_KEY.findall(source)}
    unused = {key for key in ENGLISH if key not in named and not any(pattern.fullmatch(key) for pattern in patterns)}
    assert not unused


def test_languages_that_are_offered_are_those_that_there_are() -> None:
    (listed,) = re.findall(r"LANGUAGES = (\[.*?\])", (STATIC / "js" / "i18n.js").read_text(encoding="utf-8"))
    assert sorted(json.loads(listed)) == [path.stem for path in LOCALES]


def test_plural_texts_have_the_form_that_every_language_has() -> None:
    sections = json.loads((STATIC / "locales" / "en.json").read_text(encoding="utf-8"))
    assert all(isinstance(section, dict) for section in sections.values())
    for key, text in ENGLISH.items():
        assert isinstance(text, str) or text["other"].strip(), key


@pytest.mark.parametrize("locale", LOCALES, ids=lambda path: path.stem)
def test_every_language_has_the_same_keys_and_the_same_values_in_its_texts(locale: Path) -> None:
    texts = load(locale)
    assert texts.keys() == ENGLISH.keys()
    for key, text in texts.items():
        assert placeholders(text) == placeholders(ENGLISH[key]), key


def placeholders(text: str | dict[str, str]) -> set[str]:
    whole = text if isinstance(text, str) else " ".join(text.values())
    return set(PLACEHOLDER.findall(whole))


def test_a_key_that_does_not_exist_would_be_found() -> None:
    (pattern,) = used_patterns('label.append(t("live.no_such_text", { n: 1 }));')
    assert pattern.fullmatch("live.no_such_text") and not any(pattern.fullmatch(key) for key in ENGLISH)
    (made,) = used_patterns("t(`state.${state}.word`)")
    assert made.fullmatch("state.failed.word") and not made.fullmatch("state.failed.reason.word")
