"""Handshakes of clients with this proxy that come to nothing."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

import pytest

from cause.certificate import Certificate
from cause.finding import Cause, Finding
from cause.handshake import handshake_failed
from tests.cause.sample import CERTIFICATE, HANDSHAKES, NOW

NAME = "proxy.example.com"
OWN = replace(CERTIFICATE, names=[NAME], end=NOW + dt.timedelta(days=30))
MISTRUSTED = (
    f"The client does not trust the proxy's certificate for {NAME} (OpenSSL Error([("
    "'SSL routines', '', 'tls alert bad certificate')]))"
)
UNKNOWN = "The client may not trust the proxy's certificate for {}"
CLOSED = f"The client disconnected during the handshake. If this happens for {NAME}, …"


def found(words: str, certificate: Certificate | None = OWN, **more: str) -> Finding:
    """Return what is said of a handshake."""
    name = more.get("name", NAME)
    return handshake_failed(
        words, certificate, name=name, port=8443, now=NOW.timestamp(), seconds=30
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (MISTRUSTED, "bad certificate"),
        ("… (tlsv1 alert unknown ca)", "unknown ca"),
        ("… (sslv3 alert certificate unknown)", "certificate unknown"),
        (CLOSED, "without a word"),
    ],
)
def test_certificate_that_is_not_trusted(words: str, said: str) -> None:
    """It is said how the client is made to trust it."""
    finding = found(words)
    assert finding.cause is Cause.TLS
    assert "does not trust the certificate of this proxy for" in finding.sentence
    assert finding.sentence.endswith(said)
    assert f"registry-proxy trust {NAME}:8443" in finding.advice


@pytest.mark.parametrize(
    ("change", "said", "step"),
    [
        ({"end": NOW - dt.timedelta(1)}, "expired on 2026-11-28", "renew it"),
        ({"begin": NOW + dt.timedelta(1)}, "not valid before 2026-11-30", "NTP"),
        ({"names": ["a.example"]}, f"is for a.example, and not for {NAME}", "use a"),
        ({"names": ["*.com"]}, "is for *.com", "use a"),
        ({"names": []}, "is for , and", "use a"),
    ],
)
def test_certificate_that_no_client_trusts(
    change: Mapping[str, object], said: str, step: str
) -> None:
    """What anybody may see to be wrong with it is said."""
    finding = found(MISTRUSTED, replace(OWN, **change))  # type: ignore[arg-type]
    assert said in finding.sentence
    assert step in finding.advice
    assert "registry-proxy trust" not in finding.advice


@pytest.mark.parametrize("names", [["*.example.com"], ["x", "PROXY.example.com"]])
def test_certificate_for_the_name(names: list[str]) -> None:
    """A wildcard stands for one label, and letters have no case."""
    assert "registry-proxy trust" in found(MISTRUSTED, replace(OWN, names=names)).advice


@pytest.mark.parametrize(
    "words", ["Client and mitmproxy cannot agree on a TLS version to use", "oops"]
)
def test_no_tls_in_common(words: str) -> None:
    """The certificate is not to blame for everything."""
    finding = found(words)
    assert finding.cause is Cause.TLS
    assert words in finding.sentence
    assert "versions of TLS" in finding.advice


@pytest.mark.parametrize(
    ("words", "said", "advice"),
    [
        (
            f"{CLOSED} {{}}",
            "a client fails: the client closed the connection without a word; it",
            "health check",
        ),
        (
            "Cannot parse ClientHello: 160301",
            "a client fails: what it sent is no ClientHello that can be read; it",
            "in between",
        ),
        (
            f"{UNKNOWN} (OpenSSL Error([('SSL routines', '', 'no shared cipher')]))",
            "a client fails: no shared cipher; it",
            "versions of TLS",
        ),
        (
            f"{UNKNOWN} (OpenSSL Error([]))",
            "a client fails: OpenSSL does not say why; it",
            "versions of TLS",
        ),
    ],
)
def test_mitmproxy_is_not_quoted(words: str, said: str, advice: str) -> None:
    """It names the registry's address where the client asked for no name."""
    finding = found(words.format("registry.example:443"), certificate=None)
    assert said in finding.sentence
    assert "registry.example" not in finding.sentence
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("name", "place"),
    [("::1", "[::1]:8443"), ("192.0.2.1", "192.0.2.1:8443")]
    + [(name, "<host>") for name in ("--help", "-x.example", "a;b", "")],
)
def test_command_that_can_be_used(name: str, place: str) -> None:
    """An address of IPv6 has brackets, and what no host is called is left out."""
    advice = found(MISTRUSTED, replace(OWN, names=[name]), name=name).advice
    assert f"registry-proxy trust {place} prints how" in advice


def test_words_are_bounded_and_printable() -> None:
    """A client chooses the name that it asks for."""
    finding = found("a\x1b[31m" * 400, name="x\x1b[2J" * 200)
    assert finding.sentence.isprintable()
    assert len(finding.sentence) < 2000


def test_samples_are_of_their_own() -> None:
    """Each has its sentence."""
    sentences = {finding.sentence for finding in HANDSHAKES.values()}
    assert len(sentences) == len(HANDSHAKES)
