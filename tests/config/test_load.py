"""mailserver.toml: what is right becomes values, what is wrong is told with file and key."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import attrs
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailserver.config.load import load, read
from mailserver.config.problems import ConfigError
from mailserver.config.schema import Config, HopLimits, Limits, Listen, OAuth, Relay, Smarthost, Without
from tests.helpers.files import CONFIG, USERS, write_certificate, write_crl, write_site, write_users


def problems(path: Path) -> list[str]:
    """The lines that a launch with this file prints, without the file's folder."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_a_small_file_gets_all_defaults(tmp_path: Path) -> None:
    config = load(write_site(tmp_path))
    assert config.hostname == "mail.example.org"
    assert config.data_dir == tmp_path / "data"
    assert config.users_files == (tmp_path / "users.toml",)
    assert config.limits == Limits()
    assert config.relay == Relay()
    assert list(config.domains) == ["example.org"]


def test_listen_absent_means_the_defaults(tmp_path: Path) -> None:
    assert load(write_site(tmp_path)).listen == Listen()


def test_listen_present_opens_only_what_it_names(tmp_path: Path) -> None:
    config = load(write_site(tmp_path, CONFIG + '[listen]\nimap = ["tcp:1143:interface=127.0.0.1"]\n'))
    nothing = dict.fromkeys(attrs.fields_dict(Listen), ())
    assert config.listen == Listen(**{**nothing, "imap": ("tcp:1143:interface=127.0.0.1",)})


def test_every_kind_of_endpoint(tmp_path: Path) -> None:
    listen = (
        r'smtp = ["tcp:25", "tcp6:25:interface=\\:\\:1", "tcp:port=0", "tcp:0", "unix:/run/x"]'
        '\nimap = ["tcp:143:interface=127.0.0.1", "tcp:143:interface=127.0.0.2"]'
    )
    assert len(load(write_site(tmp_path, CONFIG + "[listen]\n" + listen)).listen.smtp) == 5


def test_units_and_nested_values(tmp_path: Path) -> None:
    config = load(
        write_site(
            tmp_path,
            CONFIG
            + """
postmaster = "alice"
catch_all = "Bob@EXAMPLE.org"
subaddress = ""
[limits]
message_size = "1 MiB"
idle_timeout = "1h"
[relay]
smarthost = "smtp.isp.net:587"
username = "u"
password = "p"
resolver = "127.0.0.1"
networks = ["10.0.0.0/8", "192.0.2.7"]
retry = ["1s", "1m"]
[relay.routes]
"Partner.Example." = "10.0.0.7:25"
"six.example" = "[2001:db8::1]:2525"
"*.bücher.example" = "relay.example"
"socket.example" = "lmtp:unix:/run/dovecot/lmtp"
"lmtp.example" = "lmtp:[::1]"
"*.lmtp.example" = "lmtp:back.example:2424"
[relay.limits."Gmail.com"]
connections = 3
rate = "30/1m"
[relay.limits."[2001:db8::1]"]
messages_per_connection = 1
""",
        )
    )
    assert config.domains["example.org"].postmaster == "alice@example.org"
    assert config.domains["example.org"].catch_all == "bob@example.org"
    assert config.domains["example.org"].subaddress == ""
    assert (config.limits.message_size, config.limits.idle_timeout) == (1024 * 1024, 3600.0)
    assert config.relay.smarthost == Smarthost("smtp.isp.net", 587, "u", "p")
    assert config.relay.resolver == "127.0.0.1:53"
    assert config.relay.networks == ("10.0.0.0/8", "192.0.2.7/32")
    assert config.relay.retry == (1.0, 60.0)
    assert config.relay.routes == {
        "partner.example": Smarthost("10.0.0.7", 25),
        "six.example": Smarthost("2001:db8::1", 2525),
        "*.xn--bcher-kva.example": Smarthost("relay.example", 25),
        "socket.example": Smarthost("unix:/run/dovecot/lmtp", 0, lmtp=True),
        "lmtp.example": Smarthost("::1", 24, lmtp=True),
        "*.lmtp.example": Smarthost("back.example", 2424, lmtp=True),
    }
    assert config.relay.limits == {
        "gmail.com": HopLimits(connections=3, rate=0.5),
        "2001:db8::1": HopLimits(messages_per_connection=1),
    }


