"""Users files: whatever stands in one, the faults are told and nothing is raised; what passes is sound. Edits
of the command-line tool change what they say and nothing else."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path

from mailserver.config.edit import CannotEdit, add_user, has_user, remove_user, set_password
from mailserver.config.problems import Report
from mailserver.config.users_file import read_users
from mailserver.errors import BadAddress
from mailserver.wire.address import normalise

FILE = Path("/nonexistent/users.toml")
DOMAINS = ("example.org", "example.net")
TOKENS = [
    *(
        b'[users."a@example.org"]\n',
        b'password = "{PLAIN}x"\n',
        b'aliases = ["b@example.org"]\n',
        b'quota = "5 GiB"\n',
    ),
    *(
        b"disabled = true\n",
        b"search_index = false\n",
        b'certificates = ["',
        b"[aliases]\n",
        b'"x@example.org" = ["y@z"]\n',
    ),
    *(
        b"$argon2id$v=19$m=19456,t=2,p=1$",
        b"$2b$12$",
        b"$6$salt$",
        b"{SSHA}",
        b"{SCRAM-SHA-256}4096,",
        b"'''",
        b'"""',
    ),
    *(b"\n", b"#", b"=", b"[", b"]", b"{", b"}", b"1e999", b"1979-05-27T07:32:00Z", b"\\u0000", b"inf"),
]


def check(data: bytes) -> None:
    report = Report()
    users = read_users([FILE], DOMAINS, report, {FILE: data})
    for problem in [*report.problems, *report.warnings]:
        assert "\n" not in str(problem).strip(), "a problem is one line"
    for address, user in users.users.items():
        assert address == user.address == normalise(address)
        assert address not in users.aliases
        assert user.quota is None or user.quota >= 0
    for address in users.aliases:
        assert normalise(address) == address
    if not report.problems:
        _edits(data.decode("utf-8"), list(users.users))


def _edits(text: str, addresses: list[str]) -> None:
    before = tomllib.loads(text)
    new = "new@example.org"
    with suppress(CannotEdit):
        if not has_user(text, new):
            added = add_user(text, new, {"password": "{PLAIN}x", "aliases": ["n@example.org"]})
            assert tomllib.loads(remove_user(added, new)) in (before, before | {"users": {}})
    for address in addresses[:3]:
        with suppress(CannotEdit, BadAddress):
            changed = tomllib.loads(set_password(text, address, "{PLAIN}y"))
            assert changed["users"].keys() == before["users"].keys()
            assert changed.get("aliases") == before.get("aliases")
