"""A real Orthanc of the machine, on free ports of the loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import free_port, is_listening, wait_for

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
END_S = 60
SETTINGS = {
    "Name": "test", "DicomAet": "ORTHANC", "Plugins": [], "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
    "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True,
}  # fmt: skip


@contextmanager
def running_orthanc(folder: Path, settings: dict[str, Any], *, node_port: int = 0) -> Iterator[tuple[int, int]]:
    """Start it with settings beside `SETTINGS`; gives its ports for DICOM and HTTP. Skips where it is not installed.

    `node_port` is where it reaches a node called NEUROSCAN, to commit to storage.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    program = shutil.which("Orthanc", path=path)
    if program is None:
        pytest.skip("Orthanc is not installed (apt-get install orthanc)")
    dicom_port, http_port = free_port(), free_port()
    node = {"AET": "NEUROSCAN", "Host": "127.0.0.1", "Port": node_port, "AllowStorageCommitment": True}
    whole = {
        **SETTINGS, **({"DicomModalities": {"node": node}} if node_port else {}), **settings,
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "DicomPort": dicom_port, "HttpPort": http_port,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(whole))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
    try:
        wait_for(lambda: _is_ready(process, dicom_port, http_port), "Orthanc to listen")
        yield dicom_port, http_port
    finally:
        process.terminate()
        process.wait(END_S)


def _is_ready(process: subprocess.Popen[bytes], dicom_port: int, http_port: int) -> bool:
    assert process.poll() is None, "Orthanc ended"
    if not (is_listening(dicom_port) and is_listening(http_port)):
        return False
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/system", timeout=30):
            return True
    except OSError:
        return False
