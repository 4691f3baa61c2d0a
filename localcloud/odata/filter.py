"""What a ``$filter`` means: a syntax tree, by the grammar of odata-query.

The tokens pass through here on their way from its lexer to its parser, because
the API's grammar differs from the standard's in a few places:

- ``and`` and ``or`` bind alike, from left to right;
- a list may have one element, ``id in (1)``;
- dates are written ``datetime'…'`` and ``date'…'``, and never bare;
- keywords are lower case, and ``any`` wants a condition.

Not understood here but by the API: ``$count`` within a filter, the functions
``cast``, ``isof``, ``replace`` and ``substringof``, parameter aliases (``@x``), and
``any``/``all`` behind more than two links in a row.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from odata_query import ast
from odata_query.exceptions import ODataException
from odata_query.grammar import ODataLexer, ODataParser

from localcloud.odata.error import MalformedUrlError

type Token = Any  # the lexer's, which has no types

_KEYWORD = re.compile(
    r"(?<![\w.])(and|or|not|eq|ne|lt|le|gt|ge|in|add|sub|mul|div|mod|any|all"
    r"|true|false|null)(?![\w.])",
    re.IGNORECASE,
)
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_ANY_OF_NOTHING = re.compile(r"/any\(\s*\)")


@dataclass(slots=True)
class _Punctuation:
    """A token that the lexer did not find in the text."""

    type: str
    value: str
    lineno: int = 1
    index: int = 0


@dataclass(slots=True)
class _Group:
    """What stands between two brackets or commas, and its ``and`` and ``or``."""

    tokens: list[Token] = field(default_factory=list)
    joints: list[int] = field(default_factory=list)

    def closed(self) -> list[Token]:
        """Return the tokens, with brackets where both ``and`` and ``or`` occur."""
        if len({self.tokens[joint].type for joint in self.joints}) < 2:  # noqa: PLR2004
            return self.tokens
        closings = set(self.joints[1:])
        made: list[Token] = [_Punctuation("(", "(") for _ in closings]
        for position, token in enumerate(self.tokens):
            if position in closings:
                made.append(_Punctuation(")", ")"))
            made.append(token)
        return made


def parse_filter(text: str) -> ast._Node:
    """Return the tree of an expression whose literals are decoded and quoted."""
    outside = _LITERAL.sub("''", text)
    if _ANY_OF_NOTHING.search(outside) or any(
        not word.islower() for word in _KEYWORD.findall(outside)
    ):
        raise MalformedUrlError(text)
    try:
        tokens = _left_to_right(_api_literals(ODataLexer().tokenize(text)))
        tree: ast._Node = ODataParser().parse(iter(tokens))
    # The last two are what odata-query runs into behind several links in a row.
    except (ODataException, AttributeError, NotImplementedError) as error:
        raise MalformedUrlError(text) from error
    return tree


def _api_literals(tokens: Iterable[Token]) -> Iterator[Token]:
    """Read ``datetime'…'`` and ``date'…'``, refuse bare dates."""
    prefix: Token | None = None
    for token in tokens:
        if token.type in {"DATE", "DATETIME", "TIME", "GUID", "GEOGRAPHY"}:
            raise MalformedUrlError(str(token.value))
        if prefix is not None and token.type == "STRING":
            token.type, token.value = "DATETIME", ast.DateTime(token.value.val)
            prefix = None
        if prefix is not None:
            yield prefix
            prefix = None
        if token.type == "ODATA_IDENTIFIER" and token.value.name in {
            "date",
            "datetime",
        }:
            prefix = token
        else:
            yield token
    if prefix is not None:
        yield prefix


def _left_to_right(tokens: Iterable[Token]) -> list[Token]:
    stack = [_Group()]
    list_depths: list[int] = []
    previous = ""
    for token in tokens:
        if token.type == "(":
            stack[-1].tokens.append(token)
            if previous == "IN":
                list_depths.append(len(stack))
            stack.append(_Group())
        elif token.type == ")" and len(stack) > 1:
            group = stack.pop()
            # odata-query wants a comma in a list of one.
            if list_depths and list_depths[-1] == len(stack):
                list_depths.pop()
                if not any(t.type == "," for t in group.tokens):
                    group.tokens.append(_Punctuation(",", ","))
            stack[-1].tokens += [*group.closed(), token]
        elif token.type in {",", ":"}:
            stack[-1] = _Group([*stack[-1].closed(), token])
        else:
            if token.type in {"AND", "OR"}:
                stack[-1].joints.append(len(stack[-1].tokens))
            stack[-1].tokens.append(token)
        previous = token.type
    # Brackets that nobody closed are for the parser to refuse.
    return [token for group in stack for token in group.closed()]
