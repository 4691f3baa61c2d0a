"""What is said of connections and of what stands in between, and where nothing is."""

from dataclasses import fields, replace

import pytest

from cause.certificate import Flaw, flaw_of
from cause.evidence import Evidence
from cause.finding import Cause, Role
from cause.judge import judge
from resolver.symptom import Symptom
from tests.cause.sample import (
    API,
    HTML,
    NETWORK,
    PAGE,
    REGISTRY,
    SILENT,
    STORAGE,
    answering,
    failing,
    xml,
)

SECRET = "s3cret-signature"


@pytest.mark.parametrize("name", NETWORK)
def test_finding(name: str) -> None:
    """The sentence names who, and the advice is one; both fit into a line."""
    seen = NETWORK[name]
    found = judge(seen)
    assert found
    assert (seen.led_to or seen.host) in found.sentence or seen.least_rate
    for text in (found.sentence, found.advice):
        assert text
        assert text.isprintable()
        assert not text.endswith(".")


@pytest.mark.parametrize("name", SILENT)
def test_silence(name: str) -> None:
    """No fault is named that is not there."""
    assert judge(SILENT[name]) is None


@pytest.mark.parametrize("symptom", Symptom)
def test_symptom(symptom: Symptom) -> None:
    """Each has words, and none where the proxy itself answered or the client left."""
    seen = failing(symptom)
    assert judge(seen)
    assert judge(replace(seen, role=None)) is None
    assert judge(replace(seen, is_client_gone=True, seconds=1.0)) is None


@pytest.mark.parametrize(
    "symptom", [Symptom.NO_CONNECTION, Symptom.CLOSED, Symptom.RESET]
)
def test_firewall(symptom: Symptom) -> None:
    """One may stand before another machine; before loopback nobody looks for it."""
    far = judge(failing(symptom))
    near = judge(failing(symptom, replace(REGISTRY, host="[::1]:5000")))
    assert far
    assert "firewall" in far.advice
    assert near
    assert "firewall" not in near.advice


@pytest.mark.parametrize("symptom", [Symptom.REFUSED, Symptom.NO_CONNECTION])
@pytest.mark.parametrize(
    ("seen", "name"),
    [(REGISTRY, "REGISTRY_URL"), (API, "API_URL"), (STORAGE, "the URL that the regis")],
    ids=["registry", "API", "storage"],
)
def test_where_the_url_comes_from(seen: Evidence, name: str, symptom: Symptom) -> None:
    """Who is not reached may be the wrong one, so what names it is named."""
    found = judge(failing(symptom, seen))
    assert found
    assert name in found.advice


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("symptom", Symptom)
def test_who(role: Role, symptom: Symptom) -> None:
    """Whoever it is, they are named; a storage is where the registry redirects to."""
    found = judge(failing(symptom, replace(REGISTRY, role=role, host="h.example:1")))
    assert found
    assert "h.example" in found.sentence


@pytest.mark.parametrize(
    ("words", "flaw"),
    [
        ("certificate has expired", Flaw.EXPIRED),
        ("certificate is not yet valid", Flaw.EARLY),
        ("hostname mismatch", Flaw.OTHER_NAME),
        (
            "Hostname mismatch, certificate is not valid for 'x'.",
            Flaw.OTHER_NAME,
        ),
        ("IP address mismatch", Flaw.OTHER_NAME),
        ("self-signed certificate", Flaw.UNTRUSTED),
        ("unable to get local issuer certificate", Flaw.UNTRUSTED),
    ],
)
def test_flaw(words: str, flaw: Flaw) -> None:
    """OpenSSL and Python say the same in other words."""
    assert flaw_of(words) is flaw


@pytest.mark.parametrize("seen", [REGISTRY, API])
def test_certificate_that_was_not_seen(seen: Evidence) -> None:
    """What is wrong is told all the same."""
    for words in ("certificate has expired", "hostname mismatch", "self-signed"):
        found = judge(failing(Symptom.CERTIFICATE, seen, words=words))
        assert found
        assert found.cause is Cause.TLS


def test_words_of_a_storage_are_not_repeated() -> None:
    """They may have what it was sent in them, and that is a signature."""
    for code, message in (
        (f"Denied {SECRET}", SECRET),
        ("SignatureDoesNotMatch", SECRET),
        ("InvalidArgument", f"Only one auth mechanism allowed {SECRET}"),
        ("AccessDenied", f"Request has expired {SECRET}"),
    ):
        found = judge(answering(403, body=xml(code, message), seen=STORAGE))
        assert found
        assert SECRET not in found.sentence + found.advice


def test_coding_that_packs_nothing() -> None:
    """S3 may leave the name of how it was sent to it on a blob."""
    assert (
        judge(answering(200, {"content-encoding": "aws-chunked"}, kind="blob")) is None
    )


def test_what_others_say_is_shown_in_printable_characters() -> None:
    """No terminal's cursor is moved, and no line is broken."""
    evil = "\x1b[2J\nevil"
    for seen in (
        failing(Symptom.NO_TLS, words=evil),
        failing(Symptom.PROXY, words=evil, proxy="the proxy p:1"),
        failing(Symptom.REFUSED, host=f"{evil}:1"),
        answering(429, {"retry-after": evil}),
        answering(200, {"content-encoding": evil}, is_unreadable=True),
        answering(307, kind="blob", led_to=evil, is_back=True),
        answering(502, {**HTML, "server": evil}, PAGE),
    ):
        found = judge(seen)
        assert found
        assert found.sentence.isprintable()
        assert found.advice.isprintable()


def test_what_others_say_is_shown_without_secrets() -> None:
    """A server may repeat the token or the location that it was asked with."""
    token, location = "eyJhbGciOiJFUzI1NiJ9.eyJhIjoxfQ.c2lnbmF0dXJl", "v2/" + "0a" * 16
    found = judge(failing(Symptom.NO_TLS, words=f"{token} for {location}"))
    assert found
    assert token not in found.sentence
    assert location not in found.sentence
    assert "[redacted] for v2/0a0a..." in found.sentence


def test_length_of_what_others_say() -> None:
    """A sentence is one, however much a server says."""
    found = judge(failing(Symptom.NO_TLS, words="x" * 100_000))
    assert found
    assert len(found.sentence) < 1000


def test_whole_evidence_is_hidden_where_it_is_shown() -> None:
    """A traceback has no header and no body in it."""
    assert all(each.repr is False for each in fields(Evidence) if each.name in _HIDDEN)


_HIDDEN = ("request", "headers", "body", "claims")
