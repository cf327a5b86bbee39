"""The config file: read, taken apart, and either a Config or every fault of it."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

from tlsgate.config.build import build
from tlsgate.config.fault import ConfigError, Fault, Finding, dotted
from tlsgate.config.rules import broken_rules
from tlsgate.config.schema import Config

_LARGEST = 1024**2


def load(path: Path) -> Config:
    """The config in a file. Raises ConfigError, with every fault of it. Reads the file: not for the trio loop.

    The files that it names are neither read nor looked for; relative ones are from the directory of ``path``.
    """
    text = _read(path)
    config, findings = build(_parse(path, text), path.absolute().parent)
    findings.extend(broken_rules(config))
    if findings:
        raise ConfigError(_faults(path, text, findings))
    return config


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise _unusable(path, f"can't be read: {error.strerror}", "name a readable TOML file") from None
    except ValueError:  # a NUL in the path
        raise _unusable(path, "is not a path", "name a readable TOML file") from None
    if len(data) > _LARGEST:
        raise _unusable(path, "is larger than 1 MiB", "name the TOML file of the config")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _unusable(path, "is not UTF-8", "save it as UTF-8", line) from None


# How tomllib ends its messages.
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def _parse(path: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _PLACE.search(message)
        if place is None or place[1] is None:
            line, where = text.rstrip("\n").count("\n") + 1, "the end of the file"
        else:
            line, where = int(place[1]), f"column {place[2]}"
        problem = _PLACE.sub("", message)
        raise _unusable(path, f"is not TOML: {problem[:1].lower()}{problem[1:]}", f"look at {where}", line) from None
    except (ValueError, RecursionError):
        raise _unusable(path, "holds a number too long or lists too deep to read", "remove it") from None


def _unusable(path: Path, problem: str, expected: str, line: int | None = None) -> ConfigError:
    return ConfigError((Fault(path, "", problem, expected, line),))


def _faults(path: Path, text: str, findings: list[Finding]) -> tuple[Fault, ...]:
    from tlsgate.config.lines import Lines  # only for files with faults: no start waits for it

    lines = Lines(text)
    faults = [Fault(path, dotted(each.key), each.problem, each.expected, lines.of(each.key)) for each in findings]
    return tuple(sorted(faults, key=lambda fault: math.inf if fault.line is None else fault.line))
