"""A case that is open in the browser: where voxels are on the screen, and what the page says of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from playwright.sync_api import Locator, Page, expect

from tests.viewer.browser.browsing import Tab

MARGIN = 0.96  # of a canvas that a fitted picture fills, see viewport.js
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
BORDER = 24  # of a picture, CSS pixels: letters of the sides and the frame of the focus
COLOURED = 45  # between the channels of a pixel; grey pictures and their scaling have next to nothing
NATIVE, SAGITTAL, CORONAL = "axial", "sagittal", "coronal"


class OpenCase:
    """The page of an axial series whose rows and columns run along the axes of the patient.

    Parameters
    ----------
    tab : Tab
    case : str
    paths : sequence of Path
        Its images, in any order.
    """

    def __init__(self, tab: Tab, case: str, paths: Sequence[Path]) -> None:
        self.tab, self.page, self.case = tab, tab.page, case
        images = [pydicom.dcmread(path) for path in paths]
        images.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
        assert images[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
        self.voxels_kji = np.stack([ds.pixel_array for ds in images])
        self.origin_mm = np.array(images[0].ImagePositionPatient, float)
        step_mm = float(images[1].ImagePositionPatient[2]) - float(images[0].ImagePositionPatient[2])
        row_mm, column_mm = map(float, images[0].PixelSpacing)
        self.spacing_mm = np.array([column_mm, row_mm, step_mm])

    def open(self) -> Page:
        """Go there and wait until images, masks and surface are shown."""
        self.tab.open(f"#/case/{self.case}")
        self.tab.wait_for_mark("neuroscan:surface")
        expect(self.page.get_by_text("Identity hidden").first).to_be_visible()
        return self.page

    def position_mm(self, i: float, j: float, k: float) -> npt.NDArray[np.float64]:
        """Position of a voxel in the patient, LPS."""
        return np.asarray(self.origin_mm + np.array([i, j, k]) * self.spacing_mm)

    def canvas(self, plane: str = NATIVE) -> Locator:
        """The first picture of a plane."""
        return self.page.locator(f'canvas[data-plane="{plane}"][data-side="first"]')

    def point(self, plane: str, i: float, j: float, k: float) -> dict[str, float]:
        """Where the middle of a voxel lies on the canvas of a plane, CSS pixels.

        As radiologists look at it: patient's left on the right, anterior on the left of a sagittal picture, superior
        above; worked out here anew, not taken from the page.
        """
        num_k, num_j, num_i = self.voxels_kji.shape
        mm_i, mm_j, mm_k = self.spacing_mm
        across, down, step_across, step_down, num_across, num_down = {
            NATIVE: (i, j, mm_i, mm_j, num_i, num_j),
            CORONAL: (i, num_k - 1 - k, mm_i, mm_k, num_i, num_k),
            SAGITTAL: (j, num_k - 1 - k, mm_j, mm_k, num_j, num_k),
        }[plane]
        box = self.canvas(plane).bounding_box()
        assert box is not None
        per_mm = MARGIN * min(box["width"] / (num_across * step_across), box["height"] / (num_down * step_down))
        return {
            "x": box["width"] / 2 + (across + 0.5 - num_across / 2) * step_across * per_mm,
            "y": box["height"] / 2 + (down + 0.5 - num_down / 2) * step_down * per_mm,
        }

    def click(self, plane: str, i: float, j: float, k: float) -> None:
        """Put the crosshair on a voxel; the pointer leaves the picture afterwards."""
        self.canvas(plane).click(position=self.point(plane, i, j, k))  # type: ignore[arg-type]
        self.page.mouse.move(5, 5)

    def drag(self, plane: str, start: Sequence[float], end: Sequence[float]) -> None:
        """Drag from one voxel to another."""
        box = self.canvas(plane).bounding_box()
        assert box is not None
        for place, act in ((start, self.page.mouse.down), (end, self.page.mouse.up)):
            at = self.point(plane, *place)
            self.page.mouse.move(box["x"] + at["x"], box["y"] + at["y"], steps=4)
            act()
        self.page.mouse.move(5, 5)

    @property
    def readout(self) -> Locator:
        """The line that says where the crosshair is."""
        return self.page.locator("#case-readout")

    def crosshair_mm(self) -> npt.NDArray[np.float64]:
        """What the line says, LPS mm."""
        text = self.readout.inner_text().replace("\N{MINUS SIGN}", "-").replace(",", "")
        found = re.search(r"LPS (-?[\d.]+) (-?[\d.]+) (-?[\d.]+) mm", text)
        assert found, text
        return np.array([float(number) for number in found.groups()])

    def expect_crosshair(self, i: int, j: int, k: int) -> None:
        """Wait until the line says that the crosshair is on a voxel, and with the value that the image has there."""
        x, y, z = (f"{mm:.1f}" for mm in self.position_mm(i, j, k) + 0.0)
        expect(self.readout).to_contain_text(f"LPS {x}, {y}, {z} mm")
        expect(self.readout).to_contain_text(f"Value {self.voxels_kji[k, j, i]:,}")

    def slice_number(self, plane: str = NATIVE) -> int:
        """Place of the shown slice, from 0."""
        return int(self.page.locator(f'figure[data-plane="{plane}"][data-side="first"] input').input_value())

    def press(self, key: str, focus: str = NATIVE) -> None:
        """Press a key over a picture."""
        self.canvas(focus).press(key)

    def settle(self) -> None:
        """Two frames: what was asked for is drawn."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def coloured(self, plane: str = NATIVE) -> npt.NDArray[np.bool_]:
        """Pixels of a picture that are not grey, without its border, where letters and the frame of the focus are."""
        self.settle()
        pixels = self.tab.pixels(self.canvas(plane)).astype(int)
        found = pixels.max(axis=2) - pixels.min(axis=2) > COLOURED
        inside = np.zeros_like(found)
        inside[BORDER:-BORDER, BORDER:-BORDER] = True
        return np.asarray(found & inside)

    def grey(self, plane: str = NATIVE) -> npt.NDArray[Any]:
        """Mean over the channels of what is shown."""
        self.settle()
        return np.asarray(self.tab.pixels(self.canvas(plane)).mean(axis=2))
