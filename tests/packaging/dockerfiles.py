"""What the tests of the images read from Dockerfiles; no more of the format than this repository uses."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path, PurePosixPath


def dockerfiles(repository: Path) -> list[Path]:
    """All Dockerfiles of the repository."""
    found = (*repository.glob("docker/*.Dockerfile"), *repository.glob("docker/*/Dockerfile*"))
    return sorted(path for path in found if path.suffix != ".dockerignore")


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Name and arguments of every instruction, continued lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines()) if name]


def last_stage(dockerfile: Path) -> dict[str, str]:
    """Arguments by instruction of the stage that becomes the image; of several alike, joined by newlines."""
    found: dict[str, list[str]] = {}
    for name, rest in instructions(dockerfile):
        if name == "FROM":
            found = {}
        found.setdefault(name, []).append(rest)
    return {name: "\n".join(rests) for name, rests in found.items()}


def command(dockerfile: Path) -> list[str]:
    """Entry point and arguments of the image."""
    stage = last_stage(dockerfile)
    return [word for name in ("ENTRYPOINT", "CMD") for word in json.loads(stage.get(name, "[]"))]


def copied(dockerfile: Path) -> list[str]:
    """Paths that are copied from the build context."""
    return [
        source
        for name, rest in instructions(dockerfile)
        if name == "COPY" and "--from=" not in rest
        for source in [word for word in rest.split() if not word.startswith("--")][:-1]
    ]


def is_ignored(path: str, dockerignore: Path) -> bool:
    """Whether a path stays out of the build context: the last pattern that names it, or a folder above it, decides."""
    ignored = False
    parts = PurePosixPath(path).parts
    above = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    for line in dockerignore.read_text().splitlines():
        pattern = line.removeprefix("!")
        if pattern.startswith("**/"):
            matches = any(fnmatch.fnmatch(part, pattern[3:]) for part in parts)
        else:
            matches = any(fnmatch.fnmatch(folder, pattern) for folder in above)
        if matches:
            ignored = not line.startswith("!")
    return ignored
