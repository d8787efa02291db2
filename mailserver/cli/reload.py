"""`mailserver reload`: the running server reads its configuration again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from mailserver.cli.common import config_option, fail, json_option, load_or_exit, print_json, show_problems
from mailserver.processes.instance import running


@click.command()
@config_option
@json_option
def reload(config: Path, as_json: bool) -> None:
    """Have the running server read its configuration again.

    Users, domains, certificates, limits and relay settings change at once, and no session is dropped;
    hostname, data_dir, extensions, workers, listen and log wait for a restart. The files are checked first:
    faulty ones are told here and the server is left alone. (An edit of the users files needs no reload.)

    \b
    Example:
      mailserver reload -c /etc/mailserver/mailserver.toml
    """
    loaded = load_or_exit(config)
    show_problems(loaded.warnings)
    data_dir = loaded.config.data_dir
    try:
        pid = running(data_dir)
        if pid is None:
            fail(f"no server runs on {data_dir}")
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        fail(f"the server on {data_dir} cannot be told: {os.strerror(error.errno or 0)}")
    if as_json:
        print_json({"pid": pid})
    else:
        click.echo(f"told process {pid} to reload")
