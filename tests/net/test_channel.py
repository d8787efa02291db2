"""TLS as log-in sees it: channel bindings, and clients' certificates."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL

from mailserver.config.schema import Certificate
from mailserver.interfaces import Peer
from mailserver.net.channel import TlsChannel, end_point
from mailserver.tls.server import TlsContexts
from tests.helpers.files import write_certificate, write_crl
from tests.helpers.settings import make_settings
from tests.tls.handshake import Handshake, client, run_now

LABEL = b"EXPORTER-Channel-Binding"


def contexts(folder: Path, **tls: Any) -> TlsContexts:
    certificate, key = write_certificate(folder, "mail.example.org")
    settings = make_settings(data_dir=folder / "data", tls={"certificate": certificate, "key": key, **tls})
    return TlsContexts(settings, None, run=run_now)


_kept: list[Handshake] = []  # a channel does not keep its connection


def channel_of(*args: Any, **kwargs: Any) -> TlsChannel:
    shaken = Handshake(*args, **kwargs)
    _kept.append(shaken)
    return TlsChannel(shaken.server)


def der_shown(shaken: Handshake) -> bytes:
    certificate = shaken.client.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    return certificate.public_bytes(Encoding.DER)


# --- bindings --------------------------------------------------------------------------------------


def test_both_sides_have_the_same_exporter_and_end_point(tmp_path: Path) -> None:
    """RFC 9266, 2; RFC 5929, 4.1"""
    shaken = Handshake(contexts(tmp_path))
    channel = TlsChannel(shaken.server)
    assert channel.bindings("tls-exporter") == (shaken.client.export_keying_material(LABEL, 32),)
    assert channel.bindings("tls-server-end-point") == (hashlib.sha256(der_shown(shaken)).digest(),)
    assert channel.bindings("tls-unique") == ()
    other = channel_of(contexts(tmp_path))
    assert other.bindings("tls-exporter") != channel.bindings("tls-exporter")


def test_no_exporter_before_TLS_1_3(tmp_path: Path) -> None:
    """RFC 9266, 4.2: not without the extended master secret."""
    channel = channel_of(contexts(tmp_path), client=client(SSL.TLS1_2_VERSION))
    assert channel.bindings("tls-exporter") == ()
    assert len(channel.bindings("tls-server-end-point")) == 1


def test_the_end_point_of_the_certificate_for_the_name(tmp_path: Path) -> None:
    more = Certificate(*write_certificate(tmp_path, "mail.example.net", stem="more"))
    made = contexts(tmp_path, more=(more,))
    for name in ("mail.example.org", "mail.example.net"):
        shaken = Handshake(made, name=name)
        assert shaken.shown == [name]
        assert TlsChannel(shaken.server).bindings("tls-server-end-point") == (
            hashlib.sha256(der_shown(shaken)).digest(),
        )


@pytest.mark.parametrize("resumed", [False, True])
def test_two_kinds_of_keys_for_one_name(tmp_path: Path, resumed: bool) -> None:
    """Also in a session that is resumed, where nobody remembers which of them was shown."""
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    issued = authority.issue_cert("mail.example.org", key_type=trustme.KeyType.RSA)
    (tmp_path / "rsa.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    (tmp_path / "rsa-key.pem").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "rsa-key.pem").chmod(0o600)
    made = contexts(tmp_path, more=(Certificate(tmp_path / "rsa.pem", tmp_path / "rsa-key.pem"),))
    context = client(SSL.TLS1_2_VERSION, b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    shaken = Handshake(made, client=context)
    der = der_shown(shaken)
    if resumed:
        shaken = Handshake(made, client=context, session=shaken.client.get_session())
    found = TlsChannel(shaken.server).bindings("tls-server-end-point")
    assert len(found) == 2
    assert hashlib.sha256(der).digest() in found


def test_a_channel_does_not_keep_its_connection(tmp_path: Path) -> None:
    shaken = Handshake(contexts(tmp_path))
    channel = TlsChannel(shaken.server)
    del shaken
    assert channel.bindings("tls-exporter") == ()
    assert channel.certificate() is None


@pytest.mark.parametrize(
    ("signed", "digest"), [("sha512", hashlib.sha512), ("sha1", hashlib.sha256), ("md5", hashlib.sha256)]
)
def test_the_hash_of_an_end_point_is_that_of_the_signature(signed: str, digest: Any) -> None:
    """RFC 5929, 4.1"""

    class Signed:
        signature_hash_algorithm = getattr(hashes, signed.upper())()

        def public_bytes(self, encoding: object) -> bytes:
            return b"der"

    assert end_point(Signed()) == digest(b"der").digest()  # type: ignore[arg-type]


def test_a_signature_without_a_hash_has_no_end_point() -> None:
    class Signed:
        signature_hash_algorithm = None

    assert end_point(Signed()) == b""  # type: ignore[arg-type]


# --- clients' certificates -------------------------------------------------------------------------


class Users:
    """An authority for users, and a client with a certificate of it."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.file = folder / "users-ca.pem"
        self.authority.cert_pem.write_to_path(self.file)

    def client(self, authority: trustme.CA | None = None, version: int | None = None) -> SSL.Context:
        issued = (authority or self.authority).issue_cert("alice@example.org")
        context = client(version)
        chain = [x509.load_pem_x509_certificate(pem.bytes()) for pem in issued.cert_chain_pems]
        context.use_certificate(chain[0])
        key: Any = load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        context.use_privatekey(key)
        return context


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path)


