"""The status page at "/", and the files that it is made of. They hold nothing of the gateway: the page asks /api."""

from __future__ import annotations

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/chart.js": ("chart.js", "text/javascript; charset=utf-8"),
}
# Names that clients choose are shown: what slipped through as markup could still load, run and send nothing.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


# Read here: who imports this may have given up the right to, by the time that it is served.
_CONTENTS = {name: files("tlsgate.ops").joinpath("page", name).read_bytes() for name, _ in _FILES.values()}


def page_routes() -> list[Route]:
    """What is served."""
    return [_route(path, name, media_type) for path, (name, media_type) in _FILES.items()]


def _route(path: str, name: str, media_type: str) -> Route:
    async def file(_request: Request) -> Response:
        return Response(_CONTENTS[name], headers=_HEADERS, media_type=media_type)

    return Route(path, file, methods=["GET"])
