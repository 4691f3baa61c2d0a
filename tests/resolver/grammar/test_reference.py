"""Names are read strictly: aliases, locations, tags and digests."""

import string
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import AliasInvalid, NameInvalid, RegistryError
from resolver.grammar.reference import (
    NAME_LENGTH_MAX,
    artifact_digest,
    is_artifact_tag,
    is_stored_name,
    parse_alias,
    parse_digest,
    parse_location,
    parse_repository_name,
    parse_tag,
    shorten,
)
from tests.resolver.fake import HASH, PROPERTY, ident

COMMIT = "11e1ee23d7ddf6ab6da99bac26c9d274"

ALIASES = {
    "org/app": ("org/app", None, None),
    "0/1": ("0/1", None, None),
    "my_org/my__app": ("my_org/my__app", None, None),
    "a--b/c---d": ("a--b/c---d", None, None),
    "balenablocks/browser-aarch64/2.3.8": (
        "balenablocks/browser-aarch64",
        "2.3.8",
        None,
    ),
    "org/app/2.4.1-1648554962021": ("org/app", "2.4.1-1648554962021", None),
    "org/app/2.3.8_rev1": ("org/app", "2.3.8_rev1", None),
    "org/app/latest": ("org/app", "latest", None),
    f"org/app/{COMMIT}": ("org/app", COMMIT, None),
    "org/app/1.7.0/helper": ("org/app", "1.7.0", "helper"),
    "org/app/1.7.0/my.service_1": ("org/app", "1.7.0", "my.service_1"),
    "resin/app/1.0.0": ("resin/app", "1.0.0", None),
    "v2/app": ("v2/app", None, None),
    "a/" + "b" * 253: ("a/" + "b" * 253, None, None),
}

NO_NAMES = [
    "",
    "/",
    "a//b",
    "/org/app",
    "org/app/",
    "org/../app",
    "org/.",
    "../../etc/passwd",
    "Org/app",
    "org/APP",
    "org/app/2.0.0-RC1",
    "org/app/2.3.8+rev1+",
    "org/app:2.3.8",
    "org/app@sha256:00",
    "org/app/2..3",
    "org/app/.2",
    "org/app/2.",
    "org/a___b",
    "org/a._b",
    "org/-app",
    "org/app-",
    "org /app",
    " org/app",
    "org/app ",
    "org/app\n",
    "org\n/app",
    "org/app\0",
    "org/a\0pp",
    "org%2Fapp",
    "org/%61pp",
    "org/äpp",
    "org/аpp",  # noqa: RUF001 - a Cyrillic letter is the point
    "org/app²",
    "org/app\u0661",
    "org/app\u200b",
    "org/app\udcff",
    "org\\app",
    "org/'app'",
    "org/app?x=1",
    "org/app#x",
    "a/" + "b" * 298,
    "/".join("ab" * 150),
]
NO_ALIASES = [*NO_NAMES, "app", "a/b/c/d/e", "org.io/app", "org/my.app", "a" * 255]

WORD = frozenset(string.ascii_lowercase + string.digits)
CHARACTERS = st.text("ab09._-/ A+%\n\0é", max_size=24)


def runs_of(component: str) -> Iterator[tuple[bool, Iterator[str]]]:
    """Return the words and separators that the component consists of, in turn."""
    return groupby(component, str.isalnum)


@pytest.mark.parametrize(("text", "parts"), ALIASES.items(), ids=ident)
def test_alias_is_taken_apart(
    text: str, parts: tuple[str, str | None, str | None]
) -> None:
    """An alias has a slug, perhaps a selector, perhaps an image service."""
    alias = parse_alias(text)
    assert (alias.slug, alias.selector, alias.image_service) == parts
    assert str(alias) == text


@pytest.mark.parametrize("text", NO_ALIASES, ids=ident)
def test_no_alias(text: str) -> None:
    """What breaks the grammar of aliases is refused with a printable, short message."""
    with pytest.raises(AliasInvalid) as caught:
        parse_alias(text)
    assert caught.value.message.isprintable()
    assert caught.value.message.isascii()
    assert len(text) <= 80 or text not in caught.value.message
    assert "<org>/<app>" in caught.value.message


@pytest.mark.parametrize("parse", [parse_alias, parse_repository_name])
@pytest.mark.parametrize("plus", ["+", "%2B", "%2b"])
def test_plus_is_explained(parse: Callable[[str], object], plus: str) -> None:
    """Whoever writes a version as balena shows it is told how references have it."""
    with pytest.raises(RegistryError) as caught:
        parse(f"org/app/2.3.8{plus}rev1")
    assert caught.value.message == (
        f"'org/app/2.3.8{plus}rev1' has a +, which no reference can carry: write"
        " _, as in 'org/app/2.3.8_rev1'"
    )


@pytest.mark.parametrize(
    "text",
    ["app", "a/b/c/d/e", "org.io/app", "a" * NAME_LENGTH_MAX, *ALIASES, f"v2/{HASH}"],
    ids=ident,
)
def test_repository_name(text: str) -> None:
    """A repository name is any number of components, 255 characters at most."""
    assert parse_repository_name(text) == text


@pytest.mark.parametrize("text", [*NO_NAMES, "a" * 256], ids=ident)
def test_no_repository_name(text: str) -> None:
    """What is no repository name is refused with a printable message."""
    with pytest.raises(NameInvalid) as caught:
        parse_repository_name(text)
    assert caught.value.message.isprintable()


