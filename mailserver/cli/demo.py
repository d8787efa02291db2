"""`mailserver demo DIR`: a server to play with, on loopback and high ports, for `make run`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import click

from mailserver.auth.passwords import hash_password
from mailserver.cli.common import fail, json_option, new_password, print_json
from mailserver.cli.quickstart import write_files
from mailserver.config.load import read
from mailserver.config.problems import ConfigError

DOMAIN = "example.test"
HOST = "127.0.0.1"
PORTS = {
    "smtp": 2525,
    "submission": 2587,
    "submissions": 2465,
    "imap": 2143,
    "imaps": 2993,
    "pop3": 2110,
    "pop3s": 2995,
}
USERS = ("alice", "bob")

CONFIG = """\
# A demonstration server: loopback only, high ports, two users. Edit it as you like; it is written once.
hostname   = "localhost.localdomain"
data_dir   = "data"
users_file = "users.toml"

[domains."{domain}"]
postmaster = "alice"

[listen]
{listen}

[auth]
allow_cleartext = true      # the certificate is self-signed, and nothing leaves this machine

[limits]
connections_per_ip = 1000
"""


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=Path("demo"))
@json_option
def demo(directory: Path, as_json: bool) -> None:
    """Write a demonstration server into DIRECTORY, or say how to use the one that is there.

    \b
    Example:
      mailserver demo demo && twistd -n mailserver -c demo/mailserver.toml
    """
    config, log_ins = directory / "mailserver.toml", directory / "log-ins.txt"
    if not config.exists():
        _write(directory)
    try:
        endpoints = read(config).config.listen
        people = dict(line.split() for line in log_ins.read_text().splitlines() if line)
    except ConfigError as error:
        fail(str(error))
    except (OSError, ValueError) as error:
        fail(f"{log_ins}: {error} (remove {directory} to begin anew)")
    ports = {service: _port(getattr(endpoints, service)) for service in PORTS}
    if as_json:
        print_json({"config": str(config), "host": HOST, "ports": ports, "users": people})
    else:
        click.echo(_how_to(config, ports, people))
    taken = [f"{service} {port}" for service, port in ports.items() if port and _taken(port)]
    if taken:
        fail(f"ports in use already: {', '.join(taken)} (stop what runs there, or edit {config})")


def _write(directory: Path) -> None:
    passwords = {f"{name}@{DOMAIN}": new_password() for name in USERS}
    listen = "\n".join(f'{name:<11} = ["tcp:{port}:interface={HOST}"]' for name, port in PORTS.items())
    users = "".join(
        f'[users."{address}"]\npassword = "{hash_password(password)}"\n\n'
        for address, password in passwords.items()
    )
    write_files(
        {
            directory / "log-ins.txt": "".join(f"{who} {word}\n" for who, word in passwords.items()),
            directory / "users.toml": users
            + f'[aliases]\n"team@{DOMAIN}" = ["alice@{DOMAIN}", "bob@{DOMAIN}"]\n',
            directory / "mailserver.toml": CONFIG.format(domain=DOMAIN, listen=listen),
        }
    )


def _port(endpoints: tuple[str, ...]) -> int:
    """The port of a service's first TCP endpoint, 0 where it has none."""
    for endpoint in endpoints:
        words = endpoint.split(":")
        if words[0] == "tcp" and words[1].isdigit():
            return int(words[1])
    return 0


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _how_to(config: Path, ports: dict[str, int], people: dict[str, str]) -> str:
    log_ins = "\n".join(f"    {who:<24} password  {word}" for who, word in people.items())
    first, word = next(iter(people.items()))
    second = [*people, first][1]
    command = sys.argv[0] if Path(sys.argv[0]).name == "mailserver" else "mailserver"
    return f"""\
A mail server for {DOMAIN} on this machine, in {config.parent}/ (kept between runs).

  Log in as
{log_ins}

  In a mail client (Thunderbird, mutt, …), for {first}:
    incoming  IMAP   {HOST} port {ports["imap"]}    no encryption, normal password
        or    POP3   {HOST} port {ports["pop3"]}
    outgoing  SMTP   {HOST} port {ports["submission"]}    no encryption, normal password
    TLS on    IMAP {ports["imaps"]}, POP3 {ports["pop3s"]}, SMTP {ports["submissions"]}; STARTTLS elsewhere
    (the certificate is self-signed: accept the exception)

  Or from a shell, a message from {first} to {second}, and its mailbox:
    printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n' | \\
      curl -sS smtp://{HOST}:{ports["submission"]} -u {first}:{word} \\
        --mail-from {first} --mail-rcpt {second} -T -
    curl -sS imap://{HOST}:{ports["imap"]}/INBOX -u {second}:{people[second]} \\
        -X 'FETCH 1:* (FLAGS ENVELOPE)'

  As another server would deliver (no log-in): port {ports["smtp"]}, for {DOMAIN} only.
  New users: {command} user add carol@{DOMAIN} -c {config}
  Mail to other domains is really sent out.
"""
