"""What a browser lets a report do, as a Content-Security-Policy: nothing but show its own styles and pictures."""

from __future__ import annotations

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