def test_symbolic_links_stay_what_they_are(tmp_path: Path) -> None:
    """A link may lead elsewhere tomorrow (a renewed certificate, a mounted users file)."""
    path = write_site(tmp_path)
    (tmp_path / "users.toml").rename(tmp_path / "users-1.toml")
    (tmp_path / "users.toml").symlink_to("users-1.toml")
    assert load(path).users_files == (tmp_path / "users.toml",)


def test_the_machine_name_is_the_default_hostname(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: "Box.Example.NET")
    assert load(write_site(tmp_path, CONFIG.partition("\n")[2])).hostname == "box.example.net"


def test_a_machine_without_a_full_name_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: "my_box!")
    loaded = read(write_site(tmp_path, CONFIG.partition("\n")[2]))
    assert loaded.config.hostname == "localhost"
    assert ["hostname" in str(warning) for warning in loaded.warnings] == [True]


WITHOUT = '[[imap.without]]\ncapabilities = ["IDLE"]\nreason = "it stumbles"\n'


def test_capabilities_that_are_off(tmp_path: Path) -> None:
    added = WITHOUT.replace("IDLE", "quota") + 'users = ["Alice@Example.ORG"]\nclients = ["Outlook*"]\n'
    loaded = read(write_site(tmp_path, CONFIG + added))
    assert loaded.config.imap.without == (
        Without(("QUOTA",), "it stumbles", ("alice@example.org",), ("Outlook*",)),
    )
    assert loaded.warnings == ()


def test_a_rule_for_nobody_is_warned_of(tmp_path: Path) -> None:
    loaded = read(write_site(tmp_path, CONFIG + WITHOUT + 'users = ["zoe@example.org"]\n'))
    [warning] = loaded.warnings
    assert str(warning).endswith(
        "imap.without[0].users: zoe@example.org is no user: the rule does nothing for that address"
    )


