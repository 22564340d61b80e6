"""Zip archives of uploads: checked before and while they are unpacked, then removed.

Refused are names that lead out of the folder, links, encrypted members, archives in archives, methods other than
stored and deflated, and archives that grow beyond the limits or by more than images do.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO

from neuroscan_core.domain.errors import WebProblem
from neuroscan_core.viewer.diagnose.names import free_path, safe_name

MAX_RATIO = 200.0  # unpacked over packed; series of MR images are packed to a third, label maps to a hundredth
FREE_BYTES = 64 << 20  # below it the ratio does not matter: small files of zeros are harmless
CHUNK = 1 << 18
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Limits:
    """What an upload may grow to.

    Parameters
    ----------
    max_files, max_bytes : int
        Of everything together after unpacking.
    """

    max_files: int
    max_bytes: int


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive does."""
    with path.open("rb") as file:
        return file.read(4) in _ZIP_MAGIC


def unpack_all(folder: Path, limits: Limits, *, is_stopping: Callable[[], bool] = lambda: False) -> None:
    """Unpack every archive of a folder beside itself and remove it.

    Raises
    ------
    WebProblem
        An archive is refused; what was unpacked so far stays for the caller to delete.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    archives = [path for path in files if is_zip(path)]
    budget = _Budget(limits, len(files) - len(archives), sum(path.stat().st_size for path in files))
    for archive in archives:
        inside = free_path(archive.parent, safe_name(archive.stem or "archive"))
        inside.mkdir()
        try:
            _unpack(archive, inside, budget, is_stopping)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, ValueError) as exc:
            raise _refused("A zip archive is damaged.", "Pack the images again.") from exc
        archive.unlink()


class _Budget:
    """What may still be written."""

    def __init__(self, limits: Limits, num_files: int, num_bytes: int) -> None:
        self._limits, self._num_files, self._num_bytes = limits, num_files, num_bytes

    def take_file(self) -> None:
        self._num_files += 1
        if self._num_files > self._limits.max_files:
            raise _too_much(f"At most {self._limits.max_files} files are taken.", "Give one study at a time.")

    def take_bytes(self, number: int) -> None:
        self._num_bytes += number
        if self._num_bytes > self._limits.max_bytes:
            megabytes = self._limits.max_bytes >> 20
            raise _too_much(f"Unpacked, at most {megabytes} MiB are taken.", "Give one study at a time.")


def _unpack(archive: Path, inside: Path, budget: _Budget, is_stopping: Callable[[], bool]) -> None:
    packed_bytes, unpacked_bytes = archive.stat().st_size, 0
    with zipfile.ZipFile(archive) as opened:
        members = [one for one in opened.infolist() if not one.is_dir() and not _is_litter(one.filename)]
        targets = [(one, _checked(one)) for one in members]
        for one, name in targets:
            budget.take_file()
            with opened.open(one) as source, free_path(inside, name).open("xb") as target:
                for chunk in _chunks(source):
                    if is_stopping():
                        raise _refused("The viewer stops.", "Try again.")
                    budget.take_bytes(len(chunk))
                    unpacked_bytes += len(chunk)
                    if unpacked_bytes > FREE_BYTES and unpacked_bytes > MAX_RATIO * packed_bytes:
                        raise _refused(
                            f"A zip archive grows by more than {MAX_RATIO:.0f} times when it is unpacked.",
                            "Images do not shrink so far. Give them without an archive.",
                        )
                    target.write(chunk)


def _is_litter(name: str) -> bool:
    return name.startswith(_LITTER[0]) or name.rpartition("/")[2] in _LITTER[1:]


def _checked(one: zipfile.ZipInfo) -> PurePosixPath:
    """Name to write a member under, where it may be written at all."""
    if one.flag_bits & _ENCRYPTED:
        raise _refused("A zip archive is encrypted.", "Pack the images without a password; the way here is protected.")
    if stat.S_ISLNK(one.external_attr >> 16):
        raise _refused("A zip archive holds links to files.", "Pack the images themselves.")
    if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused("A zip archive is packed by an uncommon method.", "Pack it as plain zip (deflate).")
    if one.filename.lower().endswith((".zip", ".7z", ".rar", ".tar", ".tgz", ".tar.gz")):
        raise _nested()
    return safe_name(one.filename)


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    is_first = True
    while chunk := source.read(CHUNK):
        if is_first and chunk[:4] in _ZIP_MAGIC:
            raise _nested()
        is_first = False
        yield chunk


def _nested() -> WebProblem:
    return _refused("A zip archive holds another archive.", "Unpack the inner one first.")


def _refused(message: str, remedy: str) -> WebProblem:
    return WebProblem(HTTPStatus.UNPROCESSABLE_ENTITY, message, meaning="Nothing of it was kept.", remedy=remedy)


def _too_much(message: str, remedy: str) -> WebProblem:
    return WebProblem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is too much.", meaning=f"{message} Nothing was kept.", remedy=remedy
    )
