"""Coverage-guided fuzzing of all that reads what strangers send, with atheris.

    make fuzz                        each target in turn, for SECS seconds
    make fuzz TARGET=imap SECS=3600
    python -m tests.fuzz imap FILE   one input again, without atheris

`targets` has a module for each target: `check(data)` feeds the octets to the code and asserts what holds for
any input; `TOKENS` are words that the fuzzer may put in. `seeds/TARGET/` has inputs to begin with; what was
found is kept there too. test_seeds.py plays all of them in the ordinary test suite.
"""
