"""Who may connect and associate: peer networks, calling and called AE titles. Certificates are in `tls`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from neuroscan_core.config import AllowConfig
from neuroscan_core.domain.errors import ConfigurationError

Rejection = tuple[int, int, int]
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

CALLING_AE_NOT_RECOGNISED: Rejection = (1, 1, 3)
CALLED_AE_NOT_RECOGNISED: Rejection = (1, 1, 7)
LOCAL_LIMIT_EXCEEDED: Rejection = (2, 3, 2)


class AccessList:
    """The allow lists of the configuration, checked when made.

    Parameters
    ----------
    config : AllowConfig

    Raises
    ------
    ConfigurationError
        A peer is neither an address nor a network.
    """

    def __init__(self, config: AllowConfig) -> None:
        self._calling = frozenset(title.strip() for title in config.calling_ae)
        self._called = frozenset(title.strip() for title in config.called_ae)
        self._networks = tuple(_network(peer) for peer in config.peers)

    def admits_address(self, host: str) -> bool:
        """Whether a peer at this address may connect."""
        if not self._networks:
            return True
        address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def rejection(self, calling_ae: str, called_ae: str) -> Rejection | None:
        """Why an association must be rejected, or None."""
        if self._calling and calling_ae.strip() not in self._calling:
            return CALLING_AE_NOT_RECOGNISED
        if self._called and called_ae.strip() not in self._called:
            return CALLED_AE_NOT_RECOGNISED
        return None


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as exc:
        raise ConfigurationError(
            f"gateway.allow.peers: {text!r} is neither an address nor a network.",
            remedy="Write it like 192.168.1.20 or 192.168.1.0/24.",
        ) from exc
