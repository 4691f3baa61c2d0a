"""`python -m resolver` shows what an alias stands for, and why."""

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest

from localcloud import LocalCloud
from resolver.command import api_url, main

DIGEST = "438c89b9296e35e8614bf6cd4db06d58144e913e5d7af8adf30ee12db26b8936"
BROWSER = "balenablocks/browser-aarch64"


def run(*arguments: str) -> tuple[int, str, str]:
    """Return the exit status and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> LocalCloud:
    """A cloud that the environment names, and no key."""
    monkeypatch.delenv("BALENA_API_KEY", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    return LocalCloud(publish=False, serve_registry=False)


def test_resolution_is_described(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Release, revision, commit, service, location, digest and reason are printed."""
    with cloud:
        monkeypatch.setenv("API_URL", cloud.api_url)
        status, out, _ = run(f"{BROWSER}/2.3.8+rev1")
    assert status == 0
    assert out.splitlines() == [
        f"{BROWSER}/2.3.8_rev1",
        "  release   2.3.8+rev1",
        "  revision  1",
        "  commit    8efb5303ef9d64b5900c5bfe00aa54fa",
        "  service   main",
        "  location  v2/afcf4e176ef8e94685a9ded8ce9c68b4",
        f"  digest    sha256:{DIGEST}",
        "  because   it is exactly that version",
    ]


def test_releases_are_listed(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --all every release is named, with what keeps it from being pulled."""
    with cloud:
        monkeypatch.setenv("API_URL", cloud.api_url)
        status, out, _ = run("--all", BROWSER)
    assert status == 0
    rows = [line.split(maxsplit=3) for line in out.splitlines()]
    assert rows[0] == ["RELEASE", "COMMIT", "SERVICES", "STATE"]
    states = {row[0]: row[3] for row in rows}
    assert states["2.3.8_rev2"] == "final"
    assert states["2.4.1-1648554962021"] == "draft"
    assert states["2.2.0"] == "final, invalidated"
    assert states["1.5.0"] == "final, no image"
    assert states["1.9.0"] == "final, image main failed"
    assert states["3.0.0"] == "final, failed"
    assert ["1.7.0", "38f15f2", "main,helper", "final"] in rows


def test_private_application_needs_the_key(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key comes from the environment, and is never printed."""
    with cloud:
        monkeypatch.setenv("API_URL", cloud.api_url)
        for arguments in (["balenablocks/private-block"], ["--all", "no/body"]):
            status, out, err = run(*arguments)
            assert (status, out) == (1, "")
            assert "is private or does not exist" in err
        key = cloud.keys["carol"]
        monkeypatch.setenv("BALENA_API_KEY", key)
        status, out, err = run("balenablocks/private-block")
    assert status == 0
    assert "release   1.0.0" in out
    assert key not in out + err


@pytest.mark.parametrize("name", ["alpine", "a/b/c/d/e", "A/b", "a/b/2'3", "a//b"])
def test_malformed_alias_is_named(name: str) -> None:
    """What is no alias is refused before anybody is asked."""
    status, _, err = run(name)
    assert status == 1
    assert "does not name a release" in err


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "https://api.balena-cloud.com"),
        ({"DNS_TLD": "balena.example"}, "https://api.balena.example"),
        ({"DNS_TLD": "x", "API_HOST": "api.example"}, "https://api.example"),
        ({"API_HOST": "x", "API_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1"),
    ],
)
def test_environment_names_the_api(variables: dict[str, str], url: str) -> None:
    """The variables are those of `make run`, in the same order."""
    assert api_url(variables) == url