# K1: twenty and more wrong files. Each: what is added to a good file, and the line that must come out.
WRONG = {
    "unknown_key": (
        "[limits]\nrecipents = 5\n",
        'limits.recipents: unknown key (did you mean "recipients"?)',
    ),
    "key_of_another_table": (
        "[auth]\nrecipients = 5\n",
        "auth.recipients: unknown key (it belongs in [limits])",
    ),
    "unknown_table": ("[limit]\n", 'limit: unknown key (did you mean "limits"?)'),
    "nothing_near": (
        "[auth]\nzzz = 1\n",
        "auth.zzz: unknown key (accepted: oauth, allow_cleartext, max_failures, failure_delay, max_delay, "
        "user_failures, cache, threads, backlog)",
    ),
    "wrong_type": (
        '[auth]\nmax_failures = "5"\n',
        "auth.max_failures: expected a number, got a string (1 to",
    ),
    "not_a_boolean": (
        "[auth]\nallow_cleartext = 1\n",
        "auth.allow_cleartext: expected true or false, got a number",
    ),
    "bad_size": ('[limits]\nmessage_size = "50 XB"\n', "limits.message_size: '50 XB' is not a size such as"),
    "small_size": (
        "[limits]\nmessage_size = 10\n",
        "limits.message_size: 10 is too small (at least 65536 octets)",
    ),
    "bad_time": ('[limits]\nidle_timeout = "soon"\n', "limits.idle_timeout: 'soon' is not a time such as"),
    "few_recipients": ("[limits]\nrecipients = 5\n", "limits.recipients: 5 is out of range (100 to"),
    "bad_port": (
        '[listen]\nsmtp = ["tcp:99999"]\n',
        "listen.smtp[0]: 'tcp:99999' has the port '99999' (0 to 65535",
    ),
    "port_in_words": ('[listen]\nsmtp = ["tcp:smtp"]\n', "listen.smtp[0]: 'tcp:smtp' has the port 'smtp'"),
    "port_alone": (
        '[listen]\nsmtp = ["25"]\n',
        "listen.smtp[0]: '25' is not an endpoint string (was \"tcp:25\" meant?)",
    ),
    "empty_listen_address": ('[listen]\nsmtp = [""]\n', "listen.smtp[0]: '' is not an endpoint string"),
    "listen_not_a_list": ('[listen]\nsmtp = "tcp:25"\n', "listen.smtp: expected a list, got a string"),
    "bad_interface": (
        '[listen]\nsmtp = ["tcp:25:interface=here"]\n',
        "listen.smtp[0]: 'tcp:25:interface=here' has the interface 'here'",
    ),
    "tls_twice": ('[listen]\nimaps = ["ssl:993"]\n', "listen.imaps[0]: 'ssl:993' adds TLS twice"),
    "no_such_endpoint": (
        '[listen]\nsmtp = ["carrier-pigeon:25"]\n',
        "listen.smtp[0]: 'carrier-pigeon:25' is not",
    ),
    "port_twice": (
        '[listen]\nsmtp = ["tcp:25"]\nimap = ["tcp:25"]\n',
        "listen.imap[0]: 'tcp:25' is taken by smtp[0] (one each)",
    ),
    "unknown_service": (
        '[listen]\nimap4 = ["tcp:143"]\n',
        'listen.imap4: unknown key (did you mean "imap"?)',
    ),
    "lmtp_on_the_port_of_smtp": (
        '[listen]\nlmtp = ["tcp:25"]\n',
        "listen.lmtp[0]: 'tcp:25': LMTP must not be on port 25 (24, by custom)",
    ),
    "unix_mode": (
        '[listen]\nlmtp = ["unix:/run/x:mode=rw"]\n',
        "listen.lmtp[0]: 'unix:/run/x:mode=rw' has the mode 'rw' (three octal digits",
    ),
    "unix_path": (
        '[listen]\nlmtp = ["unix:lmtp"]\n',
        "listen.lmtp[0]: 'unix:lmtp' has the path 'lmtp' (a whole one",
    ),
    "proxies_without_networks": (
        '[listen]\nimaps = ["haproxy:tcp:993"]\n',
        "listen.imaps[0]: 'haproxy:tcp:993' is for proxies (name them in proxy.networks)",
    ),
    "proxied_twice": (
        '[listen]\nimaps = ["haproxy:tcp:993", "tcp:993"]\n[proxy]\nnetworks = ["10.0.0.1"]\n',
        "listen.imaps[1]: 'tcp:993' is taken by imaps[0] (one each)",
    ),
    "unix_twice": (
        '[listen]\nlmtp = ["unix:/run/x:mode=600"]\nsmtp = ["unix:/run/x"]\n',
        "listen.lmtp[0]: 'unix:/run/x:mode=600' is taken by smtp[0] (one each)",
    ),
    "not_yet_sieve": ('[listen]\nsieve = ["tcp:4190"]\n', "listen.sieve: this service is not available"),
    "not_yet_http": ('[listen]\nhttp = ["tcp:80"]\n', "listen.http: this service is not available"),
    "certificate_without_key": (
        '[tls]\ncertificate = "users.toml"\n',
        "tls.key: missing beside certificate (both or none)",
    ),
    "key_without_certificate": (
        '[tls]\nkey = "users.toml"\n',
        "tls.certificate: missing beside key (both or none)",
    ),
    "no_certificate": (
        '[tls]\ncertificate = "absent.pem"\nkey = "users.toml"\n',
        "tls.certificate: absent.pem cannot be read: No such file or directory",
    ),
    "old_tls": ('[tls]\nminimum = "1.0"\n', 'tls.minimum: \'1.0\' is not possible ("1.2" or "1.3")'),
    "bad_domain": ('[domains."exa mple"]\n', "domains.\"exa mple\": 'exa mple' is not a domain name"),
    "domain_is_an_address": (
        '[domains."192.0.2.1"]\n',
        "domains.\"192.0.2.1\": '192.0.2.1' is not a domain name",
    ),
    "domain_twice": ('[domains."EXAMPLE.org"]\n', 'domains."EXAMPLE.org": example.org is there already'),
    "domain_twice_with_dot": (
        '[domains."example.org."]\n',
        'domains."example.org.": example.org is there already',
    ),
    "domain_not_a_table": (
        '[domains]\n"x.example" = 1\n',
        'domains."x.example": expected a table, got a number',
    ),
    "unknown_postmaster": (
        'postmaster = "carol"\n',
        'domains."example.org".postmaster: carol@example.org is no user (one of the users file)',
    ),
    "unknown_catch_all": (
        'catch_all = "carol"\n',
        'domains."example.org".catch_all: carol@example.org is no user',
    ),
    "bad_catch_all": ('catch_all = "c d"\n', "domains.\"example.org\".catch_all: 'c d' is no user"),
    "bad_subaddress": ('subaddress = "ab"\n', "domains.\"example.org\".subaddress: 'ab' cannot separate"),
    "bad_network": (
        '[relay]\nnetworks = ["10.0.0.300/8"]\n',
        "relay.networks[0]: '10.0.0.300/8' is not a network",
    ),
    "network_bits": (
        '[relay]\nnetworks = ["10.1.2.3/8"]\n',
        "relay.networks[0]: '10.1.2.3/8' has bits beyond its prefix (was 10.0.0.0/8 meant?)",
    ),
    "bad_route": (
        '[relay.routes]\n"p.example" = "lmtp:unix:lmtp"\n',
        'relay.routes."p.example": \'lmtp:unix:lmtp\' is not a socket (as "lmtp:unix:/run/dovecot/lmtp")',
    ),
    "route_port": (
        '[relay.routes]\n"p.example" = "10.0.0.7:x"\n',
        "relay.routes.\"p.example\": '10.0.0.7:x' has the port 'x' (1 to 65535)",
    ),
    "wrong_rate": (
        '[relay.limits."p.example"]\nrate = "fast"\n',
        'relay.limits."p.example".rate: \'fast\' is not a rate such as "10/1s", "30/1m", "1000/1h"',
    ),
    "misspelt_limit": (
        '[relay.limits."p.example"]\nconections = 3\n',
        'relay.limits."p.example".conections: unknown key (did you mean "connections"?)',
    ),
    "bare_ipv6_route": (
        '[relay.routes]\n"p.example" = "2001:db8::1"\n',
        "relay.routes.\"p.example\": '2001:db8::1' is not a host (an IPv6 address stands in brackets: ["
        "2001:db8::1])",
    ),
    "bad_resolver": (
        '[relay]\nresolver = "dns.example"\n',
        "relay.resolver: 'dns.example' is not an address",
    ),
    "empty_retry": ("[relay]\nretry = []\n", "relay.retry: an empty list"),
    "login_without_smarthost": (
        '[relay]\nusername = "u"\npassword = "p"\n',
        "relay.username: a log-in without a smarthost",
    ),
    "username_alone": (
        '[relay]\nsmarthost = "s.example"\nusername = "u"\n',
        "relay.password: missing beside username (both or none)",
    ),
    "bad_format": ('[log]\nformat = "xml"\n', 'log.format: \'xml\' is not possible ("text" or "json")'),
    "log_in_a_missing_folder": ('[log]\nfile = "no/mail.log"\n', "log.file: no is not a directory"),
    "capability_misspelt": (
        WITHOUT.replace("IDLE", "QUOTTA"),
        "imap.without[0].capabilities[0]: 'QUOTTA' is no capability of this server (did you mean \"QUOTA\"?)",
    ),
    "capability_that_is_the_protocol": (
        WITHOUT.replace("IDLE", "IMAP4rev1"),
        "imap.without[0].capabilities[0]: IMAP4rev1 cannot be switched off",
    ),
    "no_capability": (
        WITHOUT.replace('"IDLE"', ""),
        "imap.without[0].capabilities: missing (what is taken away, as",
    ),
    "no_reason": (
        '[[imap.without]]\ncapabilities = ["IDLE"]\n',
        "imap.without[0].reason: missing (why, in a few words: the log tells it)",
    ),
    "user_of_a_rule": (
        WITHOUT + 'users = ["a b"]\n',
        "imap.without[0].users[0]: 'a b' is no user (an address, as \"alice@example.org\")",
    ),
    "client_of_a_rule": (WITHOUT + 'clients = [""]\n', "imap.without[0].clients[0]: an empty name"),
    "key_of_a_rule": (
        WITHOUT + 'client = ["x"]\n',
        'imap.without[0].client: unknown key (did you mean "clients"?)',
    ),
    "rule_that_is_no_table": ("[imap]\nwithout = [1]\n", "imap.without[0]: expected a table with"),
    "control_characters": (
        '[relay]\nsmarthost = "a\\nb"\n',
        "relay.smarthost: 'a\\nb' has control characters",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_K1_a_wrong_file_is_told_with_file_and_key(tmp_path: Path, name: str) -> None:
    added, expected = WRONG[name]
    found = problems(write_site(tmp_path, CONFIG + added))
    assert len(found) == 1, found
    assert found[0].startswith(f"mailserver.toml: {expected}"), found


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("users_file = []\n", "mailserver.toml: users_file: an empty list"),
        ('users_file = "absent.toml"\n', "absent.toml: cannot be read: No such file or directory"),
        ('users_file = ["users.toml", "users.toml"]\n', "mailserver.toml: users_file: "),
        ("workers = 0\n", "mailserver.toml: workers: 0 is out of range"),
        ("hostname = 5\n", "mailserver.toml: hostname: expected a string, got a number"),
        ('hostname = "a b"\n', "mailserver.toml: hostname: 'a b' is not a domain name"),
        ('data_dir = "mailserver.toml"\n', "mailserver.toml: data_dir: mailserver.toml is not a directory"),
        ('data_dir = "mailserver.toml/x"\n', "mailserver.toml: data_dir: mailserver.toml/x cannot be made"),
        ('data_dir = ""\n', "mailserver.toml: data_dir: an empty path"),
        ('host_name = "x"\n', 'mailserver.toml: host_name: unknown key (did you mean "hostname"?)'),
    ],
)
def test_K1_wrong_keys_at_the_top(tmp_path: Path, added: str, expected: str) -> None:
    key = added.split(maxsplit=1)[0]
    kept = "".join(line for line in CONFIG.splitlines(True) if not line.startswith(key))
    found = problems(write_site(tmp_path, added + kept))
    assert any(line.startswith(expected) for line in found), found


