"""What lies in a file or folder: which files are images, of which kind, and who reads them.

Kinds are told by the bytes of a file, not by its name. Where several kinds lie together, DICOM goes before NIfTI and
NIfTI before pictures, and what is left out is said.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from neuroscan_core.diagnosis.case import Gathered
from neuroscan_core.domain.errors import ConfigurationError, NeuroScanError, RejectionCode, SeriesRejection

Reader = Callable[[Sequence[Path]], Gathered]

DICOM, NIFTI, PICTURE = "DICOM", "NIfTI", "picture"
ORDER = (DICOM, NIFTI, PICTURE)
MAX_FILES = 20_000
_NIFTI_MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")
_PICTURE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def kind_of(path: Path) -> str:
    """What a file holds, by its first bytes; empty for anything else."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
        if head[128:132] == b"DICM":
            return DICOM
        if head.startswith(_PICTURE_MAGIC):
            return PICTURE
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as unpacked:
                head = unpacked.read(512)
        return NIFTI if head[344:348] in _NIFTI_MAGIC or head[4:8] in _NIFTI_MAGIC else ""
    except (OSError, EOFError, zlib.error):
        return ""


def files_below(source: Path) -> list[Path]:
    """All files of a folder in stable order, or the file itself; links and hidden files are left out.

    Raises
    ------
    ConfigurationError
        It is not there, or holds too many files.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ConfigurationError(f"{source} does not exist.", remedy="Check the path.")
    files = [
        path
        for path in sorted(source.rglob("*"))
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    ]
    if len(files) > MAX_FILES:
        raise ConfigurationError(
            f"{source} holds {len(files)} files; at most {MAX_FILES} are looked at.", remedy="Give one study."
        )
    return files


def gather(source: Path, readers: Mapping[str, Reader]) -> Gathered:
    """Find out what was given, and read it.

    Parameters
    ----------
    source : Path
    readers : mapping of str to Reader
        `DICOM`, `NIFTI` and `PICTURE` -> function from files to what they hold.

    Raises
    ------
    ConfigurationError
        There is no such file or folder.
    SeriesRejection
        There is no image in it, or none that can be used.
    """
    by_kind: dict[str, list[Path]] = {}
    for path in files_below(source):
        by_kind.setdefault(kind_of(path), []).append(path)
    chosen = next((kind for kind in ORDER if kind in by_kind), None)
    if chosen is None:
        raise SeriesRejection(
            RejectionCode.UNDECODABLE,
            "There is no image that can be read.",
            remedy="Give DICOM (with its Part 10 header), NIfTI, PNG or JPEG.",
        )
    if chosen not in readers:
        raise NeuroScanError(f"Nothing here reads {chosen}.", remedy="Run it by `neuroscan diagnose`.")
    found = readers[chosen](by_kind[chosen])
    return Gathered(found.sources, found.study, found.reference, (*_left_out(by_kind, chosen), *found.notes))


def _left_out(by_kind: Mapping[str, Sequence[Path]], chosen: str) -> list[str]:
    notes = []
    for kind, paths in by_kind.items():
        if kind == chosen:
            continue
        what = f"{kind} beside {chosen}" if kind else "no images"
        notes.append(f"Left out, {what}: {len(paths)}.")
    return notes