@given(CHARACTERS | st.text())
@PROPERTY
def test_accepted_alias_obeys_the_grammar(text: str) -> None:
    """Whatever is accepted as an alias is within the grammar, and comes back whole."""
    with suppress(AliasInvalid):
        alias = parse_alias(text)
        assert str(alias) == text
        components = text.split("/")
        assert 2 <= len(components) <= 4
        for component in components:
            runs = [("".join(run), is_word) for is_word, run in runs_of(component)]
            assert all(set(run) <= WORD for run, is_word in runs if is_word)
            separators = [run for run, is_word in runs if not is_word]
            assert len(runs) == 2 * len(separators) + 1
            assert all(
                run in {".", "_", "__"} or set(run) == {"-"} for run in separators
            )
        assert "." not in alias.slug


@given(st.from_regex(r"[a-z0-9]{1,9}(-[a-z0-9]{1,9})?/[a-z0-9]{1,9}", fullmatch=True))
@PROPERTY
def test_plain_slug_is_accepted(text: str) -> None:
    """Two components of letters, digits and hyphens are an alias."""
    assert parse_alias(text).slug == text


@pytest.mark.parametrize(
    ("text", "is_location", "is_stored"),
    [
        (f"v2/{HASH}", True, True),
        (f"v2/{HASH}-0", True, True),
        (f"v2/{HASH}-1234", True, True),
        (f"v2/{HASH}-12345", False, False),
        (f"v2/{HASH}-", False, False),
        (f"v2/{HASH}\n", False, False),
        (f"v2/{HASH.upper()}", False, False),
        (f"v2/{HASH}0", False, False),
        (f"v2/{HASH[1:]}", False, False),
        (f"v2/{HASH}/latest", False, False),
        (f"V2/{HASH}", False, False),
        (f"v1/{HASH}", False, False),
        (f"/v2/{HASH}", False, False),
        (f"registry2.example.com/v2/{HASH}", False, False),
        (f"v2/../{HASH}", False, False),
        (HASH, False, False),
        ("v2/app", False, False),
        ("resin/resinos", False, True),
        ("resin/aarch64-supervisor", False, True),
        ("resin/resinos/2.0.0", False, False),
        ("resin/", False, False),
        ("resin/..", False, False),
        ("resin/A", False, False),
        ("resin", False, False),
        ("", False, False),
    ],
    ids=ident,
)
def test_stored_name(*, text: str, is_location: bool, is_stored: bool) -> None:
    """The registry knows locations and the host's repositories by their names."""
    assert (parse_location(text) == text) is is_location
    assert is_stored_name(text) is is_stored


@pytest.mark.parametrize(
    "text", ["latest", "2.3.8", "V", "_", "a" * 128, "sha256-" + "0" * 64 + ".sig"]
)
def test_tag(text: str) -> None:
    """A tag is what the OCI specification allows."""
    assert parse_tag(text) == text


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "-a", "a" * 129, "a+b", "a:b", "a/b", "a b", "ä", "a\n", "%41"],
    ids=ident,
)
def test_no_tag(text: str) -> None:
    """A text that breaks the grammar of tags is none."""
    assert parse_tag(text) is None


@pytest.mark.parametrize(
    "text", ["sha256:" + "0f" * 32, "sha512:" + "0f" * 64, "blake3:" + "0f" * 32]
)
def test_digest(text: str) -> None:
    """A digest is one of a registered algorithm, in full length."""
    assert parse_digest(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "0f" * 31,
        "sha256:" + "0f" * 33,
        "sha256:" + "0F" * 32,
        "sha256:" + "0g" * 32,
        "sha256:" + "0f" * 32 + "\n",
        "sha512:" + "0f" * 32,
        "blake3:" + "0f" * 64,
        "md5:" + "0f" * 16,
        "0f" * 32,
    ],
    ids=ident,
)
def test_no_digest(text: str) -> None:
    """A short, long, upper-case or foreign digest is none."""
    assert parse_digest(text) is None


@pytest.mark.parametrize("ending", ["", ".sig", ".att", ".sbom", ".sha256"])
@pytest.mark.parametrize(
    ("algorithm", "is_told"), [("sha256", True), ("sha512", False), ("blake3", False)]
)
def test_artifact_tag(algorithm: str, ending: str, *, is_told: bool) -> None:
    """The tag of an artifact names the digest by which every registry knows it."""
    tag = f"{algorithm}-{'0f' * 32}{ending}"
    assert is_artifact_tag(tag)
    assert artifact_digest(tag) == (f"{algorithm}:{'0f' * 32}" if is_told else None)


@pytest.mark.parametrize(
    "text",
    [
        "2.3.8",
        "sha256-" + "0f" * 31,
        "sha256-" + "0f" * 33,
        "sha256-" + "0F" * 32,
        "sha256-" + "0f" * 32 + ".",
        "sha256-" + "0f" * 32 + "-sig",
        "sha512-" + "0f" * 64,
        "md5-" + "0f" * 32,
    ],
    ids=ident,
)
def test_no_artifact_tag(text: str) -> None:
    """What is short, long, or of a foreign algorithm is a tag of the user's own."""
    assert not is_artifact_tag(text)
    assert artifact_digest(text) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("org/app", "'org/app'"),
        ("a\r\nb\0", r"'a\r\nb\x00'"),
        ("é\u2028\udcff", r"'\xe9\u2028\udcff'"),
        ("x" * 80, f"'{'x' * 80}'"),
        ("x" * 81, f"'{'x' * 77}...'"),
    ],
    ids=ident,
)
def test_shorten_is_safe_to_show(text: str, shown: str) -> None:
    """What somebody sent is shown quoted, printable and short."""
    assert shorten(text) == shown
