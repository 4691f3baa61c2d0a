"""References: what is pulled from where, and which part of one is wrong."""

import pytest

from cause.finding import Cause
from pull.fault import Fault
from pull.reference import parse_reference

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "url", "name", "version"),
    [
        ("org/app", "http://localhost:8080", "org/app", "latest"),
        ("org/app/2.3:x", "http://localhost:8080", "org/app/2.3", "x"),
        ("localhost/org/app", "http://localhost", "org/app", "latest"),
        ("[::1]:5000/a", "http://[::1]:5000", "a", "latest"),
        ("127.0.0.2:5000/a", "http://127.0.0.2:5000", "a", "latest"),
        (f"r.example/a:1@{DIGEST}", "https://r.example", "a", DIGEST),
        ("docker://r.example:5000/a/b", "https://r.example:5000", "a/b", "latest"),
        ("http://r.example/a", "http://r.example", "a", "latest"),
        ("https://localhost:5000/a", "https://localhost:5000", "a", "latest"),
        ("docker.io/alpine", "https://registry-1.docker.io", "library/alpine", ""),
        ("index.docker.io/a/b:3", "https://registry-1.docker.io", "a/b", "3"),
    ],
)
def test_reference(text: str, url: str, name: str, version: str) -> None:
    """Loopback is plain HTTP, other hosts are TLS unless it is said otherwise."""
    reference = parse_reference(text)
    found = (reference.url, reference.name, reference.version)
    assert found == (url, name, version or "latest")


def test_plain_http_is_chosen() -> None:
    """It is spoken with other hosts where that is wanted."""
    assert parse_reference("r.example/a", is_plain=True).url == "http://r.example"


@pytest.mark.parametrize(
    ("text", "sentence", "advice"),
    [
        ("", "'' names no image", "localhost:8080/<org>/<app>/<version>"),
        ("Org/App", "'Org/App' is not a repository name", "write 'org/app'"),
        ("org/a+b", "'org/a+b' has a +", "write 'org/a_b'"),
        ("org//app", "'org//app' is not a repository name", "<org>/<app>/<version>"),
        (
            "localhost:18080/org/app/",
            "'org/app/' is not a repository name",
            "write it as localhost:18080/<org>/<app>/<version>",
        ),
        (
            "https://localhost:5000/",
            "'https://localhost:5000/' names no image",
            "write it as https://localhost:5000/<org>/<app>/<version>",
        ),
        ("org/app:1+2", "'1+2' has a +", "write '1_2'"),
        ("org/app:a b", "'a b', after the colon, is no tag", "letters, digits"),
        ("org/app@sha256:1", "'sha256:1', after the @, is no digest", "64 hex digits"),
        ("ho st:1/a", "'ho st:1', before the first slash, is no host", "a name or an"),
        ("r.example:99999/a", "'r.example:99999', before the first", "and the port"),
        ("org/app:\x1b[2J", r"'\x1b[2J', after the colon, is no tag", "letters"),
    ],
)
def test_wrong_part_is_named(text: str, sentence: str, advice: str) -> None:
    """So is what would be right."""
    with pytest.raises(Fault) as caught:
        parse_reference(text)
    assert caught.value.cause is Cause.NAME
    assert str(caught.value).startswith(sentence)
    assert advice in caught.value.advice


def test_example_has_the_usual_host() -> None:
    """Where none is named, it is that of the proxy that is asked."""
    with pytest.raises(Fault) as caught:
        parse_reference("org//app", usual_host="localhost:9000")
    assert caught.value.advice == "write it as localhost:9000/<org>/<app>/<version>"
