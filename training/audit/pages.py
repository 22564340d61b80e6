"""The audit as one HTML file without anything outside it, and as PDF."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.audit.charts import Chart, charts_for
from training.audit.evidence import Evidence, summary_of
from training.audit.style import FAINT, INK, styled

TEMPLATE = "audit.html.j2"
DPI = 130
Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A chart with its figure; None where its evidence is missing."""

    chart: Chart
    figure: Any | None


def draw_charts(evidence: Evidence, progress: Progress = lambda _: None) -> Iterator[Drawn]:
    """Draw the charts one after the other."""
    for chart in charts_for(evidence):
        progress(chart.title)
        yield Drawn(chart, chart.draw(evidence))


def write_audit(
    evidence: Evidence, html: Path, pdf: Path | None = None, progress: Progress = lambda _: None, *, dpi: int = DPI
) -> tuple[int, tuple[str, ...]]:
    """Write the audit.

    Parameters
    ----------
    html : pathlib.Path
        One file; pictures and style are in it.
    pdf : pathlib.Path, optional
        A cover with the figures, then a page per chart.
    progress : callable
        Told of each chart before it is drawn.
    dpi : int
        Resolution of the pictures.

    Returns
    -------
    num_charts : int
        Charts that were drawn.
    missing : tuple of str
        Titles of charts whose evidence is missing.
    """
    results = summary_of(evidence)
    with styled():
        drawn = list(draw_charts(evidence, progress))
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(render_html(evidence, results, drawn, dpi), encoding="utf-8")
        if pdf is not None:
            pdf.parent.mkdir(parents=True, exist_ok=True)
            _write_pdf(evidence, results, drawn, pdf, dpi)
    missing = tuple(entry.chart.title for entry in drawn if entry.figure is None)
    return len(drawn) - len(missing), missing


def render_html(evidence: Evidence, results: dict[str, Any], drawn: Sequence[Drawn], dpi: int = DPI) -> str:
    """Return the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("training.audit", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [(n, entry.chart, as_data_url(entry.figure, dpi)) for n, entry in enumerate(_shown(drawn), start=1)]
    return environment.get_template(TEMPLATE).render(
        title=evidence.model.name,
        kind=evidence.model.kind.value,
        results=results,
        headline=headline(results),
        tables=tables(results),
        charts=shown,
        missing=[entry.chart for entry in drawn if entry.figure is None],
    )


def _shown(drawn: Sequence[Drawn]) -> list[Drawn]:
    return [entry for entry in drawn if entry.figure is not None]


def as_data_url(figure: Any, dpi: int = DPI) -> str:
    """Return a figure as a PNG inside a URL."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def headline(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the figures of each set in large print: name, figure, what it is."""
    cards = []
    for name, summary in results["sets"].items():
        low, high = summary["ci95"]
        is_accuracy = "accuracy" in summary
        value = summary["accuracy"] if is_accuracy else summary["dice_mean"]
        unit = "pictures" if is_accuracy else "patients"
        figure = "accuracy" if is_accuracy else "mean Dice"
        text = f"{figure}, 95 % CI {low:.3f} to {high:.3f}, {summary['patients']} {unit}"
        cards.append((name, f"{value:.3f}", text))
    return cards


def tables(results: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return the tables of figures: title, columns and rows."""
    if "confusion" in results:
        keys = ("pictures", "precision", "recall", "f1", "roc_auc")
        rows = [[name, *(_text(entry[key]) for key in keys)] for name, entry in results["classes"].items()]
        return [("Classes", ["class", "pictures", "precision", "recall", "F1", "ROC AUC"], rows)]
    columns = ["set", "region", "n", "Dice", "95 % CI", "median", "IoU", "precision", "recall", "HD95 mm"]
    columns += ["lesion Dice", "lesions found", "invented", "ECE", "Brier"]
    return [("Regions and classes", columns, list(_region_rows(results)))]


def _region_rows(results: dict[str, Any]) -> Iterator[list[str]]:
    for name in results["sets"]:
        for region, entry in {**results["regions"][name], **results["classes"][name]}.items():
            calibrated = results["calibration"][name].get(region, {})
            low, high = entry["ci95"]
            lesions, missed = entry.get("num_lesions"), entry.get("num_missed_lesions")
            yield [
                name,
                region,
                str(entry["patients"]),
                _text(entry["dice_mean"]),
                f"{low:.3f} to {high:.3f}",
                *(_text(entry[key]) for key in ("dice_median", "iou_mean", "precision_mean", "recall_mean")),
                _text(entry.get("hd95_mm_mean"), 1),
                _text(entry.get("lesion_dice_mean")),
                "" if lesions is None else f"{lesions - missed}/{lesions}",
                _text(entry.get("num_invented_lesions")),
                _text(calibrated.get("ece"), 4),
                _text(calibrated.get("brier"), 4),
            ]


def _text(value: float | None, digits: int = 3) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"


def _write_pdf(evidence: Evidence, results: dict[str, Any], drawn: Sequence[Drawn], path: Path, dpi: int) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    with PdfPages(path) as pages:
        pages.savefig(_cover(evidence, results), dpi=dpi)
        for number, entry in enumerate(_shown(drawn), start=1):
            assert entry.figure is not None
            entry.figure.suptitle(f"{number}. {entry.chart.title}", fontsize=12, fontweight="bold")
            pages.savefig(entry.figure, dpi=dpi)


def _cover(evidence: Evidence, results: dict[str, Any]) -> Any:
    """Return the first page: name, figures, protocol."""
    import textwrap

    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.3, 5.8))
    figure.text(0.07, 0.88, "Audit", fontsize=12, color=FAINT)
    figure.text(0.07, 0.81, evidence.model.name, fontsize=20, fontweight="bold", color=INK)
    figure.text(0.07, 0.76, f"{evidence.model.kind.value}, {results['part']}", fontsize=11, color=INK)
    for n, (name, value, text) in enumerate(headline(results)):
        top = 0.64 - 0.13 * n
        figure.text(0.07, top, value, fontsize=26, color=INK)
        figure.text(0.24, top + 0.025, name, fontsize=12, fontweight="bold", color=INK)
        figure.text(0.24, top - 0.01, text, fontsize=10, color=INK)
    figure.text(0.07, 0.06, "\n".join(textwrap.wrap(results["protocol"], 105)), fontsize=8.5, color=FAINT)
    return figure
