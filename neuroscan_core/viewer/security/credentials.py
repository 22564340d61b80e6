"""What proves that somebody may use the page: a password, of which a hash is kept, or a token in a file.

Hashes are scrypt (RFC 7914) in the PHC string format: ``$scrypt$ln=15,r=8,p=1$SALT$HASH``, base64 without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from neuroscan_core.domain.errors import ConfigurationError

MIN_PASSWORD_LENGTH = 10
MIN_TOKEN_LENGTH = 24
MAX_SECRET_LENGTH = 512
MAX_TOKEN_BYTES = 4096
_LOG2_N, _R, _P = 15, 8, 1  # 32 MiB, a tenth of a second; OWASP's least but one
_MAX_BYTES = 128 << 20
_PHC = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})")
_NEW_HASH = "Make one with `neuroscan viewer-password`."


@dataclass(frozen=True)
class PasswordHash:
    """A scrypt hash.

    Parameters
    ----------
    log2_n, r, p : int
        Cost.
    """

    log2_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        """Hash a new password.

        Raises
        ------
        ConfigurationError
            It is too short, or longer than a browser may send.
        """
        if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_SECRET_LENGTH:
            raise ConfigurationError(
                f"The password has {len(password)} characters.",
                remedy=f"Choose one of {MIN_PASSWORD_LENGTH} to {MAX_SECRET_LENGTH}; several words are good.",
            )
        salt = secrets.token_bytes(16)
        return cls(_LOG2_N, _R, _P, salt, _scrypt(password, salt, _LOG2_N, _R, _P, 32))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Read a hash as `str` wrote it.

        Raises
        ------
        ConfigurationError
            It is none, or costs more memory than a login may.
        """
        found = _PHC.fullmatch(text)
        if found is None:
            raise ConfigurationError("viewer.auth.password_hash is no scrypt hash.", remedy=_NEW_HASH)
        log2_n, r, p = (int(part) for part in found.groups()[:3])
        if log2_n < 10 or r < 1 or not 1 <= p <= 16 or 128 * r << log2_n > _MAX_BYTES:
            raise ConfigurationError("viewer.auth.password_hash has a cost that is not allowed.", remedy=_NEW_HASH)
        try:
            salt, digest = (base64.b64decode(part + "=" * (-len(part) % 4)) for part in found.groups()[3:])
        except binascii.Error as exc:
            raise ConfigurationError("viewer.auth.password_hash is damaged.", remedy=_NEW_HASH) from exc
        return cls(log2_n, r, p, salt, digest)

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(part).decode().rstrip("=") for part in (self.salt, self.digest))
        return f"$scrypt$ln={self.log2_n},r={self.r},p={self.p}${salt}${digest}"

    def matches(self, password: str) -> bool:
        """Whether this is the password; takes a tenth of a second on purpose."""
        if len(password) > MAX_SECRET_LENGTH:
            return False
        digest = _scrypt(password, self.salt, self.log2_n, self.r, self.p, len(self.digest))
        return hmac.compare_digest(digest, self.digest)


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=1 << log2_n, r=r, p=p, maxmem=2 * _MAX_BYTES,
        dklen=length,
    )  # fmt: skip


def load_token(path: Path) -> str:
    """Read the token of a file; a missing file is made with a new token that only this user can read.

    Raises
    ------
    ConfigurationError
        The file cannot be read or made, is open to other users, or holds too little.
    """
    try:
        _make_token(path)
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            f"The token file {path} cannot be used: {exc}.", remedy="Check viewer.auth.token_file, folder and rights."
        ) from exc
    if mode & 0o077:
        raise ConfigurationError(f"The token file {path} is open to other users.", remedy=f"chmod 600 {path}")
    if not MIN_TOKEN_LENGTH <= len(text) <= MAX_SECRET_LENGTH:
        raise ConfigurationError(
            f"The token in {path} is shorter than {MIN_TOKEN_LENGTH} or longer than {MAX_SECRET_LENGTH} characters.",
            remedy="Delete the file: a new one is made at the next start.",
        )
    return text


def _make_token(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")


@dataclass(frozen=True)
class Credentials:
    """All that is accepted as a proof.

    Parameters
    ----------
    password : PasswordHash or None
    token : str or None
    """

    password: PasswordHash | None = None
    token: str | None = None

    def accept(self, secret: str) -> bool:
        """Whether a secret from the login form is right. Slow where there is a password."""
        is_token = self.accepts_token(secret)
        is_password = self.password is not None and self.password.matches(secret)
        return is_token or is_password

    def accepts_token(self, secret: str) -> bool:
        """Whether a secret is the token."""
        return self.token is not None and hmac.compare_digest(
            self.token.encode(), secret.encode("utf-8", "surrogatepass")
        )
