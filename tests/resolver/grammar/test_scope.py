"""The scopes of a token request are read one by one, and none sinks the rest."""

import pytest

from resolver.errors import RequestInvalid
from resolver.grammar.scope import SCOPES_MAX, Scope, parse_scopes
from tests.resolver.fake import ident


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("repository:org/app/2.3.8:pull", Scope("org/app/2.3.8")),
        ("repository:org/app:push,pull", Scope("org/app", ("push", "pull"))),
        ("repository:org/app:*", Scope("org/app", ("*",))),
        ("repository(plugin):org/app:pull", Scope("org/app")),
        ("repository:host:5000/org/app:pull", Scope("host:5000/org/app")),
        ("repository:Org/../%41+'é\0:pull", Scope("Org/../%41+'é\0")),
    ],
    ids=ident,
)
def test_scope(text: str, scope: Scope) -> None:
    """A repository's scope has a name, sound or not, and goes on as it came."""
    assert parse_scopes([text]) == (scope,)
    assert str(scope) == text.replace("(plugin)", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "repository:org/app",
        "repository:org/app:pull,",
        "repository:org/app:PULL",
        "repository():org/app:pull",
        "registry:catalog:*",
        "xrepository:org/app:pull",
    ],
)
def test_no_repository_scope(text: str) -> None:
    """What is no repository's scope is left out, and what stands beside it is not."""
    sound = "repository:org/app:pull"
    assert parse_scopes([text]) == ()
    assert parse_scopes([text, sound]) == (Scope("org/app"),)
    assert parse_scopes([f"{sound} {text}"]) == (Scope("org/app"),)


@pytest.mark.parametrize(
    "values",
    [
        ["repository:a/b:pull", "repository:c/d:pull"],
        [" repository:a/b:pull\t\n repository:c/d:pull "],
        ["repository:a/b:pull", "repository:c/d:pull repository:a/b:pull", ""],
    ],
    ids=["repeated", "joined", "twice"],
)
def test_several_scopes(values: list[str]) -> None:
    """Scopes come repeated or joined, and each counts once, in their order (R3)."""
    assert parse_scopes(values) == (Scope("a/b"), Scope("c/d"))


def test_scopes_are_limited() -> None:
    """More scopes than any client asks for are refused at once."""
    texts = [f"repository:org/app{i}:pull" for i in range(SCOPES_MAX + 1)]
    assert len(parse_scopes(texts[:-1] * 9)) == SCOPES_MAX
    with pytest.raises(RequestInvalid, match="33 scopes"):
        parse_scopes([" ".join(texts)])
