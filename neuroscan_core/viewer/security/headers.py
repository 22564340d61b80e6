"""Headers that keep a browser from doing with the page what the page does not do."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
_TRANSPORT_SECURITY = "max-age=31536000"


def protect(headers: MutableHeaders, *, is_secure: bool) -> None:
    """Add what a route has not set itself, e.g. a report that brings a stricter policy."""
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if is_secure:
        headers.setdefault("strict-transport-security", _TRANSPORT_SECURITY)
