"""Studies dropped on the page: what the agents say, what the reports hold, what is refused and how it is said."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

from PIL import Image
from playwright.sync_api import Page, expect

from neuroscan_core.phantom import HeadPhantom, Weighting
from tests.e2e.node import RunningNode
from tests.viewer.browser.browsing import TABLET, Tab
from tests.viewer.browser.conftest import Series, Site
from tests.viewer.browser.opened import LPS_TO_RAS

WORK_MS = 240_000  # patience with the networks on a busy machine
AGENTS = ("reader", "triage", "segmenters", "measurer", "critic", "reporter")


def zipped(series: Series, target: Path) -> Path:
    """The series as a zip with folders, as archives export them."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, path in enumerate(series.paths):
            archive.write(path, f"DICOM/ST0001/SE0001/IM{number:04}")
    return target


def choose(page: Page, *paths: Path) -> None:
    """As somebody who picks files."""
    page.locator("input[type=file]:not([webkitdirectory])").set_input_files(list(paths))
    expect(page.locator(".selection")).not_to_be_empty()


def start(page: Page) -> str:
    """Send what was chosen; the case."""
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"#/diagnose/d[0-9a-f]{16}"))
    return page.url.rpartition("/")[2]


def expect_done(page: Page) -> None:
    expect(page.locator(".page-head .badge")).to_have_text("Done", timeout=WORK_MS)


def states(page: Page) -> dict[str, str]:
    """Name of each agent and what it came to."""
    return dict(
        zip(
            page.locator(".overview .name").all_inner_texts(),
            page.locator(".overview .hint").all_inner_texts(),
            strict=True,
        )
    )


def test_a_zip_of_dicom_goes_through_all_agents_to_reports_and_files(
    tab: Tab, site: Site, write_series: Callable[[str], Series], tmp_path: Path
) -> None:
    series = write_series("dropped")
    page = tab.open("#/diagnose")
    choose(page, zipped(series, tmp_path / "study.zip"))
    expect(page.locator(".selection")).to_contain_text("one zip archive")
    tab.picture("diagnose-chosen")
    case = start(page)
    expect(page.locator(".overview .name")).to_have_text(list(AGENTS))
    expect_done(page)
    assert set(states(page).values()) <= {"Done", "Skipped"}, states(page)
    assert page.locator("ol.agents > li").count() == len(AGENTS)
    expect(page.locator("ol.agents > li").first).to_contain_text("FLAIR")
    expect(page.locator("ol.agents > li").nth(3)).to_contain_text("left")
    tab.picture("diagnose-done", full_page=True)
    check_reports(tab, case, series)
    with page.expect_download() as waiting:
        page.get_by_role("link", name=re.compile("DICOM SEG")).first.click()
    seg = pydicom.dcmread(Path(waiting.value.path()))
    assert seg.Modality == "SEG" and seg.ReferencedSeriesSequence[0].SeriesInstanceUID == series.uid
    page.get_by_role("link", name="Open the images").click()
    tab.wait_for_mark("neuroscan:surface")
    expect(page.locator("#case-side table tbody tr").first).to_contain_text("whole tumour")
    tab.picture("diagnose-images")
    page.go_back()
    expect_done(page)
    delete(page, case)


def check_reports(tab: Tab, case: str, series: Series) -> None:
    """HTML, PDF and SR are what they should be."""
    page = tab.page
    html = page.request.get(f"{tab.address}/api/cases/{case}/report/html")
    assert (
        "script-src" not in html.headers["content-security-policy"]
        or "'none'" in html.headers["content-security-policy"]
    )
    read = page.context.new_page()
    read.goto(f"{tab.address}/api/cases/{case}/report/html")
    expect(read.get_by_text(re.compile("research use", re.IGNORECASE)).first).to_be_visible()
    expect(read.get_by_text(re.compile(r"\d ml")).first).to_be_visible()
    text = read.locator("body").inner_text()
    assert "PHANTOM" not in text and series.uid not in text, "no identity in the report"
    read.set_viewport_size({"width": 900, "height": 1200})
    read.screenshot(path=tab.pictures / "report.png", full_page=True)
    read.close()
    pdf = page.request.get(f"{tab.address}/api/cases/{case}/report/pdf").body()
    assert pdf.startswith(b"%PDF-1.") and pdf.rstrip().endswith(b"%%EOF") and len(pdf) > 5_000
    (tab.pictures / "report.pdf").write_bytes(pdf)
    report = pydicom.dcmread(io.BytesIO(page.request.get(f"{tab.address}/api/cases/{case}/report/sr").body()))
    assert report.Modality == "SR" and report.StudyInstanceUID == pydicom.dcmread(series.paths[0]).StudyInstanceUID


