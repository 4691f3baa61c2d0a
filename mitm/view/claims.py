"""The lines about a registry token: whose it is, how long, and what it opens.

The signature is never shown, also where the flow has it. Nor is any other JWT, because
that of a user's session has secrets among its claims; a registry's has an access list.
"""

from typing import Any

from mitm.story.record import COMMIT_LENGTH
from mitm.view.line import cell, fields, first, rest, section, shown, table
from resolver import errors
from resolver.grammar.timestamp import (
    describe_duration,
    format_timestamp,
    read_seconds,
)
from resolver.release.release import Release
from resolver.token import claims, suffix

NO_TOKEN = "  no registry token; what else it is, as a key, is not shown"  # noqa: S105
_REPOSITORY = "repository"
_ACCESS_COLUMNS = ("repository", "actions", "alias that the API knows it by")


def describe_token(text: str, expires_in: object = None) -> list[str]:
    """Return what a token says; `expires_in` is what its answer promised."""
    jwt, separator, _ = text.partition(claims.SEPARATOR)
    payload = claims.read_payload(jwt)
    if "access" not in payload:
        return [NO_TOKEN, *fields(_promise(payload, expires_in, suffix.Aliases()))]
    aliases, unreadable = suffix.Aliases(), ""
    if separator:
        try:
            aliases = claims.parse_token(text).aliases
        except errors.TokenInvalid as error:
            unreadable = f"{error.message}, so it is good for locations only"
    return [
        *fields(
            [
                ("who", _subject(payload.get("sub"))),
                ("issuer", shown(payload.get("iss"))),
                ("audience", shown(payload.get("aud"))),
                ("issued", _issued(payload)),
                ("valid", _valid(payload)),
                *_promise(payload, expires_in, aliases),
                *((("aliases", unreadable),) if unreadable else ()),
            ]
        ),
        *_refusals(aliases),
        *_locations(aliases),
        *_tags(aliases),
        *_access(payload["access"]),
    ]


def _subject(value: object) -> str:
    return shown(value) if value else "anonymous, without a login"


def _issued(claims: dict[str, Any]) -> str:
    issued, begin = (_seconds(claims.get(name)) for name in ("iat", "nbf"))
    text = describe_moment(claims.get("iat"))
    if issued is None or begin is None or begin == issued:
        return text
    order = "earlier" if begin < issued else "later"
    return f"{text}, valid from {describe_duration(abs(issued - begin))} {order}"


def _valid(claims: dict[str, Any]) -> str:
    issued, expiry = (_seconds(claims.get(name)) for name in ("iat", "exp"))
    text = f"until {describe_moment(claims.get('exp'))}"
    if issued is None or expiry is None:
        return text
    if expiry < issued:
        return f"{text}, which is before it was issued"
    return f"{text}, for {describe_duration(expiry - issued)}"


def _seconds(value: object) -> int | None:
    """Return the seconds of a NumericDate (RFC 7519), or None for what is none."""
    seconds = read_seconds(value)
    return None if seconds is None else int(seconds)


def describe_moment(value: object) -> str:
    """Return a NumericDate as a date; what is none as it stands."""
    seconds = _seconds(value)
    return shown(value) if seconds is None else format_timestamp(seconds)


def _promise(
    claims: dict[str, Any], expires_in: object, aliases: suffix.Aliases
) -> list[tuple[str, str]]:
    """Return what the client was told of the time, where that is another one."""
    if expires_in is None:
        return []
    issued, expiry, seconds = (
        _seconds(value) for value in (claims.get("iat"), claims.get("exp"), expires_in)
    )
    if seconds is None:
        return [("told", "the client a time that is none")]
    if issued is not None and expiry is not None and expiry - issued == seconds:
        return []
    is_many = not all(found.is_fixed for found in aliases.candidates.values())
    cause = "the refusal" if aliases.refusals else is_many and "its tags"
    why = f", because of {cause}, so that it soon asks again" if cause else ""
    duration = describe_duration(seconds)
    return [("told", f"the client that it is good for {duration}{why}")]


def _refusals(aliases: suffix.Aliases) -> list[str]:
    lines = fields(
        (alias, f"{refusal.code}: {refusal.message}")
        for alias, refusal in aliases.refusals.items()
    )
    return section("refused", lines)


def _locations(aliases: suffix.Aliases) -> list[str]:
    rows = [
        (cell(name), cell(place))
        for name, found in aliases.candidates.items()
        if found.is_fixed
        for place in found.locations
    ]
    return section("stands for", table(("alias", "location"), rows) if rows else [])


def _tags(aliases: suffix.Aliases) -> list[str]:
    rows = [
        (
            cell(f"{alias}:{row.release.raw_version.replace('+', '_')}"),
            cell(row.release.commit[:COMMIT_LENGTH]),
            cell(row.location or _unplaced(row.release)),
        )
        for alias, found in aliases.candidates.items()
        for row in found.rows
        if row.release
    ]
    columns = ("tag", "commit", "location")
    return section("tags select", table(columns, rows) if rows else [])


def _unplaced(release: Release) -> str:
    """Return why a tag cannot pull the release."""
    return "several images" if len(release.images) > 1 else "another registry"


def _access(access: object) -> list[str]:
    if not isinstance(access, list):
        return section("opens", [f"  no list: {shown(access)}"])
    if not access:
        return section("opens", ["  nothing"])
    rows = [_entry(entry) for entry in first(access)]
    columns = 3 if any(alias for _, _, alias in rows) else 2
    lines = table(_ACCESS_COLUMNS[:columns], [row[:columns] for row in rows])
    return section("opens", [*lines, *rest(access)])


def _entry(entry: object) -> tuple[str, str, str]:
    if not isinstance(entry, dict):
        return cell(entry), "", ""
    name, kind = cell(entry.get("name")), entry.get("type", _REPOSITORY)
    alias = cell(entry["alias"]) if "alias" in entry else ""
    is_usual = kind == _REPOSITORY
    return (
        name if is_usual else f"{name} ({cell(kind)})",
        _actions(entry.get("actions")),
        alias,
    )


def _actions(actions: object) -> str:
    if isinstance(actions, list) and all(isinstance(each, str) for each in actions):
        return cell(", ".join(actions)) if actions else "nothing"
    return cell(actions)
