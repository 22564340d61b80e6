"""Digests of source files, kept so that unchanged files are not read again.

A file counts as unchanged while path, size and time of change are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from training.data.cases import Case
from training.data.readers import case_files

#: Raised when the arrays made from the same files would differ.
FORMAT = 2
_KNOWN = "digests.json"


def cache_key(view: str, cases: Sequence[Case], cache_root: Path | None = None) -> str:
    """Return a digest of the view and of the names and bytes of all source files.

    Parameters
    ----------
    cache_root : pathlib.Path, optional
        Where digests of files are kept between calls.
    """
    known = _read_known(cache_root)
    before = dict(known)
    digest = hashlib.sha256(f"format {FORMAT} {view}".encode())
    for case in sorted(cases):
        for path in case_files(case):
            digest.update(f"{case.dataset}/{case.name}/{path.name}".encode())
            digest.update(_file_digest(path, known).encode())
    if cache_root is not None and known != before:
        cache_root.mkdir(parents=True, exist_ok=True)
        write_atomically(cache_root / _KNOWN, json.dumps(known))
    return digest.hexdigest()[:16]


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is there whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def _read_known(cache_root: Path | None) -> dict[str, str]:
    path = cache_root / _KNOWN if cache_root is not None else None
    return json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}


def _file_digest(path: Path, known: dict[str, str]) -> str:
    status = path.stat()
    key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    if key not in known:
        known[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return known[key]
