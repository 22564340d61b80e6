"""The case view in a browser: what it shows is held against the geometry and the voxels of the images themselves."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

from PIL import Image
from playwright.sync_api import expect

from tests.e2e.node import RunningArchive
from tests.e2e.test_main_job import mask_of
from tests.viewer.browser.browsing import TABLET, Tab
from tests.viewer.browser.conftest import Series, Site
from tests.viewer.browser.opened import COLOURED, CORONAL, LPS_TO_RAS, NATIVE, SAGITTAL, OpenCase
from tests.viewer.browser.scanner import HeldScanner

TIMES = "\N{MULTIPLICATION SIGN}"


def delivered(archive: RunningArchive, series: Series, modality: str) -> Path:
    """What the archive has of a series."""
    for path in archive.objects():
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if ds.Modality == modality and series.uid in str(ds):
            return path
    raise AssertionError(f"the archive has no {modality} of {series.uid}")


def archived_mask(site: Site) -> npt.NDArray[np.bool_]:
    """Voxels of the SEG in the archive, from the neck to the crown."""
    return mask_of(delivered(site.archive, site.series, "SEG"), site.series.paths)


@pytest.fixture
def case(tab: Tab, site: Site) -> OpenCase:
    """The finished series, open."""
    found = OpenCase(tab, site.series.case, site.series.paths)
    found.open()
    return found


def test_a_series_opens_from_the_list_on_the_slice_with_the_tumour(tab: Tab, site: Site) -> None:
    page = tab.open()
    case = OpenCase(tab, site.series.case, site.series.paths)
    page.locator(f'a[href="#/case/{site.series.case}"]').click()
    tab.wait_for_mark("neuroscan:first-picture")
    largest = int(archived_mask(site).sum(axis=(1, 2)).argmax())
    expect(page.get_by_text(re.compile(rf"Axial ({largest + 1}|{24 - largest}) / 24"))).to_be_visible()
    tab.wait_for_mark("neuroscan:surface")
    assert case.crosshair_mm()[2] == pytest.approx(case.position_mm(0, 0, largest)[2], abs=0.06)
    assert page.title() == "Case, MR - NeuroScan", "nothing of the patient goes into the history of the browser"


def test_the_crosshair_says_the_position_in_the_patient_and_the_value_in_every_plane(case: OpenCase) -> None:
    case.click(NATIVE, 96, 140, 0)
    k = round((case.crosshair_mm()[2] - case.origin_mm[2]) / case.spacing_mm[2])
    case.expect_crosshair(96, 140, k)
    case.click(CORONAL, 150, 140, 9)
    case.expect_crosshair(150, 140, 9)
    case.click(SAGITTAL, 150, 111, 17)
    case.expect_crosshair(150, 111, 17)
    # All planes have followed.
    assert {case.slice_number(NATIVE), case.slice_number(SAGITTAL), case.slice_number(CORONAL)} >= {17, 150, 111} or (
        {23 - 17, 150, 111} <= {case.slice_number(NATIVE), case.slice_number(SAGITTAL), case.slice_number(CORONAL)}
    )


def test_slices_are_scrolled_by_keys_wheel_and_slider(case: OpenCase) -> None:
    page, last = case.page, len(case.voxels_kji) - 1
    slider = page.locator(f'figure[data-plane="{NATIVE}"] input')
    case.press("Home")
    expect(slider).to_have_value("0")
    case.press("ArrowDown")
    expect(slider).to_have_value("1")
    case.press("PageDown")
    expect(slider).to_have_value("11")
    case.press("End")
    expect(slider).to_have_value(str(last))
    case.press("ArrowDown")
    expect(slider).to_have_value(str(last))
    case.press("ArrowUp")
    expect(slider).to_have_value(str(last - 1))
    case.canvas().hover()
    page.mouse.wheel(0, -100)
    expect(slider).to_have_value(str(last - 2))
    slider.fill("5")
    expect(slider).to_have_value("5")
    expect(page.get_by_text("Axial 6 / 24")).to_be_visible()
    marks = page.evaluate("performance.getEntriesByName('neuroscan:slice-change').map(({ detail }) => detail)")
    assert marks and all(mark["ms"] >= 0 for mark in marks), "every change of the slice is timed"


def test_arrow_keys_with_shift_move_the_crosshair_by_a_voxel(case: OpenCase) -> None:
    case.click(NATIVE, 96, 140, 0)
    before = case.crosshair_mm()
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown"):
        case.press(key)
    k = round((before[2] - case.origin_mm[2]) / case.spacing_mm[2])
    case.expect_crosshair(98, 141, k)


def test_the_overlay_lies_on_the_tumour_and_can_be_switched_off_or_to_an_outline(case: OpenCase, site: Site) -> None:
    page = case.page
    case.press("v")  # the crosshair has a colour, too
    filled = case.coloured()
    mask_kji = archived_mask(site)
    k = int(mask_kji.sum(axis=(1, 2)).argmax())
    j, i = (axis.mean() for axis in np.nonzero(mask_kji[k]))
    place = case.point(NATIVE, i, j, k)
    rows, columns = np.nonzero(filled)
    assert abs(np.median(columns) - place["x"]) < 6 and abs(np.median(rows) - place["y"]) < 6, "pixels of the screen"
    per_mm = case.point(NATIVE, 1, 0, k)["x"] - case.point(NATIVE, 0, 0, k)["x"]
    assert filled.sum() == pytest.approx(mask_kji[k].sum() * per_mm**2, rel=0.1)
    case.press("f")
    case.press("f")
    expect(page.get_by_label("Drawn as")).to_have_value("contour")
    outline = case.coloured()
    assert 0 < outline.sum() < 0.3 * filled.sum()
    case.press("o")
    expect(page.get_by_label("Overlay").first).to_have_attribute("aria-pressed", "false")
    assert case.coloured().sum() < 0.3 * outline.sum()


def test_the_sides_of_the_patient_are_marked_as_radiologists_look_at_them(case: OpenCase) -> None:
    drawn = case.page.evaluate(
        """async () => {
          const { planesOf, gridOf } = await import("/static/js/case/geometry.js");
          const meta = await (await fetch(`/api/cases/${location.hash.split("/")[2]}`)).json();
          const { arrange } = await import("/static/js/case/stack.js");
          const planes = Object.entries(planesOf(gridOf(meta, arrange(meta))));
          return Object.fromEntries(planes.map(([name, plane]) => [name, plane.letters]));
        }"""
    )
    assert drawn["axial"] == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert drawn["coronal"] == {"left": "R", "right": "L", "top": "S", "bottom": "I"}
    assert drawn["sagittal"] == {"left": "A", "right": "P", "top": "S", "bottom": "I"}


def test_dragging_with_the_window_tool_changes_width_and_level_and_the_picture(case: OpenCase) -> None:
    page = case.page
    case.press("o")
    case.press("v")
    level, width = (page.get_by_label(name, exact=True) for name in ("Level", "Width"))
    before = float(level.input_value()), float(width.input_value())
    grey = case.grey()
    case.press("w")
    case.drag(NATIVE, (128, 128, 0), (128, 168, 0))
    expect(page.get_by_label("Window", exact=True)).to_have_value("custom")
    assert float(level.input_value()) < before[0] and float(width.input_value()) == pytest.approx(before[1], rel=0.02)
    assert case.grey().mean() > grey.mean() + 3, "a lower level is brighter"
    case.drag(NATIVE, (100, 128, 0), (160, 128, 0))
    assert float(width.input_value()) > 1.05 * before[1]
    case.press("a")
    expect(page.get_by_label("Window", exact=True)).to_have_value("auto")
    assert (float(level.input_value()), float(width.input_value())) == before
    assert np.abs(case.grey() - grey).mean() < 0.5


def test_a_distance_is_measured_in_millimetres(case: OpenCase) -> None:
    page = case.page
    case.press("m")
    case.drag(NATIVE, (90, 100, 0), (150, 180, 0))
    listed = page.locator("#case-side strong")
    expect(listed).to_have_count(1)
    # Ends lie where the pointer was to half a pixel of the screen.
    assert float(listed.inner_text().removesuffix(" mm")) == pytest.approx(100.0, abs=1.5)
    case.drag(CORONAL, (100, 0, 4), (100, 0, 14))
    expect(listed).to_have_count(2)
    assert float(listed.last.inner_text().removesuffix(" mm")) == pytest.approx(10 * case.spacing_mm[2], abs=4)
    page.get_by_role("button", name=re.compile("^Delete")).first.click()
    expect(listed).to_have_count(1)
    case.press("Escape")
    case.press("Delete")
    expect(listed).to_have_count(0)


def test_the_picture_in_three_dimensions_shows_head_and_tumour(case: OpenCase) -> None:
    canvas = case.page.locator('figure[data-plane="solid"] canvas')
    pixels = case.tab.pixels(canvas).astype(int)
    tumour = pixels.max(axis=2) - pixels.min(axis=2) > 90
    head = pixels.max(axis=2) > 40
    assert 0.002 < tumour.mean() < 0.2 and head.mean() > 3 * tumour.mean()
    case.page.get_by_role("button", name="Above").click()
    case.settle()
    assert np.abs(case.tab.pixels(canvas).astype(int) - pixels).mean() > 1, "another side is shown"


def test_the_table_of_regions_says_the_volume_and_extent_of_the_delivered_seg(case: OpenCase, site: Site) -> None:
    mask_kji = archived_mask(site)
    volume_ml = mask_kji.sum() * case.spacing_mm.prod() / 1000
    row = case.page.locator("#case-side table tbody tr").first
    cells = [cell.strip() for cell in row.locator("th, td").all_inner_texts()]
    assert cells[0] == "whole tumour"
    assert cells[1] == f"{volume_ml:.1f} ml"
    long_mm, short_mm = map(int, cells[2].split(f" {TIMES} "))
    assert short_mm < long_mm < 256
    row.get_by_role("button", name="whole tumour").click()
    largest = int(mask_kji.sum(axis=(1, 2)).argmax())
    case.press("v")
    assert case.crosshair_mm()[2] == pytest.approx(case.position_mm(0, 0, largest)[2], abs=0.06)
    row.get_by_role("checkbox").uncheck()
    assert case.coloured().mean() < 0.01, "a region can be hidden"


def test_probabilities_can_be_shown_and_are_said_under_the_crosshair(case: OpenCase) -> None:
    case.press("b")
    expect(case.page.get_by_label("Colours of the probability, from 0 to 100 per cent")).to_be_visible()
    expect(case.readout).to_contain_text(re.compile(r"probability (9\d|100) ?%"))  # the crosshair is in the tumour
    assert case.coloured().mean() > 0.01


def test_all_files_can_be_had_and_are_what_they_say(case: OpenCase, site: Site) -> None:
    page, files = case.page, {}
    for name in ("DICOM SEG", "DICOM SR", "Labels (NIfTI)", "Images (NIfTI)", "PNG"):
        with page.expect_download() as waiting:
            page.get_by_role("link", name=re.compile(re.escape(name))).click()
        assert site.series.uid not in waiting.value.url, "no identifier of the patient in an address"
        files[name] = Path(waiting.value.path()).read_bytes(), waiting.value.suggested_filename
    seg = hd.seg.segread(io.BytesIO(files["DICOM SEG"][0]))
    stored = hd.seg.segread(delivered(site.archive, site.series, "SEG"))
    assert seg.SOPInstanceUID == stored.SOPInstanceUID and np.array_equal(seg.pixel_array, stored.pixel_array)
    report = pydicom.dcmread(io.BytesIO(files["DICOM SR"][0]))
    assert report.Modality == "SR" and report.ContentSequence
    labels = nibabel.Nifti1Image.from_bytes(gunzip(files["Labels (NIfTI)"][0]))
    mask_ijk = archived_mask(site).transpose(2, 1, 0)
    assert np.array_equal(np.asarray(labels.dataobj) > 0, mask_ijk)
    affine_lps = np.diag([*case.spacing_mm, 1.0])
    affine_lps[:3, 3] = case.origin_mm
    assert np.allclose(labels.affine, LPS_TO_RAS @ affine_lps, atol=1e-3), "mm; NIfTI keeps single precision"
    images = nibabel.Nifti1Image.from_bytes(gunzip(files["Images (NIfTI)"][0]))
    assert np.array_equal(np.asarray(images.dataobj), case.voxels_kji.transpose(2, 1, 0))
    with Image.open(io.BytesIO(files["PNG"][0])) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape == (256, 256, 3) and (pixels.max(axis=2) - pixels.min(axis=2) > COLOURED).any()
    assert all(str(site.node.config.gateway.ae_title) not in name for _, name in files.values())


def gunzip(content: bytes) -> bytes:
    import gzip

    return gzip.decompress(content)


def test_what_is_seen_can_be_saved_as_a_picture(case: OpenCase) -> None:
    with case.page.expect_download() as waiting:
        case.page.get_by_role("button", name="Save this view as PNG").first.click()
    with Image.open(Path(waiting.value.path())) as picture:
        assert picture.format == "PNG" and min(picture.size) > 300
        assert np.asarray(picture.convert("L")).std() > 10, "it is not empty"


def test_zoom_and_pan_keep_the_crosshair_right(case: OpenCase) -> None:
    case.click(NATIVE, 96, 140, 0)
    before, picture = case.crosshair_mm(), case.grey()
    case.press("+")
    case.press("Control+ArrowRight")
    assert np.abs(case.grey() - picture).mean() > 2
    case.press("0")
    case.settle()
    case.click(NATIVE, 96, 140, 0)
    assert np.array_equal(case.crosshair_mm(), before)
    assert np.abs(case.grey() - picture).mean() < 0.5


def test_the_view_grows_while_the_series_arrives(tab: Tab, site: Site, write_series: Callable[[str], Series]) -> None:
    series = write_series("watched")
    sop_class = pydicom.dcmread(series.paths[0], stop_before_pixels=True).SOPClassUID
    scanner = HeldScanner(site.node.port, [sop_class])
    try:
        scanner.send(series.paths[:8])
        page = tab.open(f"#/case/{series.case}")
        case = OpenCase(tab, series.case, series.paths)
        tab.wait_for_mark("neuroscan:first-picture")
        expect(page.get_by_text("8 arrived")).to_be_visible()
        expect(page.get_by_text(re.compile("Axial [78] / 8$"))).to_be_visible()  # the newest mask is followed
        scanner.send(series.paths[8:16])
        expect(page.get_by_text(re.compile("Axial 1[56] / 16$"))).to_be_visible()
        expect(page.get_by_label("Segmentation", exact=True)).to_contain_text("growing")
        expect(page.locator("#case-side")).to_contain_text(re.compile(r"1[456] masks"))
        tab.picture("case-growing")
        case.press("PageUp")  # whoever scrolls is not taken to the newest any more
        scanner.send(series.paths[16:])
        expect(page.get_by_text(re.compile("Axial [56] / 24$"))).to_be_visible()
        scanner.release()
    finally:
        scanner.abort()
    expect(page.get_by_label("Segmentation", exact=True)).to_contain_text("final")
    tab.wait_for_mark("neuroscan:surface")
    expect(page.get_by_role("link", name=re.compile("DICOM SEG"))).to_be_visible()


@pytest.mark.slow
def test_two_segmentations_are_compared_side_by_side(case: OpenCase) -> None:
    page = case.page
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()
    page.get_by_role("button", name="Run", exact=True).click()
    second = page.locator(f'canvas[data-plane="{NATIVE}"][data-side="second"]')
    expect(second).to_be_visible(timeout=180_000)
    table = page.get_by_role("table", name="Compare")
    expect(table.locator("tbody tr").first).to_contain_text("1")  # the same model again: Dice 1
    case.press("v")
    case.settle()
    first, other = case.tab.pixels(case.canvas()), case.tab.pixels(second)
    assert np.abs(first.mean() - other.mean()) < 3
    case.tab.picture("case-compare")
    page.get_by_label("Show", exact=True).select_option("difference")
    expect(second).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("screen", ["desktop", "tablet"])
def test_the_case_view_fits_every_screen_and_theme(
    scheme: str, screen: str, site: Site, open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(site.address, theme=scheme, **({"viewport": TABLET} if screen == "tablet" else {}))
    case = OpenCase(tab, site.series.case, site.series.paths)
    page = case.open()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    box = case.canvas().bounding_box()
    assert box is not None and min(box["width"], box["height"]) > 250
    tab.picture(f"case-{screen}-{scheme}")