def delete(page: Page, case: str) -> None:
    """Delete the case that is open and see that it is gone."""
    page.get_by_role("button", name=re.compile("^Delete")).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Delete")).click()
    expect(page.get_by_role("heading", name="Diagnose", exact=True)).to_be_visible()
    expect(page.locator(f'a[href*="{case}"]')).to_have_count(0)
    assert page.request.get(f"{page.url.partition('#')[0]}api/cases/{case}").status == 404


@pytest.mark.slow
def test_nifti_that_was_dropped_is_segmented_and_its_labels_fit(tab: Tab, head: HeadPhantom, tmp_path: Path) -> None:
    affine_lps = head.geometry.affine_lps
    image = nibabel.Nifti1Image(head.image(Weighting.FLAIR).T.astype(np.int16), LPS_TO_RAS @ affine_lps)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "flair.nii.gz")
    page = tab.open("#/diagnose")
    content = list((tmp_path / "flair.nii.gz").read_bytes())
    # Not picked but dropped: a drop is another way through the page.
    page.evaluate(
        """([content, name]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(content)], name));
          const at = { dataTransfer: transfer, bubbles: true, cancelable: true };
          const zone = document.querySelector(".dropzone");
          for (const type of ["dragenter", "dragover", "drop"]) zone.dispatchEvent(new DragEvent(type, at));
        }""",
        [content, "flair.nii.gz"],
    )
    expect(page.locator(".selection")).to_contain_text("one NIfTI file")
    case = start(page)
    expect_done(page)
    with page.expect_download() as waiting:
        page.get_by_role("link", name=re.compile("NIfTI")).first.click()
    labels = nibabel.load(
        waiting.value.path() if str(waiting.value.path()).endswith(".gz") else _named(waiting, tmp_path)
    )
    assert labels.shape == image.shape and np.allclose(labels.affine, image.affine, atol=1e-3), "single precision"
    found = np.asarray(labels.dataobj).T > 0
    dice = 2 * (found & head.tumour_kji).sum() / (found.sum() + head.tumour_kji.sum())
    assert dice > 0.5, "the phantom's lesion is found"
    page.get_by_role("link", name="Open the images").click()
    tab.wait_for_mark("neuroscan:surface")
    tab.picture("diagnose-nifti")
    assert page.request.get(f"{tab.address}/api/cases/{case}").json()["kind"] == "diagnosis"


def _named(waiting: Any, folder: Path) -> Path:
    path = folder / str(waiting.value.suggested_filename)
    waiting.value.save_as(path)
    return path


@pytest.mark.slow
def test_a_picture_is_looked_at_and_it_is_said_what_cannot_be_known_of_it(
    tab: Tab, head: HeadPhantom, tmp_path: Path
) -> None:
    voxels = head.image(Weighting.FLAIR)[int(head.tumour_kji.sum(axis=(1, 2)).argmax())].astype(float)
    Image.fromarray((255 * voxels / voxels.max()).astype(np.uint8)).save(tmp_path / "slice.png")
    page = tab.open("#/diagnose")
    choose(page, tmp_path / "slice.png")
    expect(page.locator(".selection")).to_contain_text("one picture")
    start(page)
    expect_done(page)
    expect(page.locator("ol.agents")).to_contain_text("millimetre")
    assert not re.search(r"\d ml\b", page.locator(".results").inner_text()), "a picture has no volume"
    tab.picture("diagnose-picture", full_page=True)
    page.get_by_role("link", name="Open the images").click()
    expect(page.locator("canvas[data-plane]").first).to_be_visible()
    expect(page.locator("#case-readout")).to_contain_text("Column")


