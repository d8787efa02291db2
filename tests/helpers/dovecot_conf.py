"""How a Dovecot is set up that serves a few users for a test or a benchmark; works without pytest."""

from __future__ import annotations

import pwd
from pathlib import Path

CONFIG = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
first_valid_uid = 1
mail_location = maildir:~/Maildir
passdb {{
 driver = passwd-file
 args = username_format=%n {home}/users
}}
userdb {{
 driver = passwd-file
 args = username_format=%n {home}/users
}}
namespace inbox {{
 inbox = yes
}}
"""


def configuration(home: Path, settings: str) -> str:
    """The text of dovecot.conf. home: a folder of its own, where a file `users` has a `user` a line.
    settings: what there is besides; what stands here as well is overridden."""
    return CONFIG.format(home=home) + settings


def user(name: str, password: str, owner: pwd.struct_passwd, mail: Path, more: str = "") -> str:
    """A line of the file of users. owner: whose the mail is, which lies in a folder NAME below `mail`."""
    return f"{name}:{{PLAIN}}{password}:{owner.pw_uid}:{owner.pw_gid}::{mail}/{name}::{more}\n"
