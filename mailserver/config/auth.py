"""[auth] and [auth.oauth], and files of authorities."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mailserver.config.names import host_and_port, ip_address
from mailserver.config.schema import Auth, OAuth
from mailserver.config.secrets import (
    authorities_of,
    is_stale,
    others_may_read,
    revoked_of,
    validity,
)
from mailserver.config.structure import Reader, Table, count, path_below, section, text, time

_AUTH: dict[str, Reader[Any]] = {
    "failure_delay": time(),
    "max_delay": time(),
    "cache": time(),
    "threads": count(1, 64),
}
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def read_auth(table: Table | None, base: Path) -> Auth:
    """The whole section. base: what paths are relative to."""
    if table is None:
        return Auth()
    auth = section(table, Auth, _AUTH, oauth=_read_oauth(table.table("oauth"), base))
    table.finish()
    return auth


def _read_oauth(table: Table | None, base: Path) -> OAuth | None:
    if table is None:
        return None
    default = OAuth("")
    oauth = OAuth(
        url=table.value("introspection", _url, ""),
        client_id=table.value("client_id", text, ""),
        client_secret=table.value("client_secret", text, ""),
        user_claim=table.value("user_claim", _word, default.user_claim),
        scope=table.value("scope", _word_or_none, ""),
        audience=table.value("audience", text, ""),
        openid_configuration=table.value("openid_configuration", _url, ""),
        timeout=table.value("timeout", time(0.1), default.timeout),
        cache=table.value("cache", time(), default.cache),
        authority=read_authorities(table, "authority", base),
    )
    if "introspection" not in table.raw:
        table.fault('missing (who is asked, as "https://id.example.org/introspect")', "introspection")
    if oauth.client_secret and not oauth.client_id:
        table.fault("missing beside client_secret (both, or client_id alone)", "client_id")
    if oauth.client_secret and others_may_read(table.file):
        table.warn("everybody on this machine can read this secret (chmod 640)", "client_secret")
    if not (oauth.scope or oauth.audience):
        table.warn("tokens that the provider gave for anything else are taken too (set it)", "scope")
    table.finish()
    return oauth if oauth.url else None


def read_authorities(table: Table, key: str, base: Path) -> Path | None:
    """A PEM file with certificates of authorities."""
    path = table.value(key, path_below(base), None)
    if path is None:
        return None
    try:
        found = authorities_of(path)
    except ValueError as error:
        table.fault(str(error), key)
        return None
    for certificate in found:
        fault = validity(certificate)
        if fault:
            table.warn(f"{certificate.subject.rfc4514_string()} in {path} {fault}", key)
    return path


def read_revoked(table: Table, key: str, base: Path, authority: Path | None) -> tuple[Path, ...]:
    """Files with lists of what an authority has revoked."""
    paths: tuple[Path, ...] = table.items(key, path_below(base))
    if paths and authority is None:
        table.fault("missing beside client_crl (who signs users' certificates)", "client_ca")
        return ()
    issuers = [certificate.subject for certificate in authorities_of(authority)] if authority else []
    for number, path in enumerate(paths):
        try:
            found = revoked_of(path)
        except ValueError as error:
            table.fault(str(error), key, number)
            continue
        for one in found:
            if one.issuer not in issuers:
                who = one.issuer.rfc4514_string()
                table.warn(f"{path} is of {who}, who is not in client_ca", key, number)
            elif is_stale(one):
                table.warn(f"{path} is out of date: no certificate of its authority counts", key, number)
    return paths


def _url(value: object) -> str:
    """https, or http on this machine."""
    written = text(value)
    if not written:
        return ""
    accepted = 'as "https://id.example.org/…"'
    try:
        parts = urlsplit(written)
        host = parts.hostname or ""
        host_and_port(f"[{host}]" if ":" in host else host, parts.port or 443)
    except ValueError:
        raise ValueError(f"{written!r} is not a URL ({accepted})") from None
    if parts.username is not None or not written.isascii() or " " in written:
        raise ValueError(f"{written!r} is not a URL that can be asked ({accepted})")
    local = host in LOOPBACK or (ip_address(host) or "").startswith("127.")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ValueError(f"{written!r} would send tokens in clear ({accepted}; http on this machine only)")
    return written


def _word(value: object) -> str:
    written = text(value)
    if not written or " " in written:
        raise ValueError(f"{written!r} is not one word")
    return written


def _word_or_none(value: object) -> str:
    return "" if value == "" else _word(value)
