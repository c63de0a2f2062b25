"""SSH public keys: what a member may give us, and how a set of them is told from another.

What is accepted is one line of the form ``type base64 comment`` with a key that is strong by
today's measure. Everything else that people paste into such a field (private keys, certificates,
other formats, a whole ``authorized_keys``) is told apart, so that they learn what to do instead.
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from cryptography.utils import CryptographyDeprecationWarning

from jhub_tokens.i18n import N_, _

__all__ = ["KEY_TYPES", "RSA_BITS_MIN", "BadKey", "PublicKey", "keys_digest", "read_public_key"]

RSA_BITS_MIN = 3072
_RSA_BITS_MAX = 16_384
_LENGTH_MAX = 8_000

#: The types that are accepted, with what people call them.
KEY_TYPES = {
    "ssh-ed25519": "ED25519",
    "sk-ssh-ed25519@openssh.com": "ED25519-SK",
    "ecdsa-sha2-nistp256": "ECDSA 256",
    "ecdsa-sha2-nistp384": "ECDSA 384",
    "ecdsa-sha2-nistp521": "ECDSA 521",
    "sk-ecdsa-sha2-nistp256@openssh.com": "ECDSA-SK",
    "ssh-rsa": "RSA",
}
_MAKE_ONE = N_("Make a new one with: ssh-keygen -t ed25519")
_PASTE_PUB = N_("Paste the one line of the file that ends in .pub, such as ~/.ssh/id_ed25519.pub.")
_LINE = re.compile(r"(?P<type>\S+)[ \t]+(?P<blob>[A-Za-z0-9+/]+={0,2})(?:[ \t]+(?P<comment>.*))?")


class BadKey(ValueError):
    """A text that is no key we accept.

    Parameters
    ----------
    message
        What is wrong with it; never quotes the text, which may be a secret.
    remedy
        What to do instead.
    secret
        Whether the text is a private key: it must not be shown again, either.
    """

    def __init__(self, message: str, remedy: str, *, secret: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.secret = secret


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that may be let in.

    Parameters
    ----------
    line
        ``type base64``: what an ``authorized_keys`` file holds. Comments are not kept.
    kind
        What people call its type: ``ED25519``, ``RSA 4096``.
    comment
        What stood behind the key, often ``user@host``.
    fingerprint
        As ``ssh-keygen -l`` tells it: ``SHA256:…``.
    """

    line: str
    kind: str
    comment: str
    fingerprint: str


def read_public_key(text: str) -> PublicKey:
    """Return the key of one line of OpenSSH's format.

    Raises
    ------
    BadKey
        If the text is anything else, or the key is too weak.
    """
    text = text.strip()
    _refuse_other_formats(text)
    match = _LINE.fullmatch(text)
    kind = match["type"] if match else text.split(None, 1)[0]
    if match is None or kind not in KEY_TYPES:
        raise _unknown(text, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            key = load_ssh_public_key(f"{kind} {match['blob']}".encode())
        blob = base64.b64decode(match["blob"], validate=True)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey(
            _("This key is damaged or not complete: it cannot be read."),
            _("Copy it again, whole. %(paste)s", paste=_(_PASTE_PUB)),
        ) from None
    called = KEY_TYPES[kind]
    if isinstance(key, RSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            raise BadKey(
                _(
                    "This RSA key has %(bits)s bits, which is too weak: at least %(least)s are "
                    "asked for.",
                    bits=key.key_size,
                    least=RSA_BITS_MIN,
                ),
                _(_MAKE_ONE),
            )
        if key.key_size > _RSA_BITS_MAX:
            # OpenSSH refuses such a key when it is used.
            raise BadKey(
                _("This RSA key has more than %(most)s bits.", most=_RSA_BITS_MAX), _(_MAKE_ONE)
            )
        called = f"RSA {key.key_size}"
    fingerprint = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return PublicKey(
        line=f"{kind} {base64.b64encode(blob).decode()}",
        kind=called,
        comment=" ".join((match["comment"] or "").split())[:100],
        fingerprint=f"SHA256:{fingerprint}",
    )


def keys_digest(lines: Iterable[str]) -> str:
    """Return what tells one set of keys from another, whatever their order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _refuse_other_formats(text: str) -> None:
    """Refuse what is not one line of text, by what it is."""
    if "PRIVATE KEY" in text or text.startswith("PuTTY-User-Key-File"):
        raise BadKey(
            _(
                "This is a private key. It must never leave your computer; it was not kept here, "
                "but do not use it any more."
            ),
            _("Make a new pair with ssh-keygen -t ed25519, and paste the file that ends in .pub."),
            secret=True,
        )
    if not text:
        raise BadKey(_("Paste a public key."), _(_PASTE_PUB))
    if "BEGIN SSH2 PUBLIC KEY" in text:
        raise BadKey(
            _("This key is in the format of PuTTY or of commercial SSH (RFC 4716)."),
            _("Turn it into OpenSSH's format with: ssh-keygen -i -f FILE"),
        )
    if "BEGIN " in text:
        raise BadKey(
            _("This is a key or a certificate in another format (PEM)."),
            _("Turn it into OpenSSH's format with: ssh-keygen -i -m PKCS8 -f FILE"),
        )
    if len(text.splitlines()) > 1:
        raise BadKey(
            _("This is more than one line: a key is one line, without line breaks."),
            _("Add one key at a time. %(paste)s", paste=_(_PASTE_PUB)),
        )
    if len(text) > _LENGTH_MAX or not text.isprintable():
        raise BadKey(_("This is no SSH public key."), _(_PASTE_PUB))


def _unknown(text: str, kind: str) -> BadKey:
    """Return why a line that does not begin with a type we accept is refused."""
    if "-cert-v01@openssh.com" in kind:
        return BadKey(
            _("This is a certificate, not a key."),
            _("Paste the public key that it was made for: the file without -cert in its name."),
        )
    if kind in ("ssh-dss", "ssh-dsa"):
        return BadKey(_("DSA keys are too weak and are not accepted."), _(_MAKE_ONE))
    if kind in KEY_TYPES:
        return BadKey(
            _("This key is damaged or not complete: it cannot be read."),
            _("Copy it again, whole. %(paste)s", paste=_(_PASTE_PUB)),
        )
    if any(f" {known} " in text for known in (*KEY_TYPES, "ssh-dss")):
        return BadKey(
            _("There is something in front of the key; options such as from= are not accepted."),
            _("Paste the key alone: its type, its text, and a comment if you like."),
        )
    if kind.startswith(("ssh-", "ecdsa-", "sk-", "webauthn-")):
        return BadKey(
            _("Keys of the type %(kind)s are not accepted.", kind=kind[:60]), _(_MAKE_ONE)
        )
    return BadKey(_("This is no SSH public key."), _(_PASTE_PUB))
