"""Where the roles of a node are reached: Unix sockets in the run folder, or TCP where the configuration says so.

Only addresses and folders are decided here; sockets are made in `zeromq` and `exchange`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import stat
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from neuroscan_core.config import BusConfig
from neuroscan_core.domain.errors import ConfigurationError

MAX_SOCKET_PATH_BYTES = 107  # sun_path of Linux, less the ending zero


class Channel(str, Enum):
    """What an endpoint carries."""

    EVENTS = "events"
    REQUESTS = "requests"


@dataclass(frozen=True)
class Endpoint:
    """An address in the form that ZeroMQ takes.

    Parameters
    ----------
    address : str
        ``ipc://PATH`` or ``tcp://HOST:PORT``.
    path : Path or None
        Socket file of an ``ipc://`` address.
    """

    address: str
    path: Path | None = None

    @property
    def is_network(self) -> bool:
        """Whether others than users of this machine could reach it, keys or not."""
        return self.path is None


class Endpoints:
    """Addresses of all roles.

    Parameters
    ----------
    config : BusConfig
    run_dir : Path
        Folder of the sockets; made, closed to other users, when a role binds.

    Raises
    ------
    ConfigurationError
        An address does not parse or would be open to the network without keys, or the folder cannot be used.
    """

    def __init__(self, config: BusConfig, run_dir: Path) -> None:
        self._addresses: dict[str, str] = dict(config.addresses.items())
        self._directory = _socket_directory(run_dir.absolute())
        for role, address in config.addresses.items():
            _check_address(role, address, has_keys=config.curve_directory is not None)

    def of(self, role: str, channel: Channel, *, binding: bool = False) -> Endpoint:
        """Endpoint of a role, to connect to or to bind.

        Raises
        ------
        ConfigurationError
            The name of the host is not known, or the folder of the sockets cannot be made.
        """
        address = self._addresses.get(role)
        if address is not None:
            return _network_endpoint(role, address, channel, binding=binding)
        path = self._directory / f"{role}.{channel.value}"
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            raise ConfigurationError(
                f"The socket path {path} is longer than {MAX_SOCKET_PATH_BYTES} bytes.",
                remedy="Set bus.directory to a shorter path, e.g. /run/neuroscan.",
            )
        if binding:
            _make_private(self._directory)
        return Endpoint(f"ipc://{path}", path)


def _socket_directory(run_dir: Path) -> Path:
    """Use `run_dir`, or where its path is too long for a socket, a folder that every process derives from it."""
    longest = f"segmenter.{Channel.REQUESTS.value}"
    if len(os.fsencode(run_dir / longest)) <= MAX_SOCKET_PATH_BYTES:
        return run_dir
    digest = hashlib.sha256(os.fsencode(run_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"neuroscan-{os.getuid()}-{digest}"


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
    except OSError as exc:
        raise ConfigurationError(
            f"The folder of the bus sockets {directory} cannot be made: {exc.strerror}.",
            remedy="Set bus.directory to a folder that this user may write.",
        ) from exc
    in_shared_place = directory.parent == Path(tempfile.gettempdir())
    if in_shared_place and (status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077):
        raise ConfigurationError(
            f"The folder of the bus sockets {directory} belongs to or is open to another user.",
            remedy="Remove it, or set bus.directory to a folder of this user alone.",
        )


def _parse(role: str, address: str) -> tuple[str, int]:
    host, separator, port = address.removeprefix("tcp://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not address.startswith("tcp://") or not separator or not host or not port.isdecimal() or int(port) > 65534:
        raise ConfigurationError(
            f"bus.addresses.{role}: {address!r} is not an address.",
            remedy="Write tcp://HOST:PORT, e.g. tcp://edge:5560.",
        )
    return host, int(port)


def _check_address(role: str, address: str, *, has_keys: bool) -> None:
    host, _ = _parse(role, address)
    if not has_keys and not _is_loopback(host):
        raise ConfigurationError(
            f"bus.addresses.{role}: {address} is open to the network, and bus.curve_directory is not set.",
            remedy="Make keys with `neuroscan keys DIR` and set bus.curve_directory on every machine.",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name may mean another machine tomorrow
        return False


def _network_endpoint(role: str, address: str, channel: Channel, *, binding: bool) -> Endpoint:
    host, port = _parse(role, address)
    port += channel is Channel.REQUESTS
    if host in ("*", "0.0.0.0", "::"):
        if binding:
            return Endpoint(f"tcp://*:{port}")
        raise ConfigurationError(
            f"bus.addresses.{role}: {address} says where to listen, not where the {role} is.",
            remedy=f"Write the address of the machine on which the {role} runs.",
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        resolved = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4][0]
    except OSError as exc:
        raise ConfigurationError(
            f"bus.addresses.{role}: the host {host} is not known.", remedy="Check the name, or write its IP address."
        ) from exc
    if binding:  # ZeroMQ resolves names where it connects, and again at every reconnection, but not where it binds
        host = str(resolved)
    return Endpoint(f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}")
