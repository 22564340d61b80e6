"""The report as PDF: the same content, words and pictures as the HTML.

Made with ReportLab: one wheel of pure Python for every processor, under a BSD licence; fpdf2 would have been lighter
but is under the LGPL and brings fontTools. Standard fonts are used, so characters beyond Latin-1 are written as `?`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from typing import Any

from neuroscan_core.diagnosis.report.html import SIZE_TITLES, region_title, size_cells
from neuroscan_core.diagnosis.report.pictures import Picture
from neuroscan_core.diagnosis.report.prose import Prose

Content = dict[str, Any]

_MARGIN_MM = 18.0
_PICTURE_MM = 56.0
# Greater or equal, less or equal, minus, arrow, about, non-breaking hyphen, narrow and thin space.
_REPLACED = {"\u2265": ">=", "\u2264": "<=", "\u2212": "-", "\u2192": "->", "\u2248": "about ", "\u2011": "-",
             "\u202f": " ", "\u2009": " "}  # fmt: skip


def pdf_report(
    content: Content, words: Sequence[tuple[str, str]], pictures: Sequence[Picture], prose: Prose | None = None
) -> bytes:
    """Compose the file; see `html.html_report`. The same content gives the same bytes."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import SimpleDocTemplate

    out = io.BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=_MARGIN_MM * mm, rightMargin=_MARGIN_MM * mm, topMargin=_MARGIN_MM * mm,
        bottomMargin=_MARGIN_MM * mm, title="NeuroScan report", author=content["software"],
        subject=content["notice"], invariant=1,
    )  # fmt: skip
    notice = plain(content["notice"])

    def foot(canvas: Any, page: Any) -> None:  # Any: ReportLab has no types
        canvas.saveState()
        canvas.setFont("Helvetica", 8)
        canvas.drawString(_MARGIN_MM * mm, 9 * mm, notice)
        canvas.drawRightString(A4[0] - _MARGIN_MM * mm, 9 * mm, f"Page {page.page}")
        canvas.restoreState()

    document.build(_Story(content, words, pictures, prose).flowables(), onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def plain(text: str) -> str:
    """Text in the characters that the standard fonts have."""
    for character, instead in _REPLACED.items():
        text = text.replace(character, instead)
    return text.encode("cp1252", "replace").decode("cp1252")


class _Story:
    def __init__(
        self, content: Content, words: Sequence[tuple[str, str]], pictures: Sequence[Picture], prose: Prose | None
    ) -> None:
        from reportlab.lib import colors
        from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet

        self._content, self._words, self._pictures, self._prose = content, words, pictures, prose
        styles = getSampleStyleSheet()
        self._colors = colors
        self._text = ParagraphStyle("text", parent=styles["BodyText"], fontSize=10, leading=13)
        self._small = ParagraphStyle("small", parent=self._text, fontSize=8, leading=10)
        self._title = styles["Title"]
        self._heading = ParagraphStyle("heading", parent=styles["Heading2"], keepWithNext=1)
        self._notice = ParagraphStyle(
            "notice", parent=self._text, borderColor=colors.HexColor("#d55e00"), borderWidth=1.5, borderPadding=5,
            fontName="Helvetica-Bold", spaceAfter=8,
        )  # fmt: skip
        self._generated = ParagraphStyle(
            "generated", parent=self._text, leftIndent=10, borderColor=colors.HexColor("#0072b2"), textColor="#003a5c"
        )

    def flowables(self) -> list[Any]:
        """Everything in order."""
        content = self._content
        parts = [self._line(content["notice"], self._notice), self._line("NeuroScan report", self._title)]
        parts += self._identity()
        if content["verdict"]:
            parts.append(self._line(f"Verdict: {content['verdict']['word']}", self._heading))
        if self._prose is not None:
            parts += [self._line("Generated text", self._heading), self._line(self._prose.mark, self._small)]
            parts += [self._line(text, self._generated) for text in self._prose.paragraphs]
        for heading, text in self._words:
            parts += [self._line(heading, self._heading), self._line(text)]
        parts += self._figures()
        for one in content["results"]:
            parts += self._result(one)
        parts += self._checks() + self._agents()
        parts.append(self._line(f"{content['software']}. {content['about_confidence']}", self._small))
        return parts

    def _line(self, text: str, style: Any = None) -> Any:
        from reportlab.platypus import Paragraph

        return Paragraph(escape(plain(text)), style or self._text)

    def _identity(self) -> list[Any]:
        identity = self._content["identity"]
        if not identity:
            return [self._line("This report names no patient.", self._small)]
        return [self._table([("Patient", ""), *identity.items()], (40, 134))]

    def _figures(self) -> list[Any]:
        from reportlab.lib.units import mm
        from reportlab.platypus import Image, Table

        if not self._pictures:
            return []
        cells = []
        for one in self._pictures:
            if one.name == "montage":
                continue
            scale = min(_PICTURE_MM / one.width, _PICTURE_MM / one.height)
            image = Image(io.BytesIO(one.png), one.width * scale * mm, one.height * scale * mm)
            cells.append([image, self._line(one.caption, self._small)])
        cells += [[self._line("")]] * (-len(cells) % 3)
        rows = [cells[n : n + 3] for n in range(0, len(cells), 3)]
        parts = [self._line("Pictures", self._heading), Table(rows, colWidths=[58 * mm] * 3)]
        montage = next((one for one in self._pictures if one.name == "montage"), None)
        if montage is not None:
            scale = min(172 / montage.width, 110 / montage.height)
            parts.append(Image(io.BytesIO(montage.png), montage.width * scale * mm, montage.height * scale * mm))
            parts.append(self._line(montage.caption, self._small))
        return parts

    def _result(self, one: Content) -> list[Any]:
        rows: list[tuple[str, ...]] = [("Region", *SIZE_TITLES)]
        rows += [(label["name"], *size_cells(label)) for label in one["labels"]]
        rows += [(region_title(m["name"]), *size_cells(m)) for m in one["composites"]]
        parts = [self._line(f"{one['model']} {one['version']}", self._heading)]
        parts.append(self._table(rows, (54, 30, 20, 40, 30)))
        parts += [self._line(text, self._small) for text in one["warnings"]]
        made_by = f"Executed by {one['engine']}. SHA-256 {one['sha256']}. {one['licence']}"
        return [*parts, self._line(made_by, self._small)]

    def _checks(self) -> list[Any]:
        verdict = self._content["verdict"]
        if not verdict:
            return []
        words = {"ok": "speaks for it", "doubt": "casts doubt", "stop": "forbids its use"}
        rows = [("Check", "Result")]
        rows += [(one["name"], f"{words[one['state']]}: {one['sentence']}") for one in verdict["checks"]]
        return [self._line("What was checked", self._heading), self._table(rows, (40, 134))]

    def _agents(self) -> list[Any]:
        rows: list[tuple[str, ...]] = [("Agent", "State", "Time", "What it said")]
        for one in self._content["agents"]:
            facts = "; ".join(f"{name}: {value}" for name, value in [*one["input"], *one["output"]])
            duration = "" if one["duration_s"] is None else f"{one['duration_s']:.1f} s"
            sure = "" if one["confidence"] is None else f" Confidence {one['confidence']:.2f}."
            rows.append((one["name"], one["state"], duration, " ".join([facts + sure, *one["notes"]])))
        return [self._line("Agents", self._heading), self._table(rows, (24, 18, 16, 116))]

    def _table(self, rows: Sequence[Sequence[str]], widths_mm: Sequence[float]) -> Any:
        from reportlab.lib.units import mm
        from reportlab.platypus import LongTable, TableStyle

        cells = [[self._line(str(cell), self._small) for cell in row] for row in rows]
        table = LongTable(cells, colWidths=[width * mm for width in widths_mm], repeatRows=1, hAlign="LEFT")
        grid = self._colors.HexColor("#bbbbbb")
        table.setStyle(TableStyle([
            ("GRID", (0, 0), (-1, -1), 0.4, grid), ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("BACKGROUND", (0, 0), (-1, 0), self._colors.HexColor("#eeeeee")),
        ]))  # fmt: skip
        return table
