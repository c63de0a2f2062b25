"""SSH public keys: what is accepted, and what is said about everything else that people paste."""

from __future__ import annotations

import base64
import subprocess
import warnings

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from jhub_tokens.ssh_keys import BadKey, keys_digest, read_public_key

ED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyd8aK2cTJMf9vHTA4UgQkSzPz5xAKYbYpnNrVqGjq3"


def public(private) -> str:
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def field(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def security_key() -> str:
    kind = b"sk-ssh-ed25519@openssh.com"
    raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    blob = field(kind) + field(raw) + field(b"ssh:")
    return f"{kind.decode()} {base64.b64encode(blob).decode()}"


@pytest.fixture(scope="module")
def weak_rsa() -> str:
    return public(rsa.generate_private_key(65537, 2048))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: public(ed25519.Ed25519PrivateKey.generate()), "ED25519"),
        (lambda: public(ec.generate_private_key(ec.SECP256R1())), "ECDSA 256"),
        (lambda: public(ec.generate_private_key(ec.SECP384R1())), "ECDSA 384"),
        (lambda: public(ec.generate_private_key(ec.SECP521R1())), "ECDSA 521"),
        (lambda: public(rsa.generate_private_key(65537, 3072)), "RSA 3072"),
        (security_key, "ED25519-SK"),
    ],
)
def test_strong_keys_are_read(make, kind) -> None:
    line = make()
    key = read_public_key(f"  {line}  ada@laptop   at home \n")
    assert (key.line, key.kind, key.comment) == (line, kind, "ada@laptop at home")


def test_the_fingerprint_is_that_of_ssh_keygen(tmp_path) -> None:
    line = public(ed25519.Ed25519PrivateKey.generate())
    (tmp_path / "key.pub").write_text(f"{line}\n")
    try:
        told = subprocess.run(
            ["ssh-keygen", "-l", "-f", tmp_path / "key.pub"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    except FileNotFoundError:
        pytest.skip("no ssh-keygen on this machine")
    assert told.split()[1] == read_public_key(line).fingerprint


def refused(text: str) -> BadKey:
    with pytest.raises(BadKey) as caught:
        read_public_key(text)
    assert caught.value.message and caught.value.remedy
    return caught.value


def test_weak_keys_are_refused(weak_rsa) -> None:
    error = refused(weak_rsa)
    assert "2048 bits" in error.message and "at least 3072" in error.message
    assert "ssh-keygen -t ed25519" in error.remedy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = public(dsa.generate_private_key(1024))
    assert "DSA keys are too weak" in refused(old).message


@pytest.mark.parametrize("format_", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
def test_a_private_key_is_told_to_be_burnt(format_) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, format_, NoEncryption()).decode()
    for text in (pem, f"{public(private)}\n{pem}", pem.replace("\n", " ")):
        error = refused(text)
        assert error.secret and "do not use it any more" in error.message
        assert pem.splitlines()[1] not in f"{error.message} {error.remedy}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Paste a public key"),
        ("   \n ", "Paste a public key"),
        ("my key", "no SSH public key"),
        ("ssh-ed25519", "damaged or not complete"),
        (ED[:-9], "damaged or not complete"),
        (ED.replace("ssh-ed25519", "ssh-rsa"), "damaged or not complete"),
        ("ssh-ed25519 not*base64", "damaged or not complete"),
        (f"{ED}\n{ED}", "more than one line"),
        (ED[:40] + "\n" + ED[40:], "more than one line"),
        (f'from="10.0.0.0/8",no-pty {ED}', "something in front of the key"),
        (f'command="rm -rf ~" {ED} x', "something in front of the key"),
        (f"restrict {ED}", "something in front of the key"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "a certificate"),
        ("ssh-xmss@openssh.com AAAA", "of the type ssh-xmss@openssh.com"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----", "PuTTY"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "another format"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none", "private key"),
        (f"{ED}\0 x", "no SSH public key"),
        (f"{ED} " + "x" * 9000, "no SSH public key"),
    ],
)  # fmt: skip
def test_what_else_people_paste_is_told_apart(text, words) -> None:
    assert words in refused(text).message


def test_a_digest_tells_sets_apart_whatever_their_order() -> None:
    assert keys_digest(["a", "b"]) == keys_digest(["b", "a"])
    assert len({keys_digest(keys) for keys in ([], ["a"], ["b"], ["a", "b"], ["ab"])}) == 5
