"""What Perdition does to user names, and where it looks up their servers."""

from __future__ import annotations

from collections.abc import Mapping

from tlsgate.config.fault import Wrong, shown
from tlsgate.config.values import parse_domain
from tlsgate.importing.draft import Draft, Table
from tlsgate.importing.perdition_syntax import Option
from tlsgate.importing.reading import Place

Options = Mapping[str, Option]

_STATES = {"servername_lookup", "local_authentication", "remote_login"}


def names(draft: Draft, options: Options, pool: Table) -> None:
    """Domains added and stripped: what the backends see must stay the same."""
    delimiter = options.get("domain_delimiter")
    if delimiter is not None and delimiter.value not in ("", "@"):
        draft.lost(delimiter.place, f'domain_delimiter {shown(delimiter.value)}: it is "@" here', draft.auth)
        for name in ("add_domain", "strip_domain"):
            if name in options:
                draft.lost(options[name].place, f"{name}: by that delimiter only", draft.auth)
        return
    stripped = _states(options.get("strip_domain"))
    if "remote_login" in stripped:
        pool.keys["strip_domain"] = True
    elif stripped:
        text = "strip_domain: it is for the backends here, and for all that is looked up the whole name counts"
        draft.lost(options["strip_domain"].place, text, pool)
    _added(draft, options, "remote_login" in stripped)


def _states(option: Option | None) -> set[str]:
    if option is None:
        return set()
    words = {each.strip().lower() for each in option.value.split(",")}
    return _STATES if "all" in words else words & _STATES


def _added(draft: Draft, options: Options, stripped: bool) -> None:
    """``stripped``: before a backend sees it."""
    option, domain = options.get("add_domain"), options.get("explicit_domain")
    if option is None or not option.value:
        return
    if domain is None or not domain.value:
        draft.lost(
            option.place, "add_domain: the name of our address isn't asked for; use auth.default_domain", draft.auth
        )
        return
    if "remote_login" not in _states(option) and not stripped:
        text = "add_domain: auth.default_domain would reach the backends too, which were sent the name without it"
        draft.lost(option.place, text, draft.auth)
        return
    try:
        draft.auth.keys["default_domain"] = parse_domain(domain.value)
    except Wrong:
        draft.lost(domain.place, f"explicit_domain {shown(domain.value)}: is no domain", draft.auth)


def popmap(draft: Draft, options: Options, start: Place) -> None:
    """Users' own servers. Its options may hold a password."""
    library = options.get("map_library")
    place = library.place if library is not None else start
    text = "users' own servers: give each a pool, and the users a line in auth.user_map, or a pattern in [[routes]]"
    if library is not None and library.value:
        draft.lost(place, f"map_library: {text}", draft.auth)
    elif library is None and ((start.file.parent / "popmap.gdbm.db").exists() or "map_library_opt" in options):
        draft.lost(options.get("map_library_opt", Option(start, "", "")).place, f"popmap: {text}", draft.auth)
    elif library is None:
        draft.auth.remarks.append("Perdition looks users up in popmap.gdbm.db first; here that is auth.user_map")
