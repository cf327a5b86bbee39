"""The Prometheus operator's kinds as a JSON schema, read from the source of a package that has them as Python classes.

To import it would take a client of Kubernetes, which is more than all the rest that lints deploy/.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.system.peers import missing

_PACKAGE = "cloudcoil.models.prometheus_operator"
_TYPES: dict[str, dict[str, Any]] = {
    "Any": {},
    "apimachinery.ObjectMeta": {"type": "object"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string"},
    "int": {"type": "integer"},
    "str": {"type": "string"},
}

Schema = dict[str, Any]


def schema_of(kind: str) -> Schema:
    """Strict: with the keys that the operator knows, and no others. Without the package the test skips."""
    return {"$ref": f"#/$defs/{kind}", "$defs": _definitions()}


@cache
def _definitions() -> Schema:
    tree = ast.parse(_source().read_text(encoding="utf-8"))
    return {each.name: _class(each) for each in tree.body if isinstance(each, ast.ClassDef)}


def _source() -> Path:
    try:
        spec = find_spec(_PACKAGE)
    except ModuleNotFoundError:
        spec = None
    roots = [] if spec is None or spec.submodule_search_locations is None else spec.submodule_search_locations
    sources = [Path(each, "v1.py") for each in roots]
    if not sources:
        missing(f"{_PACKAGE} of requirements/deploy.txt is not installed")
    return sources[0]


def _class(found: ast.ClassDef) -> Schema:
    fields = [each for each in found.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)]
    named = {_name(each): each.annotation for each in fields}
    if named.keys() == {"root"}:
        return _schema(named["root"])
    required = [name for name, annotation in named.items() if "Optional[" not in ast.unparse(annotation)[:20]]
    properties = {name: _schema(annotation) for name, annotation in named.items()}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _name(field: ast.AnnAssign) -> str:
    """The key in YAML."""
    alias = _said(field.annotation).get("alias")
    return str(alias) if alias else ast.unparse(field.target)


def _said(annotation: ast.expr) -> dict[str, object]:
    """What ``Annotated[…, Field(…)]`` says beside the type."""
    match annotation:
        case ast.Subscript(value=ast.Name("Annotated"), slice=ast.Tuple(elts=[_, ast.Call(keywords=keywords)])):
            return {each.arg: ast.literal_eval(each.value) for each in keywords if each.arg}
    return {}


def _schema(annotation: ast.expr) -> Schema:
    match annotation:
        case ast.Subscript(value=ast.Name("Annotated"), slice=ast.Tuple(elts=[kind, _])):
            pattern = str(_said(annotation).get("pattern", ""))
            return _schema(kind) | ({"pattern": pattern} if pattern and "(?i)" not in pattern else {})
        case ast.Subscript(value=ast.Name("Optional"), slice=kind):
            return _schema(kind)
        case ast.Subscript(value=ast.Name("List"), slice=kind):
            return {"type": "array", "items": _schema(kind)}
        case ast.Subscript(value=ast.Name("Dict"), slice=ast.Tuple(elts=[_, kind])):
            return {"type": "object", "additionalProperties": _schema(kind)}
        case ast.Subscript(value=ast.Name("Union"), slice=ast.Tuple(elts=kinds)):
            return {"anyOf": [_schema(each) for each in kinds]}
        case ast.Subscript(value=ast.Name("Literal"), slice=values):
            said = values.elts if isinstance(values, ast.Tuple) else [values]
            return {"enum": [ast.literal_eval(each) for each in said]}
    text = ast.unparse(annotation)
    return _TYPES.get(text, {"$ref": f"#/$defs/{text}"})