def test_K1_an_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: "mail.example.org")
    found = problems(write_site(tmp_path, "data_dir = 'data'", users=""))
    assert found == ['mailserver.toml: domains: no domain is served (at least one [domains."example.org"])']


def test_K1_an_absent_file(tmp_path: Path) -> None:
    assert problems(tmp_path / "mailserver.toml") == [
        "mailserver.toml: cannot be read: No such file or directory"
    ]


def test_K1_a_folder_for_a_file(tmp_path: Path) -> None:
    assert problems(tmp_path)[0].endswith("is not a file")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("hostname = mail\n", "line 1, column 12: "),
        ('a = 1\nb = "x\n', "line 2, column "),
        ("[domains\n", "line 1, column 9: "),
        ("a = 1\na = 2\n", "line 2, column "),
    ],
)
def test_K1_a_syntax_error_is_told_with_its_line(tmp_path: Path, text: str, where: str) -> None:
    [line] = problems(write_site(tmp_path, text))
    assert line.startswith(f"mailserver.toml: {where}"), line


def test_K1_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = write_site(tmp_path)
    path.write_bytes(b'hostname = "a"\ndata_dir = "\xff"\n')
    assert problems(path) == ["mailserver.toml: line 2: is not UTF-8 (a TOML file is)"]


def test_K1_a_file_nested_too_deeply(tmp_path: Path) -> None:
    assert len(problems(write_site(tmp_path, "a = " + "[" * 100_000))) == 1


