"""Decompression in processes of its own: a damaged frame may crash a decoder, but not the gateway.

Without this, an object that crashes a decoder would be found in the spool and crash the gateway again at each start.
The processes are started when the first compressed frame comes, and again after a crash.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from queue import LifoQueue

import msgspec
import numpy as np
import numpy.typing as npt
from pydicom.uid import UID

from dicom_gateway.reading.decoder_process import DecodeReply, DecodeRequest, read_message, write_message
from dicom_gateway.reading.decoding import does_not_decode
from dicom_gateway.reading.layout import PixelLayout
from neuroscan_core.domain.errors import UndecodablePixels
from neuroscan_core.lifetime import Closes
from neuroscan_core.log import get_logger

log = get_logger(__name__)


class Sandbox(Closes):
    """Decoder processes; `decode` fits where a `Decode` is wanted. Thread-safe.

    Parameters
    ----------
    num_processes : int
        At most so many frames are decoded at once.
    timeout_s : float
        A decoder that needs longer for a frame is ended.
    """

    def __init__(self, num_processes: int = 1, *, timeout_s: float = 20.0) -> None:
        self._processes = [_DecoderProcess(timeout_s) for _ in range(num_processes)]
        self._idle: LifoQueue[_DecoderProcess] = LifoQueue()
        for process in self._processes:
            self._idle.put(process)

    def close(self) -> None:
        """End the processes; nothing may be decoding."""
        for process in self._processes:
            process.stop()

    def decode(self, codestream: bytes, transfer_syntax_uid: UID, layout: PixelLayout) -> npt.NDArray[np.generic]:
        """Decompress one frame; see `decoding.decode_frame`.

        Raises
        ------
        UndecodablePixels
            The frame is damaged, its decoder crashed or took too long.
        """
        process = self._idle.get()
        try:
            request = DecodeRequest(str(transfer_syntax_uid), layout, codestream)
            # The first process may have ended for another reason, such as lack of memory on the machine.
            reply = process.ask(request) or process.ask(request)
        finally:
            self._idle.put(process)
        if reply is None:
            raise does_not_decode(transfer_syntax_uid)
        if reply.problem:
            raise UndecodablePixels(reply.problem, remedy=reply.remedy)
        return np.frombuffer(reply.pixels, reply.dtype).reshape(layout.rows, layout.columns)


class _DecoderProcess:
    """One process, used by one thread at a time."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: DecodeRequest) -> DecodeReply | None:
        """The answer; None if the process ended over it."""
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        process = self._process = self._process or _start()
        assert process.stdin is not None and process.stdout is not None
        watchdog = threading.Timer(self._timeout_s, process.kill)
        watchdog.name, watchdog.daemon = "decoder-watchdog", True
        watchdog.start()
        try:
            write_message(process.stdin, request)
            encoded = read_message(process.stdout)
        except BrokenPipeError:
            encoded = b""
        finally:
            watchdog.cancel()
        if encoded:
            return msgspec.msgpack.decode(encoded, type=DecodeReply)
        self.stop()
        log.warning("a decoder crashed or took too long", exit_status=process.returncode)
        return None

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate()


def _start() -> subprocess.Popen[bytes]:
    # Decoders complain on standard error about every damaged byte; the reply says it once. A session of its own, so
    # that an interrupt from the keyboard does not end a decoder in the middle of a series that is being finished.
    return subprocess.Popen(
        [sys.executable, "-m", "dicom_gateway.reading.decoder_process"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
