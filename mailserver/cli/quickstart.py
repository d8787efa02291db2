"""`mailserver quickstart DOMAIN`: a configuration that runs, one user, and what is left to do."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from mailserver.auth.passwords import hash_password
from mailserver.cli.common import fail, json_option, new_password, print_json, show_problems
from mailserver.config.edit import add_user
from mailserver.config.load import read
from mailserver.config.names import domain_name
from mailserver.config.problems import ConfigError
from mailserver.errors import MailError
from mailserver.wire.address import normalise

CONFIG = """\
# Mail for {domain}. Every key, with its default, is explained in etc/mailserver.toml of the source.
hostname   = "{hostname}"
data_dir   = "{data_dir}"
users_file = "users.toml"

[domains."{domain}"]
postmaster = "{user}"

# The name that clients and other servers connect to has to stand in the certificate. Until these two are
# set, a self-signed one is made, and clients will complain.
[tls]
# certificate = "/etc/letsencrypt/live/{hostname}/fullchain.pem"
# key         = "/etc/letsencrypt/live/{hostname}/privkey.pem"
"""

USERS = """\
# Users of {domain}. An edit is in force within five seconds; `mailserver user add` and its
# sisters edit this file too, and keep your comments.

[aliases]
# "team@{domain}" = ["{user}@{domain}", "someone@elsewhere.example"]
"""


@click.command()
@click.argument("domain")
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    show_default="here",
    help="Where to write mailserver.toml and users.toml.",
)
@click.option("--hostname", help="The server's own name.  [default: mail.DOMAIN]")
@click.option("--user", "user", default="postmaster", show_default=True, help="The first user's local part.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/mailserver"),
    show_default=True,
    help="Where mail, queue and state are kept.",
)
@json_option
def quickstart(
    *, domain: str, directory: Path, hostname: str | None, user: str, data_dir: Path, as_json: bool
) -> None:
    """Write a ready configuration for DOMAIN with one user, and say what is left to do.

    Files that are there already are never touched.

    \b
    Examples:
      mailserver quickstart example.org
      mailserver quickstart example.org --user alice --directory /etc/mailserver
    """
    try:
        domain = domain_name(domain)
        hostname = domain_name(hostname or f"mail.{domain}")
        address = normalise(f"{user}@{domain}")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except MailError:
        raise click.UsageError(f"{user!r} is no local part") from None
    password = new_password()
    values = {"domain": domain, "hostname": hostname, "user": user, "data_dir": str(data_dir)}
    users = add_user(USERS.format(**values), address, {"password": hash_password(password)})
    path = directory / "mailserver.toml"
    write_files({path: CONFIG.format(**values), directory / "users.toml": users})
    try:
        show_problems(read(path).warnings)
    except ConfigError as error:  # a data_dir that only root can make, mostly
        show_problems(error.problems)
    records = dns_records(domain, hostname)
    if as_json:
        print_json(
            {
                "config": str(path),
                "address": address,
                "password": password,
                "dns": [" ".join(r) for r in records],
            }
        )
    else:
        click.echo(_next_steps(path, address, password, hostname, records))


def write_files(files: dict[Path, str]) -> None:
    """All of them, 0600, or none where one of them is there."""
    for path in files:
        if path.exists():
            fail(f"{path} is there already, nothing was written")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        fail(f"{error.filename or path}: {os.strerror(error.errno or 0)}")


def dns_records(domain: str, hostname: str) -> list[tuple[str, str, str]]:
    """Name, type and value of what the domain's zone needs (RFC 5321, 5; 7208; 7489; 6186; 8314)."""
    return [
        (f"{hostname}.", "A", "(this machine's IPv4 address; AAAA for IPv6)"),
        (f"{domain}.", "MX", f"10 {hostname}."),
        (f"{domain}.", "TXT", '"v=spf1 mx -all"'),
        (f"_dmarc.{domain}.", "TXT", f'"v=DMARC1; p=none; rua=mailto:postmaster@{domain}"'),
        (f"_submissions._tcp.{domain}.", "SRV", f"0 1 465 {hostname}."),
        (f"_submission._tcp.{domain}.", "SRV", f"5 1 587 {hostname}."),
        (f"_imaps._tcp.{domain}.", "SRV", f"0 1 993 {hostname}."),
        (f"_pop3s._tcp.{domain}.", "SRV", f"10 1 995 {hostname}."),
    ]


def _next_steps(
    path: Path, address: str, password: str, hostname: str, records: list[tuple[str, str, str]]
) -> str:
    width = max(len(record[0]) for record in records)
    zone = "\n".join(f"     {name:<{width}}  {kind:<4} {value}" for name, kind, value in records)
    return f"""\
Wrote {path} and {path.with_name("users.toml")}.

First user:  {address}
Password:    {password}      (shown this once; to change it: mailserver user passwd {address} -c {path})

Next steps:
  1. DNS, in the zone of the domain:
{zone}
     and with the one who gives you the address: its PTR record is {hostname}.
     (Machine's own name now: {socket.gethostname()})
  2. A certificate for {hostname}: set [tls] in {path}.
  3. Check:  mailserver check -c {path}
  4. Run:    twistd -n mailserver -c {path}
     (for good: etc/mailserver.service for systemd)
  5. In a mail client: {address}, IMAP {hostname} port 993 with TLS,
     SMTP {hostname} port 465 with TLS, the password above.
"""
