"""A scanner that holds its association open, so that a test decides when the next image comes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pydicom
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, Association

SUCCESS = 0x0000  # PS3.4 B.2.3
ANSWER_S = 5.0
ATTEMPTS = 3


class HeldScanner:
    """One association with the node.

    Parameters
    ----------
    port : int
    sop_classes : iterable of str
    """

    def __init__(self, port: int, sop_classes: Iterable[str]) -> None:
        self._ae, self._port = AE("SCANNER"), port
        self._ae.network_timeout = None  # a test may look at the page for longer
        self._ae.dimse_timeout = ANSWER_S
        for sop_class in sop_classes:
            self._ae.add_requested_context(sop_class, ExplicitVRLittleEndian)
        self._association = self._associate()

    def _associate(self) -> Association:
        association = self._ae.associate("127.0.0.1", self._port, ae_title="NEUROSCAN")
        assert association.is_established
        return association

    def send(self, paths: Iterable[Path]) -> None:
        """Send images; each is acknowledged when this returns."""
        for path in paths:
            for _ in range(ATTEMPTS):
                status = self._association.send_c_store(pydicom.dcmread(path))
                if "Status" in status:
                    break
                # pynetdicom's client passes over an answer that comes before it listens; a scanner would send again.
                self.abort()
                self._association = self._associate()
            assert status.Status == SUCCESS, status

    def release(self) -> None:
        """All images of the series have been sent."""
        self._association.release()

    def abort(self) -> None:
        """End without a word; for the end of a test that failed."""
        if self._association.is_established:
            self._association.abort()
