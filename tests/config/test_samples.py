"""etc/: the sample files name every key of the schema, with its true default, and load."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailserver.config import schema
from mailserver.config.load import DEFAULT_DATA_DIR, load, read
from mailserver.config.schema import Config, Domain
from tests.helpers.files import write_certificate, write_crl, write_users

ETC = Path(__file__).parents[2] / "etc"
SAMPLE = (ETC / "mailserver.toml").read_text("utf-8")
_KEY = re.compile(r'# ((?:[a-z_0-9]+|"[^"]+") *= *\S.*|\[\[?.+\]\]?)')


# Keys whose values are tables of their own.
TABLES = ("tls.more", "relay.routes", "relay.limits", "imap.without", "auth.oauth")


def uncommented(text: str) -> str:
    """The sample with every key set: `# key = …` and `# [table]` lose their #."""
    return "\n".join(match[1] if (match := _KEY.fullmatch(line)) else line for line in text.splitlines())


def keys(text: str) -> set[str]:
    """Dotted keys of all assignments, tables by name."""
    table, found = "", set()
    for line in text.splitlines():
        if match := re.fullmatch(r"\[+([^\]]+)\]+\s*(?:#.*)?", line):
            table = re.sub(r'\."[^"]*"', "", match[1]) + "."
        elif match := re.match(r"([a-z_0-9]+) *=", line):
            found.add(table + match[1])
    return found


def schema_keys() -> set[str]:
    """What can be written, by the schema; names as in the file."""
    found = {"hostname", "data_dir", "users_file", "extensions", "workers"}
    found |= {"relay.username", "relay.password"}
    found |= {f"domains.{name}" for name in attrs.fields_dict(Domain) if name != "name"}
    found |= {f"tls.more.{name}" for name in attrs.fields_dict(schema.Certificate)}
    found |= {f"auth.oauth.{name}" for name in attrs.fields_dict(schema.OAuth) if name != "url"}
    found.add("auth.oauth.introspection")
    found |= {f"relay.limits.{name}" for name in attrs.fields_dict(schema.HopLimits)}
    found |= {f"imap.without.{name}" for name in attrs.fields_dict(schema.Without)}
    for field in attrs.fields(Config):
        if attrs.has(type(field.default)):
            found |= {f"{field.name}.{name}" for name in attrs.fields_dict(type(field.default))}
    return found - set(TABLES)


def test_every_key_of_the_schema_is_in_the_sample() -> None:
    assert keys(uncommented(SAMPLE)) == schema_keys()
    assert "[relay.routes]" in uncommented(SAMPLE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Only root could make the data_dir of the samples.
    monkeypatch.setattr("mailserver.config.load._check_data_dir", lambda config, top: None)
    write_certificate(tmp_path, "mail.example.org")
    (tmp_path / "cert-key.pem").rename(tmp_path / "key.pem")
    write_certificate(tmp_path, "mail.example.net", stem="example.net")
    authority, key = write_certificate(tmp_path, "users", stem="users-ca")
    write_crl(tmp_path / "users.crl", authority, load_pem_private_key(key.read_bytes(), None))
    write_certificate(tmp_path, "id", stem="id-ca")
    write_users(tmp_path, '[users."alice@example.org"]\npassword = "{PLAIN}x"\n')
    return tmp_path


def test_the_sample_loads_as_it_is(folder: Path) -> None:
    path = folder / "mailserver.toml"
    path.write_text(SAMPLE)
    config = load(path)
    default = Config("h", Path(), ())
    for name in ("listen", "tls", "auth", "imap", "limits", "relay", "log", "workers"):
        assert getattr(config, name) == getattr(default, name)


def test_the_sample_with_all_keys_loads(folder: Path) -> None:
    path = folder / "mailserver.toml"
    path.write_text(uncommented(SAMPLE).replace("/var/log/mailserver/", ""))
    path.chmod(0o600)
    loaded = read(path)
    assert loaded.warnings == ()
    assert loaded.config.data_dir == DEFAULT_DATA_DIR
    assert loaded.config.relay.smarthost is not None


def test_the_sample_shows_the_true_defaults(folder: Path) -> None:
    """All keys set, but those that are examples: the result is what no file at all gives."""
    path = folder / "mailserver.toml"
    path.write_text(uncommented(SAMPLE).replace("/var/log/mailserver/", ""))
    config, default = load(path), Config("h", Path(), ())
    assert config.listen == default.listen
    assert attrs.evolve(config.auth, oauth=None) == default.auth
    assert config.auth.oauth is not None
    assert config.limits == default.limits
    assert config.tls.minimum == default.tls.minimum
    assert config.log.format == default.log.format
    examples = {"smarthost": None, "routes": {}, "limits": {}}
    assert attrs.evolve(config.relay, **examples) == default.relay


def test_the_sample_of_the_users_file_loads_with_all_keys(folder: Path) -> None:
    text = uncommented((ETC / "users.toml").read_text("utf-8"))
    good = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdCEhIQ$" + 43 * "A"
    write_users(folder, re.sub(r'"\$argon2id[^"]*"', f'"{good}"', text))
    path = folder / "mailserver.toml"
    path.write_text(SAMPLE)
    users = read(path).users
    assert users.users["alice@example.org"].quota == 5 * 1024**3
    assert set(users.aliases) == {"al@example.org", "alice.liddell@example.org", "team@example.org"}
