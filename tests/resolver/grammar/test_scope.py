"""The scopes of a token request are read one by one, and none sinks the rest."""

import pytest

from resolver.errors import RequestInvalid
from resolver.grammar.scope import SCOPES_MAX, Scope, parse_scopes
from tests.resolver.fake import HASH, ident


@pytest.mark.parametrize(
    ("text", "name", "actions"),
    [
        ("repository:org/app:pull", "org/app", ("pull",)),
        ("repository:org/app/2.3.8:pull", "org/app/2.3.8", ("pull",)),
        ("repository:org/app:pull,push", "org/app", ("pull", "push")),
        ("repository:org/app:*", "org/app", ("*",)),
        ("repository(plugin):org/app:pull", "org/app", ("pull",)),
        ("repository:host:5000/org/app:pull", "host:5000/org/app", ("pull",)),
        (f"repository:v2/{HASH}:pull", f"v2/{HASH}", ("pull",)),
        ("repository:Org/../%41+':pull", "Org/../%41+'", ("pull",)),
        ("repository:é\0:pull", "é\0", ("pull",)),
        ("repository:" + "x" * 300 + ":pull", "x" * 300, ("pull",)),
    ],
    ids=ident,
)
def test_scope(text: str, name: str, actions: tuple[str, ...]) -> None:
    """A repository's scope has a name, sound or not, and actions."""
    assert parse_scopes([text]) == (Scope(name, actions),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pull",
        "repository:",
        "repository:org/app",
        "repository:org/app:pull,",
        "repository:org/app:PULL",
        "repository:org/app:1",
        "repository():org/app:pull",
        "registry:catalog:*",
        "xrepository:org/app:pull",
    ],
)
def test_no_repository_scope(text: str) -> None:
    """What is no repository's scope is left out, and what stands beside it is not."""
    sound = "repository:org/app:pull"
    assert parse_scopes([text]) == ()
    assert parse_scopes([sound, text]) == parse_scopes([f"{text} {sound}"])
    assert parse_scopes([text, sound]) == (Scope("org/app"),)


@pytest.mark.parametrize(
    "values",
    [
        ["repository:a/b:pull", "repository:c/d:pull"],
        ["repository:a/b:pull repository:c/d:pull"],
        [" repository:a/b:pull\t\n repository:c/d:pull "],
        ["repository:a/b:pull", "repository:c/d:pull repository:a/b:pull", ""],
    ],
    ids=["repeated", "joined", "spaces", "twice"],
)
def test_several_scopes(values: list[str]) -> None:
    """Scopes come repeated or joined, and each counts once, in their order (R3)."""
    assert parse_scopes(values) == (Scope("a/b"), Scope("c/d"))


def test_scopes_are_limited() -> None:
    """More scopes than any client asks for are refused at once."""
    texts = [f"repository:org/app{i}:pull" for i in range(SCOPES_MAX + 1)]
    assert len(parse_scopes([" ".join(texts[:-1])])) == SCOPES_MAX
    assert len(parse_scopes(texts[:-1] * 9)) == SCOPES_MAX
    with pytest.raises(RequestInvalid, match="33 scopes"):
        parse_scopes(texts)


def test_scope_is_written_as_it_was_read() -> None:
    """A scope goes to the token endpoint as it came."""
    text = "repository:org/app:push,pull"
    assert [str(scope) for scope in parse_scopes([text])] == [text]
    assert str(Scope("org/app")) == "repository:org/app:pull"
