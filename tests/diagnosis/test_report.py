"""What is reported: the same in JSON, HTML and PDF, with its notice and without identity."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from neuroscan_core.diagnosis.agents import Critic, Measurer, Reporter
from neuroscan_core.diagnosis.case import CaseFile, InputKind, ModelResult, Source, View
from neuroscan_core.diagnosis.chain import run_chain
from neuroscan_core.diagnosis.report import html, pdf, pictures, wording
from neuroscan_core.diagnosis.report.content import content_of
from neuroscan_core.diagnosis.report.prose import Prose
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import Volume
from neuroscan_core.phantom import HeadPhantom
from neuroscan_core.pipeline.measure import finish_segmentation
from tests.diagnosis.conftest import gathered_of, reading_of
from tests.pipeline.stacks import card_mapping

CARD = ModelCard.from_mapping(card_mapping())


def result_of(volume: Volume, phantom: HeadPhantom, *, dice: float = 0.95) -> ModelResult:
    labels = phantom.tumour_kji.astype("uint8")
    found = finish_segmentation(labels, volume.geometry, volume.keys, CARD)
    views = (View("identity", 1.0, 50.0), View("left-right", dice, 49.0))
    return ModelResult(CARD, ModelIdentity.of(CARD, "an engine"), found, labels * 200, views, 0.1)


@pytest.fixture(scope="module")
def case(flair: Volume, small_phantom: HeadPhantom) -> CaseFile:
    reading = reading_of(flair)
    given = CaseFile(Path("Doe_John"), gathered=gathered_of(reading), reading=reading,
                     results=(result_of(flair, small_phantom),))  # fmt: skip
    measured, _ = run_chain([Measurer(), Critic()], given)
    return measured


class Page(HTMLParser):
    """What an HTML file fetches, runs, and says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_complete_and_says_what_it_is_not(case: CaseFile, tmp_path: Path) -> None:
    done, (record,) = run_chain([Reporter(tmp_path)], case)
    assert record.state.value == "done" and done.files is not None
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["results"][0]["labels"][0]["volume_ml"] == pytest.approx(
        case.results[0].segmentation.measurements[0].volume_ml, abs=0.001
    )
    assert content["notice"].startswith("Research use only") and content["identity"] is None
    assert content["verdict"]["word"] == "plausible", content["verdict"]
    page = Page((tmp_path / "report.html").read_text())
    assert "Research use only. Not a medical device" in page.text and "This report names no patient." in page.text
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_the_html_report_is_alone_and_runs_nothing(case: CaseFile) -> None:
    content = content_of(case)
    shown = pictures.pictures_of(case.reading, case.results[0])
    page = Page(html.html_report(content, wording.paragraphs(content), shown))
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in page.tags}
    addresses = [value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href", "srcset")]
    assert len(addresses) == len(shown) >= 4 and all(str(one).startswith("data:image/png") for one in addresses)
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")


def test_texts_out_of_headers_cannot_become_markup(case: CaseFile, flair: Volume) -> None:
    from dataclasses import replace

    evil = "<script>alert(1)</script> & <b>"
    source = Source(InputKind.DICOM, evil, flair, sequence="FLAIR", facts=(("description", evil),))
    content = content_of(replace(case, reading=replace(case.reading, source=source)))
    content["series"]["kind"] = evil
    text = html.html_report(content, wording.paragraphs(content), [])
    assert "<script" not in text and "&lt;script&gt;" in text
    assert pdf.pdf_report(content, wording.paragraphs(content), []).startswith(b"%PDF-")


def test_the_pdf_says_the_same_words(case: CaseFile) -> None:
    content = content_of(case)
    words = wording.paragraphs(content)
    text = pdf_text(pdf.pdf_report(content, words, pictures.pictures_of(case.reading, case.results[0])))
    assert "Research use only" in text and "NeuroScan report" in text and "Page 1" in text
    for sentence in ("Verdict: plausible", "left hemisphere", "Lobes and structures are not named"):
        assert sentence in text, sentence


def pdf_text(raw: bytes) -> str:
    """Texts that a PDF of ReportLab shows, in order: its streams are ASCII85 of deflate, texts are literals."""
    import base64
    import zlib

    found = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", raw, re.S):
        try:
            plain = zlib.decompress(base64.a85decode(stream.strip(), adobe=stream.strip().startswith(b"<~")))
        except ValueError:
            plain = zlib.decompress(base64.a85decode(b"<~" + stream.strip(), adobe=True))
        if b" Tj" in plain or b" TJ" in plain or b"Tj" in plain:
            found += [
                one.replace(rb"\(", b"(").replace(rb"\)", b")") for one in re.findall(rb"\(((?:\\.|[^\\)])*)\)", plain)
            ]
    return " ".join(part.decode("latin-1") for part in found)


def test_pdf_has_no_characters_that_its_fonts_lack() -> None:
    assert pdf.plain("\u2265 5 mm \u2212 3 \u2011 M\u00fcller \u2192 \u6f22") == ">= 5 mm - 3 - M\u00fcller -> ?"


def test_the_same_case_gives_the_same_pdf(case: CaseFile) -> None:
    content = content_of(case)
    words = wording.paragraphs(content)
    assert pdf.pdf_report(content, words, []) == pdf.pdf_report(content, words, [])


def test_identity_is_in_the_report_only_where_it_was_asked_for(case: CaseFile, tmp_path: Path) -> None:
    run_chain([Reporter(tmp_path / "without")], case)
    run_chain([Reporter(tmp_path / "with", identify=lambda source: {"Name": "Doe^John"})], case)
    for name in ("report.json", "report.html"):
        assert "Doe^" not in (tmp_path / "without" / name).read_text()
        assert "Doe^John" in (tmp_path / "with" / name).read_text()
    assert "Doe^John" in pdf_text((tmp_path / "with" / "report.pdf").read_bytes())


def test_generated_text_is_marked_as_generated(case: CaseFile) -> None:
    content, prose = content_of(case), Prose("some-model", ("The finding is large.",))
    for text in (
        Page(html.html_report(content, [], [], prose)).text,
        pdf_text(pdf.pdf_report(content, [], [], prose)),
    ):
        assert "Generated text" in text and "was generated by the language model some-model" in text
        assert "The finding is large." in text
    assert "Generated" not in Page(html.html_report(content, [], [])).text


def test_words_need_no_network_and_name_what_is_uncertain(flair: Volume, small_phantom: HeadPhantom) -> None:
    reading = reading_of(flair)
    doubtful, _ = run_chain([Measurer(), Critic()], CaseFile(
        Path("x"), reading=reading, results=(result_of(flair, small_phantom, dice=0.7),)
    ))  # fmt: skip
    words = dict(wording.paragraphs(content_of(doubtful)))
    assert words["Trust"].startswith("Verdict: doubtful.") and "Dice of 0.70" in words["Trust"]
    assert "51." in words["Finding"] or "ml in" in words["Finding"]


def test_a_case_without_images_has_a_report_that_says_so(tmp_path: Path) -> None:
    done, _ = run_chain([Critic(), Reporter(tmp_path)], CaseFile(Path("x")))
    assert done.verdict is not None and done.verdict.word == "not usable"
    assert "No image can be used" in Page((tmp_path / "report.html").read_text()).text


def test_a_folder_that_cannot_be_written_is_a_sentence(case: CaseFile, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    _, (record,) = run_chain([Reporter(tmp_path / "file")], case)
    assert record.state.value == "failed" and "cannot be written" in record.notes[0]


def test_pictures_show_the_finding_where_it_is(case: CaseFile, small_phantom: HeadPhantom) -> None:
    import cv2
    import numpy as np

    shown = {one.name: one for one in pictures.pictures_of(case.reading, case.results[0])}
    assert {"slice", "outline", "probability", "coronal", "sagittal", "montage"} <= shown.keys()
    plain, outlined = (
        cv2.imdecode(np.frombuffer(shown[name].png, np.uint8), cv2.IMREAD_COLOR) for name in ("slice", "outline")
    )
    changed = np.argwhere((plain != outlined).any(axis=2))
    k = int(small_phantom.tumour_kji.sum(axis=(1, 2)).argmax())
    rows, columns = np.nonzero(small_phantom.tumour_kji[k])
    scale = plain.shape[0] / 256
    assert changed[:, 0].mean() == pytest.approx(rows.mean() * scale, abs=8)
    assert changed[:, 1].mean() == pytest.approx(columns.mean() * scale, abs=8)
    assert f"Slice {k + 1} of 24" in shown["slice"].caption
