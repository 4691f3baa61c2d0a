"""What is said where names are the registry's own: nothing of balena."""

import re
from dataclasses import replace

import pytest

from cause.evidence import Evidence
from cause.finding import Cause, Role
from cause.judge import RULES, judge
from resolver.symptom import Symptom
from tests.cause.sample import ACCESS, NETWORK, OWN_NAMES, REALM, SILENT, as_own

SAMPLES = {
    **{
        name: as_own(seen)
        for samples in (NETWORK, ACCESS, SILENT)
        for name, seen in samples.items()
    },
    **OWN_NAMES,
}
_FOREIGN = re.compile(
    r"\b(?:balena|API|API_URL|fleets?|applications?(?!/)|releases?)\b|<org>/<app>"
)
"""Words of another naming; options have one of them in their names."""


@pytest.mark.parametrize("name", SAMPLES)
def test_words(name: str) -> None:
    """No rule speaks of an API or of releases to an operator who has none."""
    for rule in RULES:
        if found := rule(SAMPLES[name]):
            assert not _FOREIGN.search(f"{found.sentence}; {found.advice}")


@pytest.mark.parametrize(
    ("name", "cause", "sentence", "advice"),
    [
        (
            "token server refuses connections",
            Cause.REALM,
            "the token server auth.example.com refuses the connection",
            "(the realm of the registry's challenge and REALM_HOSTS)",
        ),
        (
            "token server does not answer",
            Cause.REALM,
            "the token server auth.example.com does not answer within 10 seconds",
            "balena_api_timeout is how long",
        ),
        (
            "token server fails",
            Cause.REALM,
            "the token server auth.example.com answers 500 Internal Server Error",
            "look at its log",
        ),
        (
            "page instead of a token",
            Cause.REALM,
            "answers 200 OK with an HTML page instead of JSON",
            "check the realm of the registry's challenge and REALM_HOSTS",
        ),
        (
            "no login for the token server",
            Cause.LOGIN,
            "the client did not log in, and the token server auth.example.com",
            "log in",
        ),
        (
            "wrong login for the token server",
            Cause.LOGIN,
            "the token server auth.example.com does not take the login",
            "log in anew",
        ),
        (
            "client that waits for the token server",
            Cause.CLIENT,
            "in which the token server auth.example.com did not answer",
            "find out why the token server is slow",
        ),
        (
            "push to the registry",
            Cause.CLIENT,
            "push to the registry registry.example.com itself",
            "push to the registry registry.example.com itself",
        ),
        ("name that is none", Cause.NAME, "'A' names no repository", "check the name"),
    ],
)
def test_finding(name: str, cause: Cause, sentence: str, advice: str) -> None:
    """Who issues tokens is called by its name, and where that name is from."""
    found = judge(OWN_NAMES[name])
    assert found
    assert found.cause is cause
    assert sentence in found.sentence
    assert advice in found.advice


@pytest.mark.parametrize(
    "seen",
    [
        answered
        for code in ("UNAUTHORIZED", "DENIED")
        for answered in (replace(REALM, role=None, status=401, code=code, login="key"),)
    ],
    ids=lambda seen: seen.code,
)
def test_no_application(seen: Evidence) -> None:
    """Nobody is told of applications or keys where there are none."""
    assert judge(seen) is None


@pytest.mark.parametrize("symptom", Symptom)
def test_symptom(symptom: Symptom) -> None:
    """However the connection to a token server fails, API_URL is not what to set."""
    found = judge(replace(REALM, symptom=symptom))
    assert found
    assert str(Role.TOKEN) in found.sentence
    assert not _FOREIGN.search(f"{found.sentence}; {found.advice}")
