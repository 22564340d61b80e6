"""Checks that tell whether this machine can run a node as configured, and what to do where it cannot.

Each check is a function that returns findings and never raises on purpose; `dicom_gateway.checks` adds those that need
DICOM.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

from neuroscan_core.config import NodeConfig, ViewerConfig
from neuroscan_core.domain.errors import NeuroScanError
from neuroscan_core.ports import ReportsProblem

COMFORTABLE_FREE_BYTES = 10 << 30


class Severity(Enum):
    """How bad a finding is."""

    GOOD = "ok  "
    WARNING = "warn"
    FAILURE = "FAIL"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    subject : str
        What was looked at.
    message : str
        What was found.
    remedy : str
        What to do; empty where nothing is to be done.
    """

    severity: Severity
    subject: str
    message: str
    remedy: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether the node cannot work like this."""
        return self.severity is Severity.FAILURE

    @property
    def mark(self) -> str:
        """Severity, four characters wide."""
        return self.severity.value


Check = Callable[[], Iterable[Finding]]


def good(subject: str, message: str) -> Finding:
    """All is well."""
    return Finding(Severity.GOOD, subject, message)


def warning(subject: str, message: str, remedy: str) -> Finding:
    """The node works, but not as well as it could."""
    return Finding(Severity.WARNING, subject, message, remedy)


def failure(subject: str, message: str, remedy: str) -> Finding:
    """The node does not work like this."""
    return Finding(Severity.FAILURE, subject, message, remedy)


def examine(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks; one that fails with one of our errors is a finding, too."""
    findings: list[Finding] = []
    for check in checks:
        try:
            findings.extend(check())
        except NeuroScanError as exc:
            subject = getattr(check, "__name__", "check").lstrip("_").replace("_", " ")
            findings.append(failure(subject, exc.message, exc.remedy))
    return findings


def core_checks(config: NodeConfig) -> list[Check]:
    """Checks that need no DICOM."""

    def state_folder() -> Iterable[Finding]:
        return check_folder(config.state_dir)

    def free_space() -> Iterable[Finding]:
        return check_free_space(config.state_dir, config.gateway.min_free_bytes)

    def ports() -> Iterable[Finding]:
        yield check_port("DICOM port", config.gateway.host, config.gateway.port, "gateway.port")
        if config.viewer.enabled:
            yield check_port("status page port", config.viewer.host, config.viewer.port, "viewer.port")

    def page() -> Iterable[Finding]:
        return check_page(config.viewer) if config.viewer.enabled else ()

    def models() -> Iterable[Finding]:
        return check_models(config)

    def clock_and_python() -> Iterable[Finding]:
        yield good("Python", f"{sys.version.split()[0]}, {os.cpu_count()} processors")

    def engines() -> Iterable[Finding]:
        return check_engines(config)

    return [clock_and_python, state_folder, free_space, ports, page, engines, models, check_decoders]


def check_folder(folder: Path) -> Iterable[Finding]:
    """Whether the state folder can be made and written, and is closed to others."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield failure("state folder", f"{existing} cannot be written by this user.", "chown it, or change state_dir.")
    elif existing == folder.absolute() and existing.stat().st_mode & 0o007:
        yield warning("state folder", f"{existing} holds images and is open to every user.", f"chmod 750 {existing}")
    else:
        yield good("state folder", f"{folder.absolute()} can be written")


def check_free_space(folder: Path, min_free_bytes: int) -> Iterable[Finding]:
    """Whether there is room for images."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / (1 << 30):.1f} GiB are free"
    if free <= min_free_bytes:
        yield failure(
            "disk", f"{text}; C-STORE is refused below {min_free_bytes / (1 << 30):.1f} GiB.",
            "Free some space, shorten retention, or lower gateway.min_free_bytes.",
        )  # fmt: skip
    elif free < max(COMFORTABLE_FREE_BYTES, 2 * min_free_bytes):
        yield warning("disk", f"{text}.", "Give state_dir more room, or shorten retention.")
    else:
        yield good("disk", text)


def check_port(subject: str, host: str, port: int, key: str) -> Finding:
    """Whether a port is free, or is listened on already (by a running node, most likely)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                return warning(subject, f"{host}:{port} is in use.", f"Fine if the node runs; else change {key}.")
            if exc.errno == errno.EACCES:
                remedy = f"Set {key} to 1024 or more, or give Python cap_net_bind_service (setcap)."
                return failure(subject, f"{host}:{port} may not be used by this user.", remedy)
            return failure(subject, f"{host}:{port}: {exc.strerror}.", f"Correct {key} and the host beside it.")
    return good(subject, f"{host}:{port} is free")


def check_page(config: ViewerConfig) -> Iterable[Finding]:
    """Whether only those who may can see the images in the browser."""
    from neuroscan_core.viewer.security.guard import check_credentials, check_exposure
    from neuroscan_core.viewer.security.hosts import is_loopback

    check_exposure(config)
    token_file = config.auth.token_file if config.auth else None
    if token_file is None or token_file.exists():  # what is missing is made by the one who will use it
        check_credentials(config)
    if config.auth is None:
        yield good("page", "only this machine can reach it; no login")
    elif config.tls is None and not config.behind_tls_proxy and not is_loopback(config.host):
        yield warning(
            "page", "Passwords and images cross the network unencrypted.",
            "Set viewer.tls, or put a proxy with HTTPS before it and set viewer.behind_tls_proxy.",
        )  # fmt: skip
    else:
        yield good("page", "a login is needed")


def check_models(config: NodeConfig) -> Iterable[Finding]:
    """Whether every bundle is whole (hash, shapes), and those that are in use compute what their reference says."""
    from neuroscan_core.inference.bundle import find_bundles

    bundles = find_bundles(config.segmenter.models_dir)
    if not bundles:
        yield failure("models", "There is no model bundle.", "Set segmenter.models_dir to a folder that holds one.")
    for name, bundle in bundles.items():
        if name not in config.models_in_use:
            yield good("model", f"{name} {bundle.card.version}: hash agrees; no rule and no study names it")
            continue
        engine = bundle.open_engine(config.segmenter)
        problem = engine.problem if isinstance(engine, ReportsProblem) else ""
        engine.close()
        if problem:
            yield warning("model", problem, "Results are right, but slower; see the log for what the engine reported.")
        else:
            yield good("model", f"{name} {bundle.card.version}: hash and reference agree on {engine.name}")


def check_engines(config: NodeConfig) -> Iterable[Finding]:
    """Which engines this machine has."""
    from neuroscan_core.inference.availability import engines_here

    for found in engines_here(config.segmenter):
        if not found.is_available and found.engine == config.segmenter.engine:
            yield failure("engine", str(found), found.remedy or "Set segmenter.engine: auto.")
        else:
            yield good("engine", str(found))


def check_decoders() -> Iterable[Finding]:
    """Whether the decoders of compressed pixels are installed."""
    wanted = {"gdcm": "python-gdcm", "jpeg_ls": "pyjpegls", "openjpeg": "pylibjpeg-openjpeg"}
    missing = [package for module, package in wanted.items() if find_spec(module) is None]
    if missing:
        yield failure("decoders", f"{', '.join(missing)} are not installed.", f"pip install {' '.join(missing)}")
    else:
        yield good("decoders", "JPEG, JPEG-LS, JPEG 2000 and RLE")