def test_K1_queue_path_is_a_file(tmp_path: Path) -> None:
    path = write_site(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "queue").touch()
    assert problems(path) == ["mailserver.toml: data_dir: data/queue is not a directory"]


def test_K1_data_dir_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    [line] = problems(write_site(tmp_path))
    assert "data_dir: data cannot be made: " in line


def test_all_faults_of_all_files_come_in_one_run(tmp_path: Path) -> None:
    config = CONFIG + 'postmaster = "carol"\n[limits]\nrecipents = 5\nhops = "many"\n[auth]\nthreads = 0\n'
    found = problems(write_site(tmp_path, config, USERS + '\n[users."eve@other.example"]\npasswort = "x"\n'))
    assert [line.split(": ")[:2] for line in found] == [
        ["mailserver.toml", "auth.threads"],
        ["mailserver.toml", "limits.hops"],
        ["mailserver.toml", "limits.recipents"],
        ["users.toml", 'users."eve@other.example".passwort'],
        ["users.toml", 'users."eve@other.example".password'],
        ["users.toml", 'users."eve@other.example"'],
        ["mailserver.toml", 'domains."example.org".postmaster'],
    ]


# --- certificates ----------------------------------------------------------------------------------

TLS = CONFIG + '[tls]\ncertificate = "cert.pem"\nkey = "cert-key.pem"\n'


