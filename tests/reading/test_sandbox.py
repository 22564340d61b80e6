"""A decoder that crashes, hangs or complains costs one image, not the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEGLosslessSV1, RLELossless

from dicom_gateway.reading import open_object
from dicom_gateway.reading import sandbox as sandbox_module
from dicom_gateway.reading.layout import PixelLayout
from dicom_gateway.reading.pixels import stored_frames
from dicom_gateway.reading.sandbox import Sandbox
from neuroscan_core.domain.errors import UndecodablePixels

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LAYOUT = PixelLayout(4, 4, 1, 16, 16, 15, False, False)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.mark.parametrize("name", ["4.dcm", "5.dcm", "7.dcm", "9.dcm"])
def test_frames_are_the_same_as_without_a_sandbox(mr_data: Path, sandbox: Sandbox, name: str) -> None:
    obj = open_object(mr_data / "siemens_trio_transfer_syntaxes" / name)
    ((_, inside),) = stored_frames(obj, decode=sandbox.decode)
    ((_, outside),) = stored_frames(obj)
    assert inside.dtype == outside.dtype
    np.testing.assert_array_equal(inside, outside)


def test_a_damaged_frame_is_an_error_and_the_next_one_decodes(mr_data: Path, sandbox: Sandbox) -> None:
    for _ in range(2):
        with pytest.raises(UndecodablePixels, match="does not decode"):
            sandbox.decode(b"damaged", JPEGLosslessSV1, LAYOUT)
    obj = open_object(mr_data / "siemens_trio_transfer_syntaxes" / "5.dcm")
    assert len(list(stored_frames(obj, decode=sandbox.decode))) == 1


def replace_decoder(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    import subprocess
    import sys

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(sandbox_module, "_start", start)


def test_a_crash_of_the_decoder_is_an_error(monkeypatch: pytest.MonkeyPatch, mr_data: Path, sandbox: Sandbox) -> None:
    with monkeypatch.context() as patched:
        replace_decoder(patched, "import os, sys; sys.stdin.buffer.read(4); os.kill(os.getpid(), 11)")
        with pytest.raises(UndecodablePixels):
            sandbox.decode(b"poison", RLELossless, LAYOUT)
    obj = open_object(mr_data / "siemens_trio_transfer_syntaxes" / "4.dcm")
    assert len(list(stored_frames(obj, decode=sandbox.decode))) == 1


def test_a_decoder_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_decoder(monkeypatch, "import threading; threading.Event().wait()")
    with Sandbox(timeout_s=0.2) as sandbox, pytest.raises(UndecodablePixels):
        sandbox.decode(b"endless", RLELossless, LAYOUT)


def test_a_process_that_ended_meanwhile_is_replaced(mr_data: Path, sandbox: Sandbox) -> None:
    import psutil

    obj = open_object(mr_data / "siemens_trio_transfer_syntaxes" / "4.dcm")
    list(stored_frames(obj, decode=sandbox.decode))
    (child,) = (p for p in psutil.Process().children() if "decoder_process" in " ".join(p.cmdline()))
    child.kill()
    assert len(list(stored_frames(obj, decode=sandbox.decode))) == 1


def test_closing_ends_the_processes(mr_data: Path) -> None:
    import psutil

    with Sandbox() as sandbox:
        obj = open_object(mr_data / "siemens_trio_transfer_syntaxes" / "4.dcm")
        list(stored_frames(obj, decode=sandbox.decode))
        (child,) = (p for p in psutil.Process().children() if "decoder_process" in " ".join(p.cmdline()))
    assert not child.is_running()
