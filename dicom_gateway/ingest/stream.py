"""PDUs from a socket: waiting for the next one, and reading it whole within limits of size and time."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from contextlib import suppress
from typing import Final

from neuroscan_core.domain.errors import NeuroScanError

P_DATA_TF: Final = 0x04
_KNOWN_TYPES = frozenset(range(0x01, 0x08))
_MAX_ASSOCIATE_BYTES = 1 << 20
_HEADER = struct.Struct(">BxL")


class ConnectionLost(NeuroScanError):
    """The peer closed the connection, inside a PDU or between two."""


class PeerTooSlow(NeuroScanError):
    """The rest of a PDU did not come in time."""


class InvalidPdu(NeuroScanError):
    """The bytes are no PDU, or one beyond the limits."""


class PduStream:
    """Read PDUs from a connected socket; one thread.

    Parameters
    ----------
    sock : socket
        In blocking mode; TLS sockets after their handshake.
    max_pdu_bytes : int
        Largest P-DATA-TF PDU, as told to the peer.
    """

    def __init__(self, sock: socket.socket, max_pdu_bytes: int) -> None:
        self._socket = sock
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._max_pdu_bytes = max_pdu_bytes
        self._view = memoryview(bytearray(max_pdu_bytes + _HEADER.size))
        self._start = self._end = 0
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._wake_receiver, select.POLLIN)
        self._descriptor = sock.fileno()
        self._poll.register(self._descriptor, select.POLLIN)
        self._is_open = True

    def wake(self) -> None:
        """Make `wait` return; from any thread."""
        with suppress(OSError):  # enough wake-ups are waiting, or the stream is closed
            self._wake_sender.send(b"\0")

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for bytes or a wake-up; whether there are bytes (or the end of them) to read."""
        if self._end > self._start or (self._is_open and isinstance(self._socket, ssl.SSLSocket) and self._pending()):
            return True
        ready = self._poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000)
        is_readable = False
        for descriptor, _ in ready:
            if descriptor == self._wake_receiver.fileno():
                self._wake_receiver.recv(4096)
            else:
                is_readable = True
        return is_readable

    def _pending(self) -> bool:
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket.pending() > 0

    def read(self, timeout_s: float) -> tuple[int, memoryview]:
        """Read one PDU.

        Returns
        -------
        (int, memoryview)
            Its type, and all of it; the view holds until the next call.

        Raises
        ------
        ConnectionLost, PeerTooSlow, InvalidPdu
        """
        self._fill(_HEADER.size, timeout_s)
        kind, length = _HEADER.unpack_from(self._view, self._start)
        limit = self._max_pdu_bytes if kind == P_DATA_TF else _MAX_ASSOCIATE_BYTES
        if kind not in _KNOWN_TYPES or length > limit:
            raise InvalidPdu(f"A PDU of type {kind:#04x} and length {length}.")
        size = _HEADER.size + int(length)
        self._fill(size, timeout_s)
        pdu = self._view[self._start : self._start + size]
        self._start += size
        return int(kind), pdu

    def _fill(self, size: int, timeout_s: float) -> None:
        """Have at least `size` bytes from `_start` on."""
        if self._end - self._start >= size:
            return
        if self._start + size > len(self._view) or self._start == self._end:
            self._make_room(size)
        limit = self._start + size
        is_header = size == _HEADER.size
        while self._end < limit:
            # What follows a header may be read with it; the rest of a PDU is waited for in one call.
            room = self._view[self._end :] if is_header else self._view[self._end : limit]
            received = self._receive(room, 0 if is_header else socket.MSG_WAITALL, timeout_s)
            if received == 0:
                raise ConnectionLost("The connection was closed.")
            self._end += received

    def _make_room(self, size: int) -> None:
        rest = bytes(self._view[self._start : self._end])
        if size > len(self._view):
            self._view = memoryview(bytearray(size))
        self._view[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def _receive(self, room: memoryview, flags: int, timeout_s: float) -> int:
        self._set_timeout(timeout_s)
        try:
            if self._is_tls:
                return self._socket.recv_into(room)
            return self._socket.recv_into(room, len(room), flags)
        except (BlockingIOError, TimeoutError) as exc:
            raise PeerTooSlow("The rest of a PDU did not come in time.") from exc
        except OSError as exc:
            raise ConnectionLost(f"The connection broke: {exc.strerror or type(exc).__name__}.") from exc

    _timeout_s: float | None = None

    def _set_timeout(self, timeout_s: float) -> None:
        if timeout_s == self._timeout_s:
            return
        self._timeout_s = timeout_s
        if self._is_tls:
            self._socket.settimeout(timeout_s)
            return
        # Left to the kernel: Python's own time-out polls before each call and forbids waiting for a whole PDU.
        value = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def discard(self) -> bool:
        """Throw away what has come; False at the end of the stream."""
        self._start = self._end = 0
        try:
            return self._receive(self._view, 0, 1.0) > 0
        except (ConnectionLost, PeerTooSlow):
            return False

    def close(self) -> None:
        """Stop watching the socket, which belongs to the caller; only wake-ups are waited for from now on."""
        if self._is_open:
            self._is_open = False
            self._poll.unregister(self._descriptor)

    def release(self) -> None:
        """Let go of everything; the stream must not be used afterwards."""
        self._wake_receiver.close()
        self._wake_sender.close()