def test_a_certificate_with_its_key(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "mail.example.org")
    loaded = read(write_site(tmp_path, TLS))
    assert (loaded.config.tls.certificate, loaded.config.tls.key) == (certificate, key)
    assert loaded.warnings == ()


def test_an_expired_certificate_is_a_warning(tmp_path: Path) -> None:
    write_certificate(tmp_path, "mail.example.org", days=-1)
    [warning] = read(write_site(tmp_path, TLS)).warnings
    assert warning.key == "tls.certificate"
    assert "has expired" in warning.text


def test_K1_key_of_another_certificate(tmp_path: Path) -> None:
    write_certificate(tmp_path, "mail.example.org")
    _, other = write_certificate(tmp_path, "mail.example.org", stem="other")
    other.rename(tmp_path / "cert-key.pem")
    assert problems(write_site(tmp_path, TLS)) == [
        "mailserver.toml: tls.key: cert-key.pem does not belong to cert.pem"
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cert.pem", "tls.certificate: cert.pem holds no PEM certificate"),
        ("cert-key.pem", "tls.key: cert-key.pem holds no PEM private key"),
    ],
)
def test_K1_empty_certificate_or_key(tmp_path: Path, name: str, expected: str) -> None:
    write_certificate(tmp_path, "mail.example.org")
    (tmp_path / name).write_bytes(b"")
    assert problems(write_site(tmp_path, TLS)) == [f"mailserver.toml: {expected}"]


def test_K1_a_key_that_everybody_can_read(tmp_path: Path) -> None:
    _, key = write_certificate(tmp_path, "mail.example.org")
    key.chmod(0o644)
    [line] = problems(write_site(tmp_path, TLS))
    assert line.startswith("mailserver.toml: tls.key: cert-key.pem can be read by everybody")


def test_a_key_that_its_group_can_read_is_fine(tmp_path: Path) -> None:
    _, key = write_certificate(tmp_path, "mail.example.org")
    key.chmod(0o640)
    load(write_site(tmp_path, TLS))


def test_more_certificates(tmp_path: Path) -> None:
    write_certificate(tmp_path, "mail.example.org")
    more = write_certificate(tmp_path, "mail.example.net", stem="net")
    text = TLS + '[[tls.more]]\ncertificate = "net.pem"\nkey = "net-key.pem"\n'
    config = load(write_site(tmp_path, text))
    assert [(item.certificate, item.key) for item in config.tls.more] == [more]


