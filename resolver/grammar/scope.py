"""Scopes: what a client asks a token for.

::

    scope   = type ":" name ":" action *( "," action )
    type    = "repository" [ "(" class ")" ]     ; others are not ours

As in https://distribution.github.io/distribution/spec/auth/scope/#resource-scope-grammar.
A name may contain colons (`host:port/…`), so type and actions are cut off its ends.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from resolver.errors import RequestInvalid

SCOPES_MAX = 32
"""More than any build asks for at once; each may cost an API request."""

_SCOPE = re.compile(
    r"""
    repository (?: \( [a-z0-9]+ \) )?
    : (?P<name> .+ )
    : (?P<actions> (?: [a-z]+ | \* ) (?: , (?: [a-z]+ | \* ) )* )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Scope:
    """One repository, and what the client wants to do with it."""

    name: str
    actions: tuple[str, ...] = ("pull",)

    def __str__(self) -> str:
        """Return the scope as the token endpoint takes it."""
        return f"repository:{self.name}:{','.join(self.actions)}"


def parse_scopes(values: Iterable[str]) -> tuple[Scope, ...]:
    """Return the scopes of a token request, each once (rule R3).

    They come as repeated parameters or joined by spaces.
    What is no repository scope is left out, as the API itself does.

    Raises:
        RequestInvalid: there are more than `SCOPES_MAX`.

    """
    texts = dict.fromkeys(text for value in values for text in value.split())
    if len(texts) > SCOPES_MAX:
        raise RequestInvalid(
            f"{len(texts)} scopes in one token request, at most {SCOPES_MAX} are taken"
        )
    matches = (_SCOPE.fullmatch(text) for text in texts)
    return tuple(
        Scope(match["name"], tuple(match["actions"].split(",")))
        for match in matches
        if match
    )
