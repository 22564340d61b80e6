"""A scanner that holds its association open, so that a test decides when the next image comes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pydicom
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

SUCCESS = 0x0000  # PS3.4 B.2.3


class HeldScanner:
    """One association with the node.

    Parameters
    ----------
    port : int
    sop_classes : iterable of str
    """

    def __init__(self, port: int, sop_classes: Iterable[str]) -> None:
        ae = AE("SCANNER")
        ae.network_timeout = None  # a test may look at the page for longer
        for sop_class in sop_classes:
            ae.add_requested_context(sop_class, ExplicitVRLittleEndian)
        self._association = ae.associate("127.0.0.1", port, ae_title="NEUROSCAN")
        assert self._association.is_established

    def send(self, paths: Iterable[Path]) -> None:
        """Send images; each is acknowledged when this returns."""
        for path in paths:
            status = self._association.send_c_store(pydicom.dcmread(path))
            assert status.Status == SUCCESS, status

    def release(self) -> None:
        """All images of the series have been sent."""
        self._association.release()

    def abort(self) -> None:
        """End without a word; for the end of a test that failed."""
        if self._association.is_established:
            self._association.abort()