def test_faults_in_more_certificates_have_their_number(tmp_path: Path) -> None:
    write_certificate(tmp_path, "mail.example.org")
    text = TLS + '[[tls.more]]\ncertificate = "cert.pem"\n[[tls.more]]\nkeys = "a"\n[[tls.more]]\n'
    assert [line.split(": ")[1] for line in problems(write_site(tmp_path, text))] == [
        "tls.more[0].key",
        "tls.more[1].keys",
        "tls.more[2]",
    ]


# --- secrets that others can read ------------------------------------------------------------------


def test_K1_plain_passwords_in_a_world_readable_file_are_warned_of(tmp_path: Path) -> None:
    path = write_site(tmp_path)
    (tmp_path / "users.toml").chmod(0o644)
    [warning] = read(path).warnings
    assert warning.key == 'users."alice@example.org".password'
    assert "everybody" in warning.text


def test_K1_a_world_readable_relay_password_is_warned_of(tmp_path: Path) -> None:
    text = CONFIG + '[relay]\nsmarthost = "s.example"\nusername = "u"\npassword = "p"\n'
    path = write_site(tmp_path, text)
    assert read(path).warnings == ()
    path.chmod(0o644)
    assert [warning.key for warning in read(path).warnings] == ["relay.password"]


def test_no_secret_is_shown(tmp_path: Path) -> None:
    text = CONFIG + '[relay]\nsmarthost = "s.example"\nusername = "u"\npassword = "hush"\n'
    loaded = read(write_site(tmp_path, text))
    assert "hush" not in repr(loaded)
    assert "hunter2" not in repr(loaded)


def test_a_wrong_password_is_not_shown_in_its_fault(tmp_path: Path) -> None:
    write_site(tmp_path)
    write_users(tmp_path, '[users."alice@example.org"]\npassword = "topsecret"\n')
    [line] = problems(tmp_path / "mailserver.toml")
    assert "topsecret" not in line
    assert line.startswith('users.toml: users."alice@example.org".password: not a password hash')


def test_every_key_of_Config_is_read_from_the_file(tmp_path: Path) -> None:
    """A new field of the schema that `load` forgets is found here: its name must be a known key."""
    with pytest.raises(ConfigError) as caught:
        load(write_site(tmp_path, "zzzzzzz = 1\n" + CONFIG))
    [problem] = caught.value.problems
    accepted = problem.text.partition("accepted: ")[2].rstrip(")").split(", ")
    fields = set(attrs.fields_dict(Config)) - {"path", "users_files"} | {"users_file"}
    assert set(accepted) == fields


# --- log-in by certificate and by token -----------------------------------------------------------

OAUTH = '[auth.oauth]\nintrospection = "https://id.example.org/introspect"\nscope = "mail"\n'


def test_a_provider_of_tokens(tmp_path: Path) -> None:
    authority, _ = write_certificate(tmp_path, "id", stem="id")
    added = OAUTH + 'client_id = "mail"\nclient_secret = "s"\nauthority = "id.pem"\ncache = "0s"\n'
    loaded = read(write_site(tmp_path, CONFIG + added))
    assert loaded.warnings == ()
    assert loaded.config.auth.oauth == OAuth(
        "https://id.example.org/introspect", "mail", "s", scope="mail", cache=0.0, authority=authority
    )


def test_a_provider_without_a_scope_is_warned_of(tmp_path: Path) -> None:
    [warning] = read(write_site(tmp_path, CONFIG + OAUTH.replace('scope = "mail"\n', ""))).warnings
    assert "auth.oauth.scope: tokens that the provider gave for anything else" in str(warning)


def test_authorities_of_users(tmp_path: Path) -> None:
    write_certificate(tmp_path, "users", stem="users")
    write_certificate(tmp_path, "old", stem="old", days=-1)
    assert load(write_site(tmp_path, CONFIG + '[tls]\nclient_ca = "users.pem"\n')).tls.client_ca == (
        tmp_path / "users.pem"
    )
    [warning] = read(write_site(tmp_path, CONFIG + '[tls]\nclient_ca = "old.pem"\n')).warnings
    assert "has expired" in str(warning)


