"""Names of uploaded files, as they may be written: below one folder, whatever a browser or an archive says."""

from __future__ import annotations

import re
import unicodedata
from http import HTTPStatus
from pathlib import Path, PurePosixPath

from neuroscan_core.domain.errors import WebProblem

MAX_PARTS = 12
MAX_PART_BYTES = 100
MAX_NAME_LENGTH = 4096
_WEIRD = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_DRIVE = re.compile(r"[A-Za-z]:")


def safe_name(name: str) -> PurePosixPath:
    """Relative path to write a file under.

    Folders stay, since they tell stacks of pictures apart; characters that are odd on some disk become ``_``; hidden
    files lose their dot.

    Raises
    ------
    WebProblem
        The name is absolute, or leads out of its folder. Nobody's scanner or browser makes such.
    """
    unified = unicodedata.normalize("NFC", name[:MAX_NAME_LENGTH]).replace("\\", "/")
    parts = [part for part in unified.split("/") if part not in ("", ".")]
    if unified.startswith("/") or _DRIVE.match(unified) or ".." in parts or "\0" in unified:
        raise WebProblem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The name of a file leads out of its folder.",
            meaning="Such names are made to overwrite other files; nothing was kept.",
            remedy="Pack the images again, without absolute names.",
        )
    cleaned = [_clean(part) for part in parts[-MAX_PARTS:]]
    return PurePosixPath(*(cleaned or ["file"]))


def free_path(folder: Path, name: PurePosixPath) -> Path:
    """Path below a folder that is not taken; parent folders are made.

    Raises
    ------
    WebProblem
        A file is in the way of a folder of the same name.
    """
    path = folder.joinpath(*name.parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise WebProblem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "A file and a folder have the same name.", remedy="Rename one of them."
        ) from exc
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{number}-{name.name}")
    return path


def _clean(part: str) -> str:
    shown = _WEIRD.sub("_", part).strip(" ")
    shown = "".join(character if character.isprintable() else "_" for character in shown)
    shown = f"_{shown[1:]}" if shown.startswith(".") else shown
    while len(shown.encode("utf-8", "replace")) > MAX_PART_BYTES:
        shown = shown[1:]  # the end holds suffix and number
    return shown.encode("utf-8", "replace").decode("utf-8").rstrip(".") or "file"
