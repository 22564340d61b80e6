"""The audit of all kinds of network: pages with at least fifteen pictures, nothing outside the file, and PDF."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("monai", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("matplotlib", reason="the `training` extra is not installed", exc_type=ImportError)

from tests.training.tiny import picture_cache, segmentation_cache, write_bundle
from training.audit.case_pictures import paint_errors
from training.audit.charts import PICTURES, SEGMENTATION
from training.audit.collect import collect_pictures, collect_segmentation
from training.audit.evidence import column, columns_but, crop_to_head, largest_slice, read_history
from training.audit.pages import write_audit
from training.audit.patient_charts import sizes
from training.evaluate import open_bundle

HISTORY = "step,epoch,minutes,learning_rate,loss,score,dice_lgg\n10,0,0.1,0.002,0.9,,\n20,1,0.2,0.001,0.5,0.7,0.71\n"
DPI = 30
KINDS = {"slice25d": "flair", "multimodal2d": "multimodal", "volume3d": "multimodal"}


class Links(HTMLParser):
    """Everything that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.images: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        values = dict(attributes)
        if tag == "img":
            self.images.append(values["src"])
        self.loaded += [values[key] for key in ("src", "href") if key in values]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "history.csv").write_text(HISTORY)
    return folder


def collect(kind, tmp_path, run, **options):
    model = open_bundle(write_bundle(kind, tmp_path / "bundle"))
    if kind == "classifier":
        cache = picture_cache()
        return collect_pictures(model, cache, cache.cases, "val", run, **options)
    cache = segmentation_cache(KINDS[kind])
    folder = tmp_path / "probabilities"
    folder.mkdir()
    return collect_segmentation(model, cache, cache.cases[2:4], "val", folder, run, cache.cases[4:], **options)


def parse(path):
    page = Links()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.mark.parametrize(
    "kind",
    [
        "slice25d",
        pytest.param("multimodal2d", marks=pytest.mark.slow),
        pytest.param("volume3d", marks=pytest.mark.slow),
    ],
)
def test_every_chart_of_a_segmenting_network_is_on_one_page_without_anything_outside(kind, tmp_path, run):
    out, pdf = tmp_path / "audit.html", tmp_path / "audit.pdf"
    count, missing = write_audit(collect(kind, tmp_path, run), out, pdf, dpi=DPI)
    assert (count, missing) == (len(SEGMENTATION), ())
    assert count >= 15
    page = parse(out)
    assert len(page.images) == count
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.loaded)
    assert not page.tags & {"script", "link", "iframe"}
    assert "url(" not in out.read_text(encoding="utf-8")
    assert pdf.read_bytes().startswith(b"%PDF")


def test_a_region_that_no_patient_has_is_left_out_of_the_sizes(tmp_path, run):
    model = open_bundle(write_bundle("multimodal2d", tmp_path / "bundle"))
    cache = segmentation_cache("multimodal")
    without = replace(cache, labels_SHW=np.where(cache.labels_SHW == 3, 1, cache.labels_SHW).astype(np.uint8))
    (tmp_path / "probabilities").mkdir()
    evidence = collect_segmentation(model, without, without.cases[2:3], "val", tmp_path / "probabilities", tta=False)
    left, _ = sizes(evidence).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["WT", "TC"]


def test_pictures_are_whole_and_not_blank(tmp_path, run):
    image = pytest.importorskip("PIL.Image", reason="the `training` extra is not installed", exc_type=ImportError)
    out = tmp_path / "audit.html"
    write_audit(collect("slice25d", tmp_path, run, tta=False), out, dpi=DPI)
    for url in parse(out).images:
        picture = np.asarray(image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))).convert("L"))
        assert min(picture.shape) >= 60  # the lowest is one row of the montage
        assert picture.std() > 5


def test_a_classifier_has_pages_of_its_own(tmp_path, run):
    out = tmp_path / "audit.html"
    count, missing = write_audit(collect("classifier", tmp_path, run), out, tmp_path / "audit.pdf", dpi=DPI)
    assert (count, missing) == (len(PICTURES), ())
    assert "accuracy" in out.read_text(encoding="utf-8")


def test_what_cannot_be_drawn_is_named_with_what_it_needs(tmp_path):
    evidence = collect("slice25d", tmp_path, None, tta=False)
    evidence.external = None
    out = tmp_path / "audit.html"
    count, missing = write_audit(evidence, out, dpi=DPI)
    assert len(missing) == 4
    assert count == len(SEGMENTATION) - 4
    assert re.search(r"External against internal \(needs --external DATASET\)", out.read_text(encoding="utf-8"))


def test_a_network_that_finds_nothing_can_be_audited(tmp_path, run):
    """Without a predicted voxel there are no outlines, no lesions found and Dice 0."""
    model = open_bundle(write_bundle("multimodal2d", tmp_path / "bundle"))
    nothing = replace(model, predict=lambda batch: np.stack([np.eye(4)[0] * 9] * len(batch))[..., None, None]
                      * np.ones((1, 1, *batch.shape[2:]), np.float32))  # fmt: skip
    cache = segmentation_cache("multimodal")
    folder = tmp_path / "p"
    folder.mkdir()
    evidence = collect_segmentation(nothing, cache, cache.cases[2:4], "val", folder, run, tta=False)
    assert evidence.evaluation.cases[0].result.dice == 0.0
    write_audit(evidence, tmp_path / "audit.html", dpi=DPI)


def test_names_are_escaped(tmp_path, run):
    evidence = collect("slice25d", tmp_path, run, tta=False)
    evidence.evaluation = replace(evidence.evaluation, part="<script>alert(1)</script>")
    write_audit(evidence, tmp_path / "audit.html", dpi=DPI)
    assert "script" not in parse(tmp_path / "audit.html").tags


def test_errors_have_the_prescribed_colours():
    truth, found = np.zeros((1, 4), bool), np.zeros((1, 4), bool)
    truth[0, :2], found[0, 1:3] = True, True
    missed, right, invented, rest = paint_errors(np.zeros((1, 4, 3), np.float32), truth, found)[0]
    assert (missed.argmax(), right.argmax(), invented.argmax(), rest.max()) == (2, 1, 0, 0)


def test_history_is_read_where_there_is_one(run, tmp_path):
    history = read_history(run)
    assert column(history, "score") == ([20.0], [0.7])
    assert columns_but(history, "step", "epoch", "minutes", "learning_rate", "loss") == ["score", "dice_lgg"]
    assert read_history(None) == read_history(tmp_path / "nothing") == []


def test_the_slice_and_the_square_that_are_shown_hold_the_tumour_and_the_head():
    mask = np.zeros((5, 8, 8), bool)
    assert largest_slice(mask) == 2
    mask[4, 2:5, 2:5] = True
    assert largest_slice(mask) == 4
    image = np.zeros((64, 64))
    image[10:40, 50:64] = 100
    rows, columns = crop_to_head(image)
    assert rows.stop - rows.start == columns.stop - columns.start
    assert (rows.start <= 10 < 40 <= rows.stop) and (columns.start <= 50 and columns.stop == 64)
    assert crop_to_head(np.zeros((8, 8))) == (slice(0, 8), slice(0, 8))
