"""Runs one target under atheris: ``python -m fuzz.run TARGET --seconds N``. What it finds is in build/fuzz/TARGET.

A finding is a file ``crash-…``: kept in fuzz/seeds/TARGET, it is a case of the tests from then on.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from fuzz.targets import NAMES

_ROOT = Path(__file__).parent
_BUILD = _ROOT.parent / "build" / "fuzz"

# What reads the input before we do, so that the fuzzer sees its ways too.
_LIBRARIES = {"auth_http": ("h11",), "dns_answer": ("dns",), "jwk": ("joserfc",), "jwt": ("joserfc",)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--longest", type=int, default=4096, help="octets of an input")
    arguments = parser.parse_args()

    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

    with atheris.instrument_imports(include=["tlsgate", *_LIBRARIES.get(arguments.target, ())]):
        target = importlib.import_module(f"fuzz.targets.{arguments.target}")

    corpus, seeds = _BUILD / arguments.target / "corpus", _ROOT / "seeds" / arguments.target
    corpus.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={arguments.longest}",
        f"-artifact_prefix={corpus.parent}/",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus), str(seeds)], target.fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
