"""How the vault's content is sealed, and the file that holds it.

The file is JSON, in exactly one form:

    {
      "header": {
        "format": "hydra-vault", "version": 1,
        "kdf": {"name": "argon2id", "version": 19,
                "memory_kib": 65536, "passes": 3, "lanes": 4, "salt": BASE64},
        "cipher": "aes-256-gcm", "nonce": BASE64
      },
      "ciphertext": BASE64,
      "sha256": HEX
    }

The key is Argon2id (RFC 9106) of the password. The cipher is AES-256-GCM (NIST SP 800-38D) with
the header as associated data, so that none of it can be changed without the key. The SHA-256 of
header and ciphertext tells damage from a wrong password, and needs no key: it protects nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import msgspec
from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from hydra.errors import ConfigError

VERSION = 1
LEAST_PASSWORD = 12  # characters
_LEAST_DIFFERENT = 5  # characters of a password that differ from one another
_KEY_BYTES = 32
_SALT_BYTES = 16  # RFC 9106, section 3.1
_NONCE_BYTES = 12  # SP 800-38D, section 5.2.1.1
_TAG_BYTES = 16


class Damaged(Exception):
    """The bytes are not a file that was written here. The text says how one can tell."""


class Refused(Exception):
    """The file is whole and asks for what is not done. The text goes on from its name."""


class DoesNotOpen(Exception):
    """The key is another one, or somebody altered the file and made its checksum fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one guess of the password takes."""

    memory_kib: int
    passes: int
    lanes: int  # threads

    @property
    def work(self) -> int:
        """Memory written, in KiB: what a guess costs, however many threads share it."""
        return self.memory_kib * self.passes


# RFC 9106, section 4, second recommended option: more than what OWASP's Password Storage Cheat
# Sheet asks for (19 MiB and 2 passes, or 46 MiB and 1).
DEFAULT_COST = Cost(memory_kib=65_536, passes=3, lanes=4)
# What a file may ask of us, whoever wrote it: 512 MiB and some seconds.
_LEAST_COST = Cost(memory_kib=8_192, passes=1, lanes=1)
_MOST_COST = Cost(memory_kib=524_288, passes=10, lanes=8)


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # what any JSON reader can hold


class _Kdf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Literal["argon2id"]
    version: Literal[19]
    memory_kib: _Count
    passes: _Count
    lanes: _Count
    salt: bytes


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["hydra-vault"]
    version: _Count
    kdf: _Kdf
    cipher: Literal["aes-256-gcm"]
    nonce: bytes

    def authenticated(self) -> bytes:
        """The header as it is given to the cipher: JSON without spaces, names in order."""
        fields = msgspec.to_builtins(self)
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


class _Mark(msgspec.Struct, frozen=True):
    format: Literal["hydra-vault"]
    version: _Count


class _Marked(msgspec.Struct, frozen=True):
    """What every version's file has."""

    header: _Mark


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    header: _Header
    ciphertext: bytes
    sha256: str


