"""`mailserver check`: is the configuration right?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import click

from mailserver.cli.common import config_option, json_option, print_json, show_problems
from mailserver.config.load import Loaded, read
from mailserver.config.problems import ConfigError, Problem


@click.command()
@config_option
@json_option
def check(config: Path, as_json: bool) -> None:
    """Check mailserver.toml and the users files; change nothing.

    Every problem is one line, FILE: KEY: what is wrong (what is accepted). What passes here is what the
    server starts with, and what a reload takes.

    \b
    Examples:
      mailserver check
      mailserver check -c /etc/mailserver/mailserver.toml --json

    Exit status 0: all is well (there may be warnings); 1: the server would not start.
    """
    loaded: Loaded | None = None
    problems: list[Problem] = []
    try:
        loaded = read(config)
    except ConfigError as error:
        problems = error.problems
    if as_json:
        print_json(_as_json(config, loaded, problems))
    elif loaded is not None:
        show_problems(loaded.warnings)
        _summary(loaded)
    else:
        show_problems(problems)
    if loaded is None:
        raise SystemExit(1)


def _summary(loaded: Loaded) -> None:
    config, users = loaded.config, loaded.users
    click.echo(f"{config.path}: good")
    click.echo(f"  hostname  {config.hostname}")
    click.echo(f"  data_dir  {config.data_dir}")
    click.echo(f"  domains   {', '.join(config.domains)}")
    click.echo(f"  users     {len(users.users)} ({len(users.aliases)} aliases)")
    for service, endpoints in attrs.asdict(config.listen).items():
        if endpoints:
            click.echo(f"  {service:<12}{' '.join(endpoints)}")


def _as_json(path: Path, loaded: Loaded | None, problems: list[Problem]) -> dict[str, Any]:
    value: dict[str, Any] = {
        "file": str(path),
        "good": loaded is not None,
        "problems": [_problem(problem) for problem in problems],
        "warnings": [_problem(problem) for problem in (loaded.warnings if loaded else ())],
    }
    if loaded is not None:
        value["hostname"] = loaded.config.hostname
        value["data_dir"] = str(loaded.config.data_dir)
        value["domains"] = list(loaded.config.domains)
        value["users"] = len(loaded.users.users)
        value["aliases"] = len(loaded.users.aliases)
        value["listen"] = attrs.asdict(loaded.config.listen)
    return value


def _problem(problem: Problem) -> dict[str, str]:
    return {"file": str(problem.file), "key": problem.key, "text": problem.text}
