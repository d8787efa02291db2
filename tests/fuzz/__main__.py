"""Run targets under atheris for some seconds each, or one input again.

    python -m tests.fuzz [--seconds N] [--corpus FOLDER] [TARGET ...]
    python -m tests.fuzz TARGET FILE ...

Where there is no atheris (Python 3.14 and later, as yet) inputs are made of the seeds by chance, with no look
at what they reach.

What the fuzzer learns is kept in FOLDER (.fuzz) and used the next time. A finding ends its target: the input
is written to FOLDER/TARGET.found… and the command that repeats it is printed. Mend it, and move the file to
tests/fuzz/seeds/TARGET under a name that says what it is: the test suite plays it from then on.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.targets import MAX_LENGTH, SEEDS, TARGETS, Target

MEMORY = 2048  # MiB that a target may take
HANG = 30  # seconds after which an input that does not end is a finding


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz with atheris.")
    options.add_argument("--seconds", type=int, default=600, help="for each target (600)")
    options.add_argument(
        "--corpus", type=Path, default=Path(".fuzz"), help="what is kept between runs (.fuzz)"
    )
    options.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options.add_argument(
        "names", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; or TARGET FILE ..."
    )
    chosen = options.parse_args()
    names: list[str] = chosen.names or TARGETS
    if names[0] in TARGETS and any(name not in TARGETS for name in names):
        return _repeat(names[0], names[1:])
    if unknown := [name for name in names if name not in TARGETS]:
        options.error(f"no target {unknown[0]!r} (there are {', '.join(TARGETS)})")
    if chosen.inside:
        _fuzz(names[0], chosen.seconds, chosen.corpus)
        return 0
    failed = [name for name in names if not _run(name, chosen.seconds, chosen.corpus)]
    if failed:
        print(f"findings in {', '.join(failed)}")
    return 1 if failed else 0


def _repeat(name: str, files: list[str]) -> int:
    """Play inputs; the first that fails shows where."""
    target = Target(name)
    for file in files:
        print(f"{name}: {file}")
        target.check(Path(file).read_bytes())
    return 0


def _run(name: str, seconds: int, corpus: Path) -> bool:
    """A process for the target, for atheris never comes back from one. False where it found something."""
    (corpus / name).mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--inside",
        f"--seconds={seconds}",
        f"--corpus={corpus}",
        name,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode("utf-8", "replace")
    runs = re.search(r"stat::number_of_executed_units: *(\d+)", said)
    edges = re.findall(r"cov: (\d+)", said)
    took = re.search(r"Done \d+ runs in (\d+) second", said)
    count = f"{int(runs[1]):,} inputs in {took[1] if took else '?'} s" if runs else "ended early"
    print(f"{name}: {count}, {edges[-1] if edges else '?'} edges", flush=True)
    if done.returncode == 0:
        return True
    print(said[-4000:])
    for found in re.findall(r"Test unit written to (\S+)", said):
        print(f"{name}: repeat it with: python -m tests.fuzz {name} {found}", flush=True)
    return False


def _fuzz(name: str, seconds: int, corpus: Path) -> None:
    """Inside the process of a target. Atheris does not return."""
    try:
        import atheris  # noqa: PLC0415  # the extra `fuzz`
    except ImportError:
        _blindly(Target(name), seconds, corpus)
        return
    with atheris.instrument_imports(include=["mailserver"]):
        target = Target(name)
    words = corpus / f"{name}.words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.tokens))
    arguments = [
        *(sys.argv[0], os.fspath(corpus / name), os.fspath(SEEDS / name), f"-dict={words}"),
        *(f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", f"-artifact_prefix={corpus}/{name}.found."),
        *(f"-rss_limit_mb={MEMORY}", f"-timeout={HANG}", "-print_final_stats=1", "-use_value_profile=1"),
    ]
    atheris.Setup(arguments, target.check)
    atheris.Fuzz()


def _blindly(target: Target, seconds: int, corpus: Path) -> None:
    """Inputs by chance; the last that failed is written where atheris would have."""
    chance = random.Random()
    seeds = [path.read_bytes() for path in target.seeds()]
    count, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        data = _mutated(chance, seeds, target.tokens)
        try:
            target.check(data)
        except BaseException:
            found = Path(f"{corpus}/{target.name}.found.{count}")
            found.write_bytes(data)
            print(f"Test unit written to {found}")
            raise
        count += 1
    print(f"stat::number_of_executed_units: {count}\nDone {count} runs in {seconds} second(s)")


def _mutated(chance: random.Random, seeds: list[bytes], tokens: list[bytes]) -> bytes:
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 6)):
        at, end = sorted(chance.randint(0, len(data)) for _ in range(2))
        way = chance.randrange(4)
        if way == 0:
            data[at:at] = chance.choice(tokens)
        elif way == 1:
            data[at : min(end, at + 20)] = chance.randbytes(chance.randint(0, 4))
        elif way == 2:
            data[at:at] = data[at:end][:1000]
        else:
            other = chance.choice(seeds)
            data[at:end] = other[chance.randint(0, len(other)) :]
    return bytes(data[:MAX_LENGTH])


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


if __name__ == "__main__":
    sys.exit(main())