class Key:
    """A derived key with the salt and cost that it was made with. Never shown."""

    def __init__(self, password: SecretStr, *, salt: bytes, cost: Cost) -> None:
        """Takes the time and memory of `cost`. Raises ConfigError when there is too little."""
        self.salt = salt
        self.cost = cost
        secret = password_bytes(password)
        try:
            key = hash_secret_raw(
                secret=secret,
                salt=salt,
                time_cost=cost.passes,
                memory_cost=cost.memory_kib,
                parallelism=cost.lanes,
                hash_len=_KEY_BYTES,
                type=Type.ID,
                version=ARGON2_VERSION,
            )
        except HashingError as error:
            raise ConfigError(
                f"the vault's key cannot be derived ({error}): it takes {cost.memory_kib // 1024}"
                f" MiB of memory and {cost.lanes} threads; make room and try again"
            ) from None
        self._cipher = AESGCM(key)

    @classmethod
    def fresh(cls, password: SecretStr, cost: Cost) -> Self:
        """A key of a new salt."""
        return cls(password, salt=os.urandom(_SALT_BYTES), cost=cost)

    def seal(self, content: bytes) -> bytes:
        """The bytes of a file.

        Each call draws a new nonce. SP 800-38D, section 8.3, allows 2^32 random ones for one
        key, which no number of changes by hand comes near.
        """
        header = _Header(
            format="hydra-vault",
            version=VERSION,
            kdf=_Kdf(
                name="argon2id",
                version=19,
                memory_kib=self.cost.memory_kib,
                passes=self.cost.passes,
                lanes=self.cost.lanes,
                salt=self.salt,
            ),
            cipher="aes-256-gcm",
            nonce=os.urandom(_NONCE_BYTES),
        )
        sealed = self._cipher.encrypt(header.nonce, content, header.authenticated())
        return Sealed(header, sealed).encode()

    def unseal(self, sealed: Sealed) -> bytes:
        """The content. Raises DoesNotOpen."""
        header = sealed.header
        try:
            return self._cipher.decrypt(header.nonce, sealed.ciphertext, header.authenticated())
        except InvalidTag:
            raise DoesNotOpen from None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file's parts, before anybody knows whether the password is right."""

    header: _Header
    ciphertext: bytes

    @property
    def cost(self) -> Cost:
        kdf = self.header.kdf
        return Cost(memory_kib=kdf.memory_kib, passes=kdf.passes, lanes=kdf.lanes)

    @property
    def salt(self) -> bytes:
        return self.header.kdf.salt

    def encode(self) -> bytes:
        """The bytes of the file: the same for the same parts, always."""
        digest = hashlib.sha256(self.header.authenticated() + self.ciphertext).hexdigest()
        document = _Document(self.header, self.ciphertext, digest)
        return (json.dumps(msgspec.to_builtins(document), indent=2) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Sealed:
        """Read a file. Raises Damaged, and Refused where it is whole.

        Only the one form that `encode` writes is taken: any other byte is damage.
        """
        try:
            version = msgspec.json.decode(data, type=_Marked).header.version
            if version != VERSION:
                raise Refused(
                    f"is of version {version}, and this Hydra knows version {VERSION}: use the"
                    " Hydra that wrote it, or restore a copy if the file is damaged"
                )
            document = msgspec.json.decode(data, type=_Document)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Damaged("it cannot be read to its end") from None
        sealed = cls(document.header, document.ciphertext)
        if sealed.encode() != data:
            raise Damaged("its checksum does not fit")
        sealed._check()
        return sealed

    def _check(self) -> None:
        """What a file may ask, before any of it is done."""
        for name in ("memory_kib", "passes", "lanes"):
            asked = getattr(self.cost, name)
            least, most = getattr(_LEAST_COST, name), getattr(_MOST_COST, name)
            if not least <= asked <= most:
                raise Refused(
                    f"asks for {name} = {asked:,} to derive its key, and {least:,} to {most:,}"
                    " are allowed: somebody altered it; restore a copy"
                )
        lengths = (len(self.salt), len(self.header.nonce))
        if lengths != (_SALT_BYTES, _NONCE_BYTES) or len(self.ciphertext) < _TAG_BYTES:
            raise Damaged("a part of it has the wrong length")


def password_bytes(password: SecretStr) -> bytes:
    """The password as it enters the key: UTF-8 of its composed form.

    Keyboards differ in how they make an é; RFC 8265, section 4.2 (OpaqueString) composes too.
    Raises ConfigError where it is no text.
    """
    try:
        return unicodedata.normalize("NFC", password.get_secret_value()).encode()
    except UnicodeEncodeError:
        # Without its cause, which holds the password.
        raise ConfigError("the master password is not UTF-8 text: set it again") from None


def check_strength(password: SecretStr) -> None:
    """Raises ConfigError on a new password that is short or made of few characters."""
    text = password.get_secret_value()
    if len(text) < LEAST_PASSWORD:
        raise ConfigError(
            f"the master password has {len(text)} characters: take at least {LEAST_PASSWORD},"
            " such as four or five random words"
        )
    if len(frozenset(text)) < _LEAST_DIFFERENT:
        raise ConfigError(
            f"the master password has fewer than {_LEAST_DIFFERENT} different characters:"
            " take four or five random words"
        )