def test_a_zip_bomb_is_refused_with_a_sentence_and_nothing_is_kept(tab: Tab, site: Site, tmp_path: Path) -> None:
    bomb = tmp_path / "study.zip"
    deflated = zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=9)
    with deflated as archive, archive.open("IM0001", "w") as out:
        for _ in range(100):
            out.write(bytes(1 << 20))
    tab.expect_complaint("status of 4(13|22)")
    page = tab.open("#/diagnose")
    before = page.request.get(f"{tab.address}/api/cases").json()
    choose(page, bomb)
    page.get_by_role("button", name="Start").click()
    said = page.locator(".upload-progress .message.bad")
    expect(said).to_contain_text("A zip archive grows by more than 200 times when it is unpacked.")
    expect(said).to_contain_text("Give them without an archive.")
    tab.picture("diagnose-bomb")
    assert page.request.get(f"{tab.address}/api/cases").json() == before


def test_names_in_an_archive_that_lead_out_of_its_folder_are_refused(tab: Tab, site: Site, tmp_path: Path) -> None:
    trap = tmp_path / "study.zip"
    with zipfile.ZipFile(trap, "w") as archive:
        archive.writestr("../../../escaped.dcm", b"x" * 200)
    tab.expect_complaint("status of 4(13|22)")
    page = tab.open("#/diagnose")
    choose(page, trap)
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".upload-progress .message.bad p")).to_have_count(2)
    assert not [path for path in site.node.folder.rglob("escaped*")]


@pytest.mark.slow
def test_more_than_the_limits_is_refused_before_a_byte_is_sent_and_by_the_node_too(
    tmp_path: Path, open_tab: Callable[..., Tab]
) -> None:
    node = RunningNode(tmp_path, [], viewer={"uploads": {"max_bytes": 1 << 20, "max_files": 3}})
    for number in range(4):
        (tmp_path / f"{number}.dcm").write_bytes(b"DICM")
    (tmp_path / "large.dcm").write_bytes(bytes(2 << 20))
    try:
        node.start()
        tab = open_tab(f"http://127.0.0.1:{node.viewer_port}")
        page = tab.open("#/diagnose")
        choose(page, *(tmp_path / f"{number}.dcm" for number in range(4)))
        expect(page.locator(".selection .message.bad")).to_contain_text("4 files are more than this node takes")
        choose(page, tmp_path / "large.dcm")
        expect(page.locator(".selection .message.bad")).to_contain_text("2.1 MB is more than this node takes at once")
        expect(page.get_by_role("button", name="Start")).to_be_disabled()
        # Whoever does not use the page meets the same limits.
        csrf = page.request.get(f"{tab.address}/api/session").json()["csrf"]
        for paths, status in (([tmp_path / "large.dcm"] * 2, 413), ([tmp_path / f"{n}.dcm" for n in range(4)], 413)):
            body, content_type = form_of(paths)
            headers = {"X-CSRF-Token": csrf, "Content-Type": content_type}
            answer = page.request.post(f"{tab.address}/api/diagnose", data=body, headers=headers)
            assert answer.status == status and answer.json()["error"], answer.text()
        assert page.request.get(f"{tab.address}/api/cases").json() == []
        tab.close()
    finally:
        node.close()


def form_of(paths: list[Path]) -> tuple[bytes, str]:
    """A multipart form of files, and its content type."""
    boundary = "between-the-files"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{number}.dcm"\r\n\r\n'.encode()
        + path.read_bytes()
        + b"\r\n"
        for number, path in enumerate(paths)
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def test_what_is_no_image_ends_with_a_reason(tab: Tab, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("This is no image at all.")
    page = tab.open("#/diagnose")
    choose(page, tmp_path / "notes")
    start(page)
    expect(page.locator(".page-head .badge")).to_have_text("Failed", timeout=WORK_MS)
    expect(page.locator(".message.bad").first).to_contain_text(re.compile(r"\w+ \w+"))
    tab.picture("diagnose-failed")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("screen", ["desktop", "tablet"])
def test_the_page_for_studies_fits_every_screen_and_theme(
    scheme: str, screen: str, site: Site, open_tab: Callable[..., Tab]
) -> None:
    tab = open_tab(site.address, theme=scheme, **({"viewport": TABLET} if screen == "tablet" else {}))
    page = tab.open("#/diagnose")
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    tab.picture(f"diagnose-{screen}-{scheme}", full_page=True)
