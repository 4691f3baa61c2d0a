"""OData URLs: a resource, and a tree of query options.

```
url     = "/" version "/" resource "?" option *( "&" option )
option  = "$select=" field *( "," field )
        | "$filter=" expression
        | "$orderby=" field " " ( "asc" | "desc" ) *( "," ... )
        | "$top=" number
        | "$expand=" link "(" option *( ";" option ) ")" *( "," ... )
```

This is what the proxy and the recorded clients send; anything else is answered as
malformed, although the real API understands more. It also reads the URL without
decoding it first: outside a string literal only the space may be percent-encoded,
inside one everything may.
https://github.com/balena-io-modules/odata-parser
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

from odata_query import ast
from odata_query.exceptions import ODataException
from odata_query.grammar import ODataLexer, ODataParser

_URL = re.compile(r"/v\d+/(?P<resource>\w+)\?(?P<options>.*)")
_OPTION = re.compile(r"\$(?P<name>select|filter|orderby|top|expand)=(?P<value>.+)")
_FIELD = re.compile(r"\w+", re.ASCII)
_ORDER = re.compile(r"(?P<field>\w+)%20(?P<direction>asc|desc)")
_TOP = re.compile(r"[0-9]{1,9}")
_EXPAND = re.compile(r"(?P<link>\w+)\((?P<options>.*)\)")


class QueryError(Exception):
    """A query without an answer, and the status that the API gives it."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Order:
    """A key to sort by."""

    field: str
    is_descending: bool


@dataclass(frozen=True, slots=True)
class Query:
    """The options for a resource or an expanded link."""

    select: tuple[str, ...]
    filter: ast._Node | None
    orderby: tuple[Order, ...]
    top: int | None
    expand: tuple[tuple[str, "Query"], ...]


def parse_url(target: str) -> tuple[str, Query]:
    """Return the resource and the query of a request target."""
    match = _match(_URL, target)
    return match["resource"], _parse_query(_split(match["options"], "&"))


def _parse_query(options: Iterable[str]) -> Query:
    matches = (_match(_OPTION, option) for option in options)
    values = {match["name"]: match["value"] for match in matches}
    fields = _split(values.get("select", ""), ",")
    orders = [_match(_ORDER, part) for part in _split(values.get("orderby"), ",")]
    links = [_match(_EXPAND, part) for part in _split(values.get("expand"), ",")]
    return Query(
        select=tuple(_match(_FIELD, field)[0] for field in fields),
        filter=_parse_filter(values["filter"]) if "filter" in values else None,
        orderby=tuple(Order(o["field"], o["direction"] == "desc") for o in orders),
        top=int(_match(_TOP, values["top"])[0]) if "top" in values else None,
        expand=tuple(
            (link["link"], _parse_query(_split(link["options"], ";"))) for link in links
        ),
    )


def _parse_filter(text: str) -> ast._Node:
    decoded = "".join(map(_decode, re.findall(r"'[^']*'|[^']+|'", text)))
    try:
        tree: ast._Node = ODataParser().parse(ODataLexer().tokenize(decoded))
    except ODataException as error:
        raise QueryError(HTTPStatus.BAD_REQUEST) from error
    return tree


def _decode(piece: str) -> str:
    """Decode a string literal, or the spaces of what stands between two."""
    return unquote(piece) if piece[0] == "'" else piece.replace("%20", " ")


def _split(text: str | None, separator: str) -> list[str]:
    """Return the parts between separators outside of literals and brackets."""
    if text is None:
        return []
    parts, depth = [""], 0
    for piece in re.findall(r"'[^']*'|[^'(),;&]+|.", text):
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if piece == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise QueryError(HTTPStatus.BAD_REQUEST)
    return match
