"""What a URL asks for: a resource and a tree of query options.

```
url      = "/" version "/" resource [ "(" key ")" ] [ "/$count" ] [ "?" options ]
options  = option *( "&" option )          ; ";" separates them within $expand
option   = "$" name "=" value | text "=" text
```

The API reads the URL without decoding it first: outside a string literal only
the space (also ``+``), the apostrophe, the dollar of an option and the sign of a
number may be percent-encoded, within a literal everything may.
https://github.com/balena-io-modules/odata-parser
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from odata_query import ast

from localcloud.odata.error import MalformedUrlError
from localcloud.odata.filter import parse_filter

_PATH = re.compile(
    r"""
    /(?P<version>v\d+)
    /(?P<resource>[^:/?\#\[\]@!$*&()+,;=\s%']+)
    (?:\((?P<key>.*)\) | (?P<count>/\$count))?
    """,
    re.VERBOSE,
)
_NAME = re.compile(r"[^:/?#\[\]@!$*&()+,;=\s%']+")
_TEXT = re.compile(r"[^:/?#\[\]@!$*&()+,;=]*")
_ESCAPE = re.compile("%(?P<code>[0-9A-Fa-f]{2})")
_ORDER = re.compile(rf"(?P<path>{_NAME.pattern}(?:/{_NAME.pattern})*)(?: +(asc|desc))?")
_EXPAND = re.compile(rf"(?P<name>{_NAME.pattern})(?:\((?P<options>.*)\))?", re.DOTALL)
_UNSIGNED = re.compile(r"[0-9]{1,18}")
_OUTSIDE = {"20": " ", "24": "$", "2B": "+"}


@dataclass(frozen=True, slots=True)
class Order:
    """One key to sort by: a field, or one behind links to one."""

    path: tuple[str, ...]
    is_descending: bool = True


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a resource, or of an expanded link."""

    select: tuple[str, ...] | None = None
    filter: ast._Node | None = None
    orderby: tuple[Order, ...] = ()
    top: int | None = None
    skip: int = 0
    expand: tuple[tuple[str, "Query"], ...] = ()


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL."""

    resource: str
    query: Query
    key: Mapping[str, str | int] | None = None
    is_count: bool = False


def parse_url(target: str) -> Url:
    """Read a request target, of whatever version."""
    path, _, options = target.partition("?")
    match = _PATH.fullmatch(path)
    if match is None:
        raise MalformedUrlError(target)
    key = match["key"]
    return Url(
        resource=match["resource"],
        query=_parse_query(list(_split_options(options))) if options else Query(),
        key=None if key is None else _parse_key(_decode(key)),
        is_count=match["count"] is not None,
    )


def _split_options(text: str) -> Iterator[str]:
    """Give the query's ``$`` options, decoded."""
    rest = text
    while rest:
        if not rest.startswith(("$", "%24")):
            name_value, _, rest = rest.partition("&")
            parts = name_value.split("=")
            if len(parts) != 2 or not all(map(_TEXT.fullmatch, parts)):  # noqa: PLR2004
                raise MalformedUrlError(text)
            continue
        end = _end_of_option(rest)
        yield _decode(rest[:end])
        rest = rest[end + 1 :]


def _end_of_option(text: str) -> int:
    depth = 0
    is_literal = False
    for match in re.finditer(r"'|%27|[()&]", text):
        if match[0] in {"'", "%27"}:
            is_literal = not is_literal
        elif is_literal:
            continue
        elif match[0] == "&" and depth == 0:
            return match.start()
        else:
            depth += {"(": 1, ")": -1}.get(match[0], 0)
    return len(text)


def _decode(text: str) -> str:
    """Decode what may be encoded; literals come out quoted by apostrophes.

    A doubled apostrophe ends a literal and begins the next at once, so that it
    needs no care of its own.
    """
    pieces = re.split("('|%27)", text)
    decoded = []
    for position, piece in enumerate(pieces[::2]):
        if position % 2:
            try:
                decoded.append(unquote(piece, errors="strict"))
            except UnicodeDecodeError as error:
                raise MalformedUrlError(text) from error
        else:
            decoded.append(_ESCAPE.sub(_decode_outside, piece.replace("+", " ")))
            if "%" in decoded[-1]:
                raise MalformedUrlError(text)
    if len(decoded) % 2 == 0:
        raise MalformedUrlError(text)
    return "'".join(decoded)


def _decode_outside(match: re.Match[str]) -> str:
    return _OUTSIDE.get(match["code"].upper(), "%")


def _split(text: str, separators: str) -> list[str]:
    """Split where a separator stands outside literals and brackets."""
    parts = [""]
    depth = 0
    is_literal = False
    for character in text:
        is_literal ^= character == "'"
        if not is_literal:
            depth += {"(": 1, ")": -1}.get(character, 0)
            if depth == 0 and character in separators:
                parts.append("")
                continue
        parts[-1] += character
    return parts


def _parse_query(options: list[str]) -> Query:
    values: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise MalformedUrlError(option)
        values[name] = value
    known = {"$select", "$filter", "$orderby", "$top", "$skip", "$expand"}
    # Read and left aside: the answer is the same with and without these.
    ignored = {"$count", "$inlinecount", "$format"}
    if values.keys() - known - ignored:
        raise MalformedUrlError(",".join(values))
    return Query(
        select=_parse_select(values.get("$select", "*")),
        filter=parse_filter(values["$filter"]) if "$filter" in values else None,
        orderby=_parse_orderby(values["$orderby"]) if "$orderby" in values else (),
        top=_parse_number(values["$top"]) if "$top" in values else None,
        skip=_parse_number(values.get("$skip", "0")),
        expand=_parse_expand(values["$expand"]) if "$expand" in values else (),
    )


def _parse_select(value: str) -> tuple[str, ...] | None:
    if value == "*":
        return None
    names = tuple(value.split(","))
    if not all(map(_NAME.fullmatch, names)):
        raise MalformedUrlError(value)
    return names


def _parse_orderby(value: str) -> tuple[Order, ...]:
    orders = []
    for part in value.split(","):
        match = _ORDER.fullmatch(part)
        if match is None:
            raise MalformedUrlError(value)
        # Without a direction the API sorts descending, against the standard.
        orders.append(Order(tuple(match["path"].split("/")), match[2] != "asc"))
    return tuple(orders)


def _parse_expand(value: str) -> tuple[tuple[str, Query], ...]:
    expands = []
    for part in _split(value, ","):
        match = _EXPAND.fullmatch(part)
        if match is None:
            raise MalformedUrlError(value)
        options = _split(match["options"], ";&") if match["options"] else []
        if any(not option.startswith("$") for option in options):
            raise MalformedUrlError(value)
        expands.append((match["name"], _parse_query(options)))
    return tuple(expands)


def _parse_number(value: str) -> int:
    if _UNSIGNED.fullmatch(value) is None:
        raise MalformedUrlError(value)
    return int(value)


def _parse_key(text: str) -> dict[str, str | int]:
    if "=" not in text.partition("'")[0]:
        return {"id": _parse_key_value(text)}
    key: dict[str, str | int] = {}
    for part in _split(text, ","):
        name, _, value = part.partition("=")
        if _NAME.fullmatch(name) is None:
            raise MalformedUrlError(text)
        key[name] = _parse_key_value(value)
    return key


def _parse_key_value(text: str) -> str | int:
    if re.fullmatch(r"'(?:[^']|'')*'", text):
        return text[1:-1].replace("''", "'")
    return _parse_number(text)