def test_nobody_is_asked_unless_configured(tmp_path: Path, users: Users) -> None:
    shaken = Handshake(contexts(tmp_path), client=users.client())
    assert TlsChannel(shaken.server).certificate() is None


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_a_good_certificate_is_known(tmp_path: Path, users: Users, version: int) -> None:
    shaken = Handshake(contexts(tmp_path, client_ca=users.file), client=users.client(version=version))
    shown = TlsChannel(shaken.server).certificate()
    assert shown is not None
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == ["alice@example.org"]


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_none_or_a_strangers_one_is_no_hindrance_and_no_use(
    tmp_path: Path, users: Users, version: int
) -> None:
    made = contexts(tmp_path, client_ca=users.file)
    for context in (client(version), users.client(trustme.CA(), version)):
        shaken = Handshake(made, client=context)
        assert shaken.client.get_protocol_version_name() == shaken.server.get_protocol_version_name()
        assert TlsChannel(shaken.server).certificate() is None


def test_what_is_revoked_does_not_count(tmp_path: Path, users: Users) -> None:
    """Nor what nobody says anything of that is not out of date (RFC 5280, 6.3); it is no hindrance."""
    key = load_pem_private_key(users.authority.private_key_pem.bytes(), None)
    first, second = users.client(), users.client()
    whose = channel_of(contexts(tmp_path, client_ca=users.file), client=first).certificate()
    assert whose is not None
    for number, (revoked, days, counts) in enumerate(
        (((whose,), 30, (False, True)), ((), 30, (True, True)), ((), -1, (False, False)))
    ):
        crl = write_crl(tmp_path / f"{number}.crl", users.file, key, *revoked, days=days, der=number == 1)
        made = contexts(tmp_path, client_ca=users.file, client_crl=(crl,))
        shown = [channel_of(made, client=context).certificate() is not None for context in (first, second)]
        assert tuple(shown) == counts
    other = trustme.CA()
    strange = write_crl(
        tmp_path / "strange.crl",
        write_pem(tmp_path / "other.pem", other),
        load_pem_private_key(other.private_key_pem.bytes(), None),
    )
    made = contexts(tmp_path, client_ca=users.file, client_crl=(strange,))
    assert channel_of(made, client=first).certificate() is None


def write_pem(path: Path, authority: trustme.CA) -> Path:
    authority.cert_pem.write_to_path(path)
    return path


def test_a_strangers_certificate_is_not_made_good_by_resuming(tmp_path: Path, users: Users) -> None:
    made = contexts(tmp_path, client_ca=users.file)
    context = users.client(trustme.CA(), SSL.TLS1_2_VERSION)
    first = Handshake(made, client=context)
    again = Handshake(made, client=context, session=first.client.get_session())
    assert TlsChannel(again.server).certificate() is None


def test_the_certificate_for_another_name_asks_too(tmp_path: Path, users: Users) -> None:
    more = Certificate(*write_certificate(tmp_path, "mail.example.net", stem="more"))
    made = contexts(tmp_path, client_ca=users.file, more=(more,))
    assert channel_of(made, name="mail.example.net", client=users.client()).certificate()


def test_servers_of_others_are_not_asked(tmp_path: Path, users: Users) -> None:
    made = contexts(tmp_path, client_ca=users.file)
    assert channel_of(made, "smtp", client=users.client()).certificate() is None
    assert channel_of(made, "submission", client=users.client()).certificate()


def test_a_peer_is_compared_without_its_channel(tmp_path: Path) -> None:
    channel = channel_of(contexts(tmp_path))
    assert evolve(Peer("192.0.2.1"), channel=channel) == Peer("192.0.2.1")
