"""CURVE keys of the roles, and the authenticator that lets in only known ones (ZeroMQ RFC 26 and 27).

A key folder holds ``public/ROLE.key`` for every role and ``private/ROLE.key_secret`` for the roles that run on this
machine. Give another machine the folder ``public`` and the private keys of its own roles, nothing else.
"""

from __future__ import annotations

import stat
import threading
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth

from neuroscan_core.bus.signal import Signal
from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.domain.events import GATEWAY, SEGMENTER, VIEWER
from neuroscan_core.log import get_logger

log = get_logger(__name__)

ROLES = (GATEWAY, SEGMENTER, VIEWER)
ZAP_ADDRESS = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"neuroscan"


def generate_keys(directory: Path, roles: tuple[str, ...] = ROLES) -> list[Path]:
    """Make a key pair for every role that has none yet.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    ConfigurationError
        The folder cannot be written.
    """
    written: list[Path] = []
    try:
        (directory / "public").mkdir(parents=True, exist_ok=True)
        (directory / "private").mkdir(mode=0o700, exist_ok=True)
        (directory / "private").chmod(0o700)
        for role in roles:
            public, secret = directory / "public" / f"{role}.key", directory / "private" / f"{role}.key_secret"
            if public.exists() or secret.exists():
                continue
            made_public, made_secret = zmq.auth.create_certificates(directory / "private", role)
            Path(made_secret).chmod(0o600)
            Path(made_public).rename(public)
            written += [public, secret]
    except OSError as exc:
        raise ConfigurationError(
            f"Keys cannot be written to {directory}: {exc.strerror}.", remedy="Choose a folder that you may write."
        ) from exc
    return written


@dataclass(frozen=True)
class Keys:
    """The keys that one role works with.

    Parameters
    ----------
    public, secret : bytes
        Its own pair, Z85.
    known : dict
        Role -> public key, Z85, of everyone who may connect.
    """

    public: bytes
    secret: bytes
    known: dict[str, bytes]

    @classmethod
    def load(cls, directory: Path, role: str) -> Keys:
        """Read the keys of a role.

        Raises
        ------
        ConfigurationError
            A file is missing, damaged or readable by other users.
        """
        secret_file = directory / "private" / f"{role}.key_secret"
        try:
            mode = stat.S_IMODE(secret_file.stat().st_mode)
            public, secret = zmq.auth.load_certificate(secret_file)
            known = {path.stem: zmq.auth.load_certificate(path)[0] for path in (directory / "public").glob("*.key")}
        except (OSError, ValueError) as exc:
            raise ConfigurationError(
                f"The bus keys of the {role} in {directory} cannot be read: {exc}.",
                remedy="Make them with `neuroscan keys DIR` and check bus.curve_directory.",
            ) from exc
        if mode & 0o077:
            raise ConfigurationError(
                f"The private key {secret_file} can be read by other users.", remedy=f"chmod 600 {secret_file}"
            )
        if secret is None or any(len(key) != 40 for key in (public, secret, *known.values())):
            raise ConfigurationError(f"A bus key in {directory} is damaged.", remedy="Make new keys on all machines.")
        return cls(public, secret, known)

    def protect_server(self, bound: zmq.Socket[bytes]) -> None:
        """Let a socket, before it binds, accept only known keys."""
        bound.curve_server = True
        bound.curve_publickey, bound.curve_secretkey = self.public, self.secret
        bound.zap_domain = ZAP_DOMAIN

    def protect_client(self, connecting: zmq.Socket[bytes], server_role: str) -> None:
        """Let a socket, before it connects, show its key and accept only the server of that role.

        Raises
        ------
        ConfigurationError
            There is no public key of that role.
        """
        server_key = self.known.get(server_role)
        if server_key is None:
            raise ConfigurationError(
                f"There is no public key of the {server_role}.", remedy="Copy its .key file to the folder of keys."
            )
        connecting.curve_serverkey = server_key
        connecting.curve_publickey, connecting.curve_secretkey = self.public, self.secret


class Authenticator:
    """Answers the question of ZeroMQ whether a key is known; one per context, before any socket binds.

    Parameters
    ----------
    context : zmq.Context
    keys : Keys
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys) -> None:
        self._roles = {zmq.utils.z85.decode(key): role for role, key in keys.known.items()}
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(ZAP_ADDRESS)
        self._closing = Signal()
        self._thread = threading.Thread(target=self._run, name="bus-authenticator", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._closing, zmq.POLLIN)
        while not self._closing.is_set:
            if self._socket in dict(poller.poll()):
                self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
        self._socket.close()

    def _answer(self, question: list[bytes]) -> list[bytes]:
        """See https://rfc.zeromq.org/spec/27/: version, request id, domain, address, identity, mechanism, key."""
        request_id = question[1] if len(question) > 1 else b""
        is_curve = len(question) == 7 and question[0] == b"1.0" and question[5] == b"CURVE"
        role = self._roles.get(question[6]) if is_curve else None
        if role is not None:
            return [b"1.0", request_id, b"200", b"OK", role.encode(), b""]
        address = question[3].decode("ascii", "replace") if len(question) > 3 else ""
        log.warning("bus connection refused, its key is not known", address=address)
        return [b"1.0", request_id, b"400", b"unknown key", b"", b""]

    def close(self) -> None:
        """Stop; whoever connects later is refused."""
        self._closing.set()
        self._thread.join()
        self._closing.close()
