"""Decides how many releases a token has room for.

A client sends its token in one header with every request, and servers take headers of
8 kB: nginx, Apache and Node.js among them. A release takes 115 bytes of the JWT, and
about 65 of the suffix.
The JWT is known only after it was asked for, so its length is told beforehand from
those that the API issued before, and where that was wrong it is asked for once more.
"""

from collections.abc import Iterable, Mapping

from resolver.scope import Scope
from resolver.tag_resolution import TagResolution
from resolver.tag_table import TagTable
from resolver.token import SUFFIX_LENGTH_MAX

HEADER_LENGTH_MAX = 8000
"""Bytes of the whole header, with its name."""
_HEADER = "Authorization: Bearer "
_BASE64 = 4 / 3
_JWT_LENGTH = 480
"""Bytes of a JWT for nothing, as balena's API issues it, to begin with."""
_CLAIM_LENGTH = len('{"name":"","type":"repository","actions":["pull"]},')
_ALIAS_LENGTH = 80
"""Of JSON that an alias takes in the suffix beside its name, its table included."""
_ENTRY_LENGTH = 40
"""Of JSON that a release takes there beside its version."""


class TokenRoom:
    """What fits into the tokens of one API."""

    def __init__(self) -> None:
        self._jwt_length = _JWT_LENGTH

    def fit(
        self, tagged: Mapping[str, TagResolution], count: int, beside: Iterable[Scope]
    ) -> Mapping[str, TagTable]:
        """Return the tables with so many releases at most, or fewer.

        Args:
            tagged: what is to be told from each other by tags.
            count: how many releases of each.
            beside: what else the token is for.

        """
        tables: dict[str, TagTable] = {}
        others = _length_in_jwt(beside)
        for most in range(count, 0, -1):
            tables = {alias: found.table(most) for alias, found in tagged.items()}
            if self._estimate(tables, others) <= HEADER_LENGTH_MAX:
                break
        return tables

    def has_issued(self, jwt: str, scopes: Iterable[Scope]) -> None:
        """Take note of how long the JWT for the scopes is."""
        self._jwt_length = max(0, len(jwt) - round(_length_in_jwt(scopes)))

    def _estimate(self, tables: Mapping[str, TagTable], others: float) -> float:
        places = {place for table in tables.values() for place in table.locations}
        suffix = 0
        for alias, table in tables.items():
            suffix += len(alias) + _ALIAS_LENGTH
            for entry in table.entries:
                suffix += len(entry.release.raw_version) + _ENTRY_LENGTH
        # A suffix that is too long is one header that is.
        over = HEADER_LENGTH_MAX if suffix * _BASE64 > SUFFIX_LENGTH_MAX else 0
        return (
            len(_HEADER)
            + self._jwt_length
            + _length_in_jwt(map(Scope, places))
            + others
            + _BASE64 * suffix
            + over
        )


def header_length(token_length: int) -> int:
    """Return the length of the header in which a client sends a token."""
    return len(_HEADER) + token_length


def _length_in_jwt(scopes: Iterable[Scope]) -> float:
    """Return how many bytes of a JWT its access to these repositories takes."""
    return _BASE64 * sum(len(scope.name) + _CLAIM_LENGTH for scope in scopes)