def test_lists_of_revoked_certificates(tmp_path: Path) -> None:
    authority, key_file = write_certificate(tmp_path, "users", stem="users")
    other, other_key = write_certificate(tmp_path, "others", stem="others")
    key, strange = (load_pem_private_key(file.read_bytes(), None) for file in (key_file, other_key))
    good = write_crl(tmp_path / "good.crl", authority, key)
    write_crl(tmp_path / "der.crl", authority, key, der=True)
    write_crl(tmp_path / "old.crl", authority, key, days=-1)
    write_crl(tmp_path / "other.crl", other, strange)
    section = '[tls]\nclient_ca = "users.pem"\nclient_crl = '
    loaded = read(write_site(tmp_path, CONFIG + section + '["good.crl", "der.crl"]\n'))
    assert loaded.warnings == () and loaded.config.tls.client_crl == (good, tmp_path / "der.crl")
    for name, text in (("old.crl", "is out of date"), ("other.crl", "who is not in client_ca")):
        [warning] = read(write_site(tmp_path, CONFIG + section + f'["{name}"]\n')).warnings
        assert text in str(warning)
    for rest, text in (
        (section + '["users.pem"]\n', "users.pem holds no list of revoked certificates"),
        (section + '["absent.crl"]\n', "absent.crl cannot be read"),
        ('[tls]\nclient_crl = ["good.crl"]\n', "tls.client_ca: missing beside client_crl"),
    ):
        with pytest.raises(ConfigError, match=text):
            read(write_site(tmp_path, CONFIG + rest))


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ('[tls]\nclient_ca = "absent.pem"\n', "tls.client_ca: absent.pem cannot be read"),
        ('[tls]\nclient_ca = "users.toml"\n', "tls.client_ca: users.toml holds no PEM certificate"),
        ("[auth.oauth]\nscope = 'x'\n", "auth.oauth.introspection: missing (who is asked"),
        (
            OAUTH.replace("https", "http"),
            "auth.oauth.introspection: 'http://id.example.org/introspect'",
        ),
        (
            OAUTH.replace("https://", "https://a@"),
            "auth.oauth.introspection: 'https://a@id.example.org/intro",
        ),
        (OAUTH.replace("id.example.org", ""), "auth.oauth.introspection: 'https:///introspect' is not a URL"),
        (OAUTH.replace("mail", "two words"), "auth.oauth.scope: 'two words' is not one word"),
        (OAUTH + 'client_secret = "x"\n', "auth.oauth.client_id: missing beside client_secret"),
        (OAUTH + 'client = "x"\n', 'auth.oauth.client: unknown key (did you mean "client_id"?)'),
    ],
)
def test_K1_wrong_authorities_and_providers(tmp_path: Path, added: str, expected: str) -> None:
    [found] = problems(write_site(tmp_path, CONFIG + added))
    assert found.startswith(f"mailserver.toml: {expected}")


def test_fingerprints_of_certificates(tmp_path: Path) -> None:
    added = 'certificates = ["SHA256:' + ":".join(["AB"] * 32) + '", "' + "cd" * 32 + '"]\n'
    path = write_site(tmp_path, users='[users."alice@example.org"]\npassword = "{PLAIN}x"\n' + added)
    assert read(path).users.users["alice@example.org"].certificates == ("ab" * 32, "cd" * 32)
    write_users(tmp_path, '[users."alice@example.org"]\npassword = "{PLAIN}x"\ncertificates = ["ab"]\n')
    assert "users.\"alice@example.org\".certificates[0]: 'ab' is no SHA-256 fingerprint" in problems(path)[0]


def test_K1_all_that_is_wrong_with_certificate_and_key_is_told_at_once(tmp_path: Path) -> None:
    section = '[tls]\ncertificate = "none.pem"\n'
    for more, other in (('key = "k.pem"\n', "cannot be read"), ("", "missing beside certificate")):
        with pytest.raises(ConfigError) as caught:
            read(write_site(tmp_path, CONFIG + section + more))
        told = {problem.key: problem.text for problem in caught.value.problems}
        assert "cannot be read" in told["tls.certificate"] and other in told["tls.key"]
