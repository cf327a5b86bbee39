"""Which events the code logs, at which levels and with which fields, as its source has them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.pages import ROOT

SOURCE = ROOT / "tlsgate"
# Of each event that a session logs: SessionTrace adds them.
OF_SESSIONS = frozenset({"session", "client", "listener"})
_REMARK = frozenset({"about", "reason"})
_FILE = frozenset({"path", "users", "remarks"})


@dataclass(slots=True)
class Event:
    """One event; of several calls that log it, all that they say."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    of_session: bool = False


class Unreadable(Exception):
    """A call whose event can't be told from the source."""


def logged() -> dict[str, Event]:
    """Every event by its name. Raises Unreadable."""
    events: dict[str, Event] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for call, function in _calls(ast.parse(path.read_text(encoding="utf-8"))):
            _note(events, call, function, path)
    return events


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Each call, and the innermost function that it is in."""

    def within(node: ast.AST, function: ast.AST) -> Iterator[tuple[ast.Call, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Call):
                yield child, inner
            yield from within(child, inner)

    yield from within(tree, tree)


# Functions of followed_files.py and prepared.py that take an event's name and log it, and places that pass one on.
_PASSED_ON = {
    ("trace.py", "_emit"),
    ("gateway.py", "_serve"),
    ("followed_files.py", "_tell"),
    ("followed_files.py", "_fault"),
}
_PASSED_ON |= {("prepared.py", "line_remarks"), ("followed_files.py", "told_of_lines")}


def _note(events: dict[str, Event], call: ast.Call, function: ast.AST, path: Path) -> None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    where = (path.name, getattr(function, "name", ""))
    arguments = call.args
    match name:
        case "emit" | "_emit" if isinstance(call.func, ast.Attribute):
            found = _event(events, arguments[0], where)
            if found is not None:
                found.levels |= _levels(arguments[1], function) if len(arguments) > 1 else {"info"}
                found.fields |= _fields(call, function)
                found.of_session |= name == "_emit"
        case "write" if len(arguments) == 3 and ast.unparse(call.func).endswith("log.write"):
            found = _event(events, arguments[0], where)
            if found is not None:
                named = _keys(arguments[2])
                found.levels |= _levels(arguments[1], function)
                found.fields |= (named | _keys(function)) - OF_SESSIONS
                found.of_session |= named >= OF_SESSIONS
        case "Remark":
            _remark(_event(events, arguments[0], where))
        case "line_remarks":
            _remark(_event(events, arguments[0], where))
        case "partial" if getattr(arguments[0], "id", "") == "_fault":
            found = _event(events, arguments[2], where)
            if found is not None:
                found.levels.add("warning")
                found.fields.add("reason")
        case "_tell" | "told_of_lines" if isinstance(call.func, ast.Name):
            found = _event(events, arguments[0], where)
            if found is not None and isinstance(arguments[0], ast.Constant):
                found.levels.add("info")
                found.fields |= _FILE
                _remark(events.setdefault(f"{ast.literal_eval(arguments[0])}_fault", Event()))


def _remark(event: Event | None) -> None:
    if event is not None:
        event.levels.add("warning")
        event.fields |= _REMARK


def _event(events: dict[str, Event], name: ast.expr, where: tuple[str, str]) -> Event | None:
    """None where a function passes on what its callers say."""
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        return events.setdefault(name.value, Event())
    if where in _PASSED_ON:
        return None
    raise Unreadable(f"{where}: {ast.unparse(name)}")


def _levels(level: ast.expr, function: ast.AST) -> set[str]:
    if isinstance(level, ast.Name):
        given = [each.value for each in ast.walk(function) if isinstance(each, ast.Assign) and _assigns(each, level.id)]
        return set().union(*(_levels(each, function) for each in given))
    if isinstance(level, ast.IfExp):
        return _levels(level.body, function) | _levels(level.orelse, function)
    return {each.value for each in ast.walk(level) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def _assigns(assignment: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in assignment.targets)


def _fields(call: ast.Call, function: ast.AST) -> set[str]:
    """Those named in the call; where it takes a mapping too, those of the mappings that its function writes out."""
    named = {each.arg for each in call.keywords if each.arg is not None}
    if len(named) < len(call.keywords):
        named |= _keys(function)
    return named


def _keys(node: ast.AST) -> set[str]:
    """Of all mappings that are written out within."""
    written = [each for each in ast.walk(node) if isinstance(each, ast.Dict)]
    return {str(key.value) for each in written for key in each.keys if isinstance(key, ast.Constant)}
