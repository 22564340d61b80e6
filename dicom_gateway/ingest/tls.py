"""DICOM TLS of the storage SCP: the server's context (PS3.15 annex B, BCP 195). `listener` makes the sessions."""

from __future__ import annotations

import ssl

from neuroscan_core.config import TlsConfig
from neuroscan_core.domain.errors import ConfigurationError


def server_context(config: TlsConfig) -> ssl.SSLContext:
    """TLS 1.2 or newer with this node's certificate; peers show theirs where the configuration says so.

    Raises
    ------
    ConfigurationError
        A file is missing or no usable certificate or key, or peers must show certificates but `ca` is not set.
    """
    if config.require_peer_certificate and config.ca is None:
        raise ConfigurationError(
            "gateway.tls: require_peer_certificate needs ca, the certificates that peers' are signed by.",
            remedy="Set gateway.tls.ca, or set require_peer_certificate to false.",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.certificate, config.key)
        if config.ca is not None:
            context.load_verify_locations(config.ca)
            context.verify_mode = ssl.CERT_REQUIRED if config.require_peer_certificate else ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"gateway.tls cannot be used: {exc}.", remedy="Check certificate, key and ca; all are PEM files."
        ) from exc
    return context
