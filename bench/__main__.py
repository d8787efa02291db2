"""`python -m bench`: this server and its peers, turn about, in one run; ratios and what they should be.

Each repeat starts both servers afresh in turn, so that a machine that slows down slows both. Figures are
medians over the repeats. A ratio is ours divided by the peers'; the exit status is 1 where one misses its
aim.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench import crowd, large, workloads
from bench.servers import Ours, Peers
from bench.workloads import Result

# name -> (comparison, bound) for the ratio ours / peers; for latency the bound is in ms and ours alone
AIMS = {
    "SMTP in, durable and visible": (">=", 3.0),
    "SMTP in, server CPU": ("<=", 0.4),
    "UID FETCH 1:* (FLAGS)": ("<=", 0.7),
    "UID FETCH 1:* (ENVELOPE)": ("<=", 0.7),
    "SELECT": ("<=", 1.3),
    "STORE 1:* +FLAGS": ("<=", 1.3),
    "COPY of 1000": ("<=", 1.3),
    "all bodies by IMAP": ("<=", 1.3),
    "all bodies by POP3": ("<=", 1.3),
    "IMAP log-ins": (">=", 1.0),
    "POP3 log-ins": (">=", 1.0),
    "first open": ("<=", 1.0),
    "first ENVELOPE": ("<=", 1.5),
    "first SORT (DATE)": ("<=", 1.5),
    "first THREAD": ("<=", 1.5),
    "FETCH 1:* (ENVELOPE)": ("<=", 0.5),
    "FETCH 1:* (BODYSTRUCTURE)": ("<=", 1.0),
    "FETCH 1:* (HEADER.FIELDS)": ("<=", 1.0),
    "UID SEARCH UNSEEN": ("<=", 1.0),
    "SEARCH SUBJECT word": ("<=", 1.0),
    "SORT (DATE)": ("<=", 1.0),
    "SORT (SUBJECT)": ("<=", 1.0),
    "THREAD REFERENCES": ("<=", 1.0),
    "all bodies": (">=", 1.0),
    "STORE +FLAGS on a tenth": ("<=", 1.0),
    "COPY of a hundredth": ("<=", 1.0),
    "MOVE of a hundredth": ("<=", 1.0),
    "EXPUNGE of a hundredth": ("<=", 1.0),
    "QRESYNC after 10 changes": ("<=", 1.0),
    "SEARCH TEXT word": ("<=", 0.1),
    "mixed work of 20 clients": (">=", 1.5),
    "memory of an idle connection": ("<=", 0.05),
}
ABSOLUTE = {
    "250 to IDLE client, median": 20.0,
    "longest wait of another client": 50.0,
    "wake-up among many": 20.0,
}
GROUPS = ("smtp", "imap", "pop3", "logins", "idle")
MORE = ("large", "mixed", "many")  # of `make bench-imap`


def measure(server: object, groups: list[str], scale: float, cache: Path) -> list[Result]:
    found: list[Result] = []
    if "smtp" in groups:
        found += workloads.smtp_in(server, scale)
    if "idle" in groups:
        found += workloads.idle_latency(server, scale)
    if "imap" in groups:
        found += workloads.imap_10000(server, scale, cache)
    if "pop3" in groups:
        found += workloads.pop3_all(server, scale, cache)
    if "logins" in groups:
        found += workloads.logins(server, scale)
    if "large" in groups:
        found += large.imap_large(server, scale, cache)
    if "mixed" in groups:
        found += crowd.mixed(server, scale, cache)
    if "many" in groups:
        found += crowd.many_idle(server, scale)
    return found


def verdict(name: str, ours: float, peers: float | None) -> tuple[str, bool]:
    """(text, reached) for one line of the table."""
    if name in ABSOLUTE:
        return f"<= {ABSOLUTE[name]:g} ms", ours <= ABSOLUTE[name]
    if name not in AIMS or peers is None:
        return "", True
    sign, bound = AIMS[name]
    ratio = ours / peers
    return f"{sign} {bound:g}", ratio >= bound if sign == ">=" else ratio <= bound


def report(table: dict[str, dict[str, list[Result]]]) -> int:
    """Print the table; how many aims were missed."""
    missed = 0
    print(f"\n{'':34} {'ours':>10} {'peers':>10} unit    {'ratio':>6}  aim        CPU ms ours/peers")
    for name, by_label in table.items():
        values = {label: median(r.value for r in results) for label, results in by_label.items()}
        cpus = {
            label: median(r.cpu_ms for r in results)
            for label, results in by_label.items()
            if results[0].cpu_ms is not None
        }
        ours, peers = values.get("ours"), values.get("peers")
        aim, good = verdict(name, ours, peers) if ours is not None else ("", True)
        missed += not good
        ratio = f"{ours / peers:6.2f}" if ours and peers else " " * 6
        unit = next(iter(by_label.values()))[0].unit
        cpu = " / ".join(f"{cpus[label]:.2f}" for label in ("ours", "peers") if label in cpus)
        shown = [f"{value:10.2f}" if value is not None else " " * 10 for value in (ours, peers)]
        print(f"{name:34} {shown[0]} {shown[1]} {unit:7} {ratio}  {aim:8} {'' if good else 'X':1}  {cpu}")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "groups",
        nargs="*",
        default=list(GROUPS),
        help=f"of {', '.join(GROUPS)} (these, by default), {', '.join(MORE)}",
    )
    parser.add_argument("--repeat", type=int, default=3, help="how often each server is measured (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the load: 0.02 is a smoke run")
    parser.add_argument("--workers", type=int, default=1, help="processes of our server (1)")
    parser.add_argument("--only", choices=("ours", "peers"), help="one side alone, no ratios")
    parser.add_argument("--dir", type=Path, help="where the servers keep their mail (the temporary folder)")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    args = parser.parse_args()
    unknown = set(args.groups) - set(GROUPS) - set(MORE)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS + MORE)}")
    top = Path(tempfile.mkdtemp(prefix="mailserver-bench-", dir=args.dir))
    top.chmod(0o755)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    table: dict[str, dict[str, list[Result]]] = {}
    try:
        for turn in range(args.repeat):
            for kind in (Ours, Peers) if turn % 2 == 0 else (Peers, Ours):
                if args.only in (None, kind.label):
                    server = kind(top / f"{kind.label}{turn}", args.workers)
                    server.start()
                    try:
                        print(f"repeat {turn + 1} of {args.repeat}: {kind.label} …", flush=True)
                        for result in measure(server, args.groups, args.scale, top / "cache"):
                            table.setdefault(result.name, {}).setdefault(kind.label, []).append(result)
                    finally:
                        server.stop()
        missed = report(table)
        if args.json:
            flat = {n: {k: [r.value for r in rs] for k, rs in by.items()} for n, by in table.items()}
            args.json.write_text(json.dumps(flat, indent=1) + "\n")
    finally:
        shutil.rmtree(top, ignore_errors=True)
    if missed:
        print(f"{missed} aims missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
