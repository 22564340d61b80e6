"""The report as one HTML file: styles and pictures inside, no script, nothing fetched, printable."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from neuroscan_core.diagnosis.report.pictures import Picture
from neuroscan_core.diagnosis.report.policy import POLICY
from neuroscan_core.diagnosis.report.prose import Prose

Content = dict[str, Any]

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
.notice { border: 2px solid #d55e00; padding: .5rem .8rem; font-weight: 600; }
.verdict { border-left: .5rem solid #777; padding: .3rem .8rem; background: #f4f4f4; font-size: 1.15rem; }
.verdict.plausible { border-color: #009e73; } .verdict.doubtful { border-color: #e69f00; }
.verdict.not { border-color: #d55e00; }
.generated { border: 2px dashed #0072b2; padding: .5rem .8rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem; border-bottom: 1px solid #ccc; }
figure { display: inline-block; margin: .4rem .6rem .4rem 0; vertical-align: top; }
figure img { max-width: 100%; height: auto; background: #000; } figcaption { font-size: .85rem; max-width: 26rem; }
.swatch { display: inline-block; width: .9em; height: .9em; border: 1px solid #333; margin-right: .4em; }
.small { font-size: .85rem; color: #444; }
@media print { body { max-width: none; } figure, table { break-inside: avoid; } }
"""


def html_report(
    content: Content, words: Sequence[tuple[str, str]], pictures: Sequence[Picture], prose: Prose | None = None
) -> str:
    """Compose the file.

    Parameters
    ----------
    content : dict
        See `content.content_of`.
    words : sequence of (str, str)
        Headings with their text.
    pictures : sequence of Picture
    prose : Prose, optional
        Text of a language model, shown apart and marked as generated.
    """
    body = "\n".join(
        [
            f'<p class="notice" role="note">{escape(content["notice"])}</p>',
            "<h1>NeuroScan report</h1>",
            _identity(content["identity"]),
            _verdict(content["verdict"]),
            _generated(prose),
            *(f"<h2>{escape(heading)}</h2>\n<p>{escape(text)}</p>" for heading, text in words),
            _figures(pictures),
            *(_result(one) for one in content["results"]),
            _checks(content["verdict"]),
            _agents(content),
            f'<p class="small">{escape(content["software"])}. {escape(content["about_confidence"])}</p>',
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>NeuroScan report</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _identity(identity: dict[str, str] | None) -> str:
    if not identity:
        return '<p class="small">This report names no patient.</p>'
    return _table(("Patient", ""), identity.items())


def _verdict(verdict: Content | None) -> str:
    if verdict is None:
        return ""
    word = verdict["word"]
    return f'<p class="verdict {escape(word.split()[0])}">Verdict: <strong>{escape(word)}</strong></p>'


def _generated(prose: Prose | None) -> str:
    if prose is None:
        return ""
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in prose.paragraphs)
    return (
        f'<section class="generated" aria-label="Generated text"><h2>Generated text</h2>'
        f'<p class="small">{escape(prose.mark)}</p>{paragraphs}</section>'
    )


def _figures(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    figures = "\n".join(
        f'<figure><img alt="{escape(one.caption)}" width="{one.width}" height="{one.height}" '
        f'src="data:image/png;base64,{base64.b64encode(one.png).decode()}">'
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
        for one in pictures
    )
    return f"<h2>Pictures</h2>\n{figures}"


def _result(one: Content) -> str:
    rows = [
        (
            f'<span class="swatch" style="background:{escape(label["colour"])}"></span>{escape(label["name"])}',
            *(escape(text) for text in size_cells(label)),
        )
        for label in one["labels"]
    ]
    rows += [(escape(region_title(m["name"])), *(escape(text) for text in size_cells(m))) for m in one["composites"]]
    head = "".join(f"<th scope=col>{title}</th>" for title in ("Region", *SIZE_TITLES))
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    warnings = "".join(f"<li>{escape(text)}</li>" for text in one["warnings"])
    return (
        f"<h2>{escape(one['model'])} {escape(one['version'])}</h2>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        + (f"<ul>{warnings}</ul>" if warnings else "")
        + f'<p class="small">Executed by {escape(one["engine"])}. SHA-256 {escape(one["sha256"])}. '
        f"{escape(one['licence'])}</p>"
    )


SIZE_TITLES = ("Volume", "Parts", "Diameters", "In slice")


def size_cells(measured: Content) -> tuple[str, str, str, str]:
    """Size of a region as texts, in the order of `SIZE_TITLES`."""
    volume = "not known" if measured["volume_ml"] is None else f"{measured['volume_ml']:.1f} ml"
    long_mm, short_mm = measured["long_mm"], measured["short_mm"]
    diameters = "none" if long_mm is None else f"{long_mm:.0f} x {short_mm:.0f} mm"
    return volume, str(measured["num_components"]), diameters, str(measured["slice"] or "none")


def region_title(name: str) -> str:
    """Composite region for people."""
    return {"WT": "whole tumour", "TC": "tumour core", "ET": "enhancing tumour"}.get(name, name)


def _checks(verdict: Content | None) -> str:
    if verdict is None:
        return ""
    words = {"ok": "speaks for it", "doubt": "casts doubt", "stop": "forbids its use"}
    rows = ((one["name"], f"{words[one['state']]}: {one['sentence']}") for one in verdict["checks"])
    return "<h2>What was checked</h2>" + _table(("Check", "Result"), rows)


def _agents(content: Content) -> str:
    lines = []
    for one in content["agents"]:
        facts = "; ".join(f"{name}: {value}" for name, value in [*one["input"], *one["output"]])
        notes = " ".join(one["notes"])
        duration = "" if one["duration_s"] is None else f"{one['duration_s']:.1f} s"
        confidence = "" if one["confidence"] is None else f"{one['confidence']:.2f}"
        cells = (one["name"], one["state"], duration, confidence, " ".join(filter(None, (facts, notes))))
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th scope=col>{title}</th>" for title in ("Agent", "State", "Time", "Confidence", "What it said"))
    return f"<h2>Agents</h2><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _table(titles: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    head = "".join(f"<th scope=col>{escape(title)}</th>" for title in titles)
    lines = "".join(f"<tr><td>{escape(str(a))}</td><td>{escape(str(b))}</td></tr>" for a, b in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
