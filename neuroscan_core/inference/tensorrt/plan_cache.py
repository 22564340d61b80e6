"""The folder of engines that were built here.

A plan holds native code, so only plans that this machine built are loaded: each file has a seal beside it, an HMAC over
its key and contents under a secret that is made here and never leaves the folder. Whatever does not fit its seal is
built anew.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from neuroscan_core.domain.errors import EngineRefused, StorageError
from neuroscan_core.inference.tensorrt.builder import Profile
from neuroscan_core.inference.tensorrt.generation import Precision

SECRET_FILE = "secret"
SECRET_BYTES = 32
MACHINE_ID = Path("/etc/machine-id")


class PlanRefused(EngineRefused):
    """A file in the folder was not made here for this purpose."""


@dataclass(frozen=True)
class Device:
    """What a plan fits besides its network.

    Parameters
    ----------
    gpu : str
        Name of the GPU.
    compute_capability : tuple of 2 int
    tensorrt : str
        Version.
    """

    gpu: str
    compute_capability: tuple[int, int]
    tensorrt: str


@dataclass(frozen=True)
class PlanKey:
    """Everything on which a plan depends; where one thing differs, it is another plan.

    Parameters
    ----------
    model : str
        Name of the bundle.
    onnx_sha256 : str
        Of the file that was built.
    """

    model: str
    onnx_sha256: str
    precision: Precision
    profile: Profile
    device: Device

    @property
    def facts(self) -> dict[str, object]:
        """The key as JSON can hold it."""
        return asdict(self)

    @property
    def stem(self) -> str:
        """Name of the plan's files without ending."""
        return f"{self.model}-{self.precision}-{_digest(self.facts)[:16]}"


class PlanCache:
    """Sealed files in one folder.

    Parameters
    ----------
    folder : Path
        Made where missing, closed to other users.

    Raises
    ------
    StorageError
        The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._secret = _machine_secret(folder / SECRET_FILE)
        except OSError as exc:
            raise StorageError(
                f"Engines cannot be kept in {folder}: {exc.strerror}.", remedy="Correct segmenter.tensorrt.plan_dir."
            ) from exc

    def load_plan(self, key: PlanKey) -> bytes | None:
        """Read a plan that was built here; None where there is none.

        Raises
        ------
        PlanRefused
            It is damaged, was built elsewhere, or was built for something else.
        """
        return self._load(f"{key.stem}.plan", key.facts)

    def store_plan(self, key: PlanKey, plan: bytes) -> None:
        """Keep a plan that was just built."""
        self._store(f"{key.stem}.plan", key.facts, plan)

    def load_timing(self, device: Device) -> bytes:
        """Read what earlier builds on this device measured; empty where nothing usable is there."""
        try:
            return self._load(_timing_name(device), asdict(device)) or b""
        except PlanRefused:
            return b""

    def store_timing(self, device: Device, measured: bytes) -> None:
        """Keep what a build measured."""
        self._store(_timing_name(device), asdict(device), measured)

    def _load(self, name: str, facts: Mapping[str, object]) -> bytes | None:
        path, seal_path = self._folder / name, self._folder / f"{name}.json"
        try:
            contents = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise PlanRefused(f"{path} cannot be read: {exc.strerror}.", remedy="Remove it.") from exc
        try:
            seal = json.loads(seal_path.read_text(encoding="utf-8"))
            tag = str(seal["hmac"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise PlanRefused(f"{path} has no seal: it was not built here, or not to the end.") from exc
        if not hmac.compare_digest(tag, self._tag(facts, contents)):
            raise PlanRefused(f"{path} does not fit its seal: it is damaged, or was built elsewhere or otherwise.")
        return contents

    def _store(self, name: str, facts: Mapping[str, object], contents: bytes) -> None:
        """Write seal and file so that a crash leaves the old pair or one that is refused, never a mixture that fits."""
        seal = {"built_for": facts, "sha256": hashlib.sha256(contents).hexdigest(), "hmac": self._tag(facts, contents)}
        try:
            _replace(self._folder / f"{name}.json", json.dumps(seal, indent=1, sort_keys=True).encode())
            _replace(self._folder / name, contents)
        except OSError as exc:
            raise StorageError(
                f"{self._folder / name} cannot be written: {exc.strerror}.", remedy="Check rights and space."
            ) from exc

    def _tag(self, facts: Mapping[str, object], contents: bytes) -> str:
        message = _digest(facts).encode() + hashlib.sha256(contents).digest()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()


def _digest(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _timing_name(device: Device) -> str:
    return f"timing-{_digest(asdict(device))[:16]}.cache"


def _machine_secret(path: Path) -> bytes:
    """Read the secret of this folder, or make it; bound to the machine, so that a copied folder is worth nothing."""
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        secret = secrets.token_bytes(SECRET_BYTES)
        _replace(path, secret)
    machine = MACHINE_ID.read_bytes() if MACHINE_ID.is_file() else b""
    return hashlib.sha256(secret + machine).digest()


def _replace(path: Path, contents: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
