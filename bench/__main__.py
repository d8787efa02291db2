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
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench import crowd, large, relaying, workloads
from bench.servers import Ours, Peers
from bench.workloads import Plan, Result

Aims = dict[str, tuple[str, float]]

# name -> (comparison, bound) for the ratio ours / peers; for latency the bound is in ms and ours alone
AIMS: Aims = {
    "SMTP in, durable and visible": (">=", 3.0),
    "SMTP in, server CPU": ("<=", 0.4),
    "SMTP in, a connection each": (">=", 3.0),
    "SMTP in, 64 KiB": (">=", 3.0),
    "SMTP in, 5 MiB": (">=", 1.5),
    "relay, in and out": (">=", 2.0),
    "relay, server CPU": ("<=", 0.5),
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
    "first BODYSTRUCTURE": ("<=", 1.5),
    "SEARCH TEXT, not indexed": ("<=", 1.0),
    "memory of an idle connection": ("<=", 0.05),
    "the same under TLS": ("<=", 0.2),
}
# with a process for every core
WORKERS_AIMS = {"SMTP in, durable and visible": (">=", 6.0), "SMTP in, server CPU": ("<=", 0.2)}
ABSOLUTE = {
    "final dot to IDLE client, median": 5.0,
    "250 to IDLE client, median": 20.0,
    "longest wait of another client": 50.0,
    "wake-up among many": 20.0,
    "wake-up among many under TLS": 20.0,
}
GROUPS = ("smtp", "kinds", "relay", "imap", "pop3", "logins", "idle")
LARGE = {"first": large.first, "warm": large.warm, "changes": large.changes, "words": large.words}
MORE = ("large", *LARGE, "mixed", "many", "tls")  # of `make bench-imap`; large is the four behind it


def measure(server: object, groups: list[str], plan: Plan) -> Iterator[Result]:
    scale, cache = plan.scale, plan.cache
    if "smtp" in groups:
        yield from workloads.smtp_in(server, scale)
    if "kinds" in groups:
        yield from workloads.smtp_kinds(server, scale)
    if "relay" in groups:
        yield from relaying.relay_out(server, scale)
    if "idle" in groups:
        yield from workloads.idle_latency(server, scale)
    if "imap" in groups:
        yield from workloads.imap_10000(server, scale, cache)
    if "pop3" in groups:
        yield from workloads.pop3_all(server, scale, cache)
    if "logins" in groups:
        yield from workloads.logins(server, scale)
    if "mixed" in groups:
        yield from crowd.mixed(server, plan)
    if "many" in groups:
        yield from crowd.many_idle(server, plan)
    if "tls" in groups:
        yield from crowd.many_idle(server, plan, tls=True)
    for group in LARGE if "large" in groups else [name for name in LARGE if name in groups]:
        yield from LARGE[group](server, plan)


def verdict(name: str, ours: float, peers: float | None, aims: Aims) -> tuple[str, bool]:
    """(text, reached) for one line of the table."""
    if name in ABSOLUTE:
        return f"<= {ABSOLUTE[name]:g} ms", ours <= ABSOLUTE[name]
    if name not in aims or peers is None:
        return "", True
    sign, bound = aims[name]
    ratio = ours / peers
    return f"{sign} {bound:g}", ratio >= bound if sign == ">=" else ratio <= bound


def report(table: dict[str, dict[str, list[Result]]], aims: Aims) -> int:
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
        aim, good = verdict(name, ours, peers, aims) if ours is not None else ("", True)
        missed += not good
        ratio = f"{ours / peers:6.2f}" if ours and peers else " " * 6
        unit = next(iter(by_label.values()))[0].unit
        cpu = " / ".join(f"{cpus[label]:.2f}" for label in ("ours", "peers") if label in cpus)
        shown = [f"{value:10.2f}" if value is not None else " " * 10 for value in (ours, peers)]
        print(f"{name:34} {shown[0]} {shown[1]} {unit:7} {ratio}  {aim:8} {'' if good else 'X':1}  {cpu}")
    return missed


def arguments() -> argparse.Namespace:
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
    parser.add_argument(
        "--keep",
        type=Path,
        help="keep the mail in this folder, and use what an earlier run left there (not for: "
        f"{', '.join(GROUPS)})",
    )
    parser.add_argument(
        "--rows",
        action="append",
        default=[],
        help=f"of {', '.join(LARGE)}: measure only rows with this text in their name; may be repeated",
    )
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    args = parser.parse_args()
    unknown = set(args.groups) - set(GROUPS) - set(MORE)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS + MORE)}")
    if args.keep and set(args.groups) & set(GROUPS):
        parser.error(f"--keep is for {', '.join(MORE)}")
    return args


def run(args: argparse.Namespace, top: Path, table: dict[str, dict[str, list[Result]]]) -> None:
    """Measure both servers in turn and fill the table; each row is shown as soon as it is known."""
    plan = Plan(args.scale, top / "cache", args.rows, bool(args.keep))
    for turn in range(args.repeat):
        for kind in (Ours, Peers) if turn % 2 == 0 else (Peers, Ours):
            if args.only not in (None, kind.label):
                continue
            server = kind(top / (kind.label if args.keep else f"{kind.label}{turn}"), args.workers)
            server.start()
            try:
                print(f"repeat {turn + 1} of {args.repeat}: {kind.label} …", flush=True)
                for result in measure(server, args.groups, plan):
                    cpu = f"   CPU {result.cpu_ms:.2f} ms" if result.cpu_ms is not None else ""
                    print(f"  {result.name:34} {result.value:10.2f} {result.unit}{cpu}", flush=True)
                    table.setdefault(result.name, {}).setdefault(kind.label, []).append(result)
            finally:
                server.stop()


def main() -> int:
    args = arguments()
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    top = (
        args.keep.resolve() if args.keep else Path(tempfile.mkdtemp(prefix="mailserver-bench-", dir=args.dir))
    )
    top.chmod(0o755)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for `many`; the servers inherit it
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    table: dict[str, dict[str, list[Result]]] = {}
    try:
        run(args, top, table)
        missed = report(table, AIMS if args.workers == 1 else AIMS | WORKERS_AIMS)
        if args.json:
            flat = {n: {k: [r.value for r in rs] for k, rs in by.items()} for n, by in table.items()}
            args.json.write_text(json.dumps(flat, indent=1) + "\n")
    finally:
        if not args.keep:
            shutil.rmtree(top, ignore_errors=True)
    if missed:
        print(f"{missed} aims missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
