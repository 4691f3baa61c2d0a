"""`registry-proxy resolve` shows what an alias stands for, and why."""

import ast
import io
import runpy
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import resolver
from localcloud import LocalCloud
from registry_proxy.command import main
from resolver.release.command import api_url

DIGEST = "438c89b9296e35e8614bf6cd4db06d58144e913e5d7af8adf30ee12db26b8936"
BROWSER = "balenablocks/browser-aarch64"


def run(*arguments: str) -> tuple[int, str, str]:
    """Return the exit status and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(["resolve", *arguments])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """Yield a cloud that the environment names, without a key."""
    monkeypatch.delenv("BALENA_API_KEY", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with LocalCloud(publish=False, serve_registry=False) as cloud:
        monkeypatch.setenv("API_URL", cloud.api_url)
        yield cloud


@pytest.mark.usefixtures("cloud")
def test_resolution_is_described() -> None:
    """Release, revision, commit, service, location, digest and reason are printed."""
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


@pytest.mark.usefixtures("cloud")
def test_pasted_reference_is_resolved() -> None:
    """A host, a tag and a digest may be in it, and what they come to is said."""
    _, same, _ = run(f"localhost:8080/{BROWSER}:2.3.8+rev1@sha256:{DIGEST}")
    _, other, _ = run(f"docker://h.io/{BROWSER}/2.3:9.9@sha256:{'0' * 64}")
    assert f"{BROWSER}/2.3.8_rev1\n" in same
    assert f"  note      sha256:{DIGEST} is the digest of this image\n" in same
    assert same.count("note") == 1
    assert other.splitlines()[-2:] == [
        "  note      the tag 9.9 is ignored: the path says which release",
        f"  note      sha256:{'0' * 64} is that of another image, or of none",
    ]


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("name", [f"localhost:8080/{BROWSER}:9.9", "a//b"])
def test_refusal_goes_to_the_error_stream(name: str) -> None:
    """What is no alias, or none that can be pulled, is said there alone."""
    status, out, err = run(name)
    assert (status, out) == (1, "")
    assert "9.9 that can be pulled" in err or "does not name a release" in err


def test_digest_that_the_api_does_not_know(cloud: LocalCloud) -> None:
    """Where the API has no digest of the image, none is compared."""
    cloud.add_release(BROWSER, "4.0.0")
    _, out, _ = run(f"{BROWSER}:4@sha256:{DIGEST}")
    assert "  digest    not known to the API\n" in out
    assert "  note      the digest cannot be compared" in out


@pytest.mark.usefixtures("cloud")
def test_releases_are_listed() -> None:
    """With --all every release is named, with what keeps it from being pulled."""
    status, out, _ = run("--all", f"localhost:8080/{BROWSER}:2.3")
    assert status == 0
    rows = [line.split(maxsplit=4) for line in out.splitlines()]
    assert rows[0] == ["RELEASE", "STARTED", "COMMIT", "SERVICES", "STATE"]
    states = {row[0]: row[4] for row in rows}
    assert states["2.3.8_rev2"] == "final, target"
    assert states["2.4.1-1648554962021"] == "draft"
    assert states["2.2.0"] == "final, invalidated"
    assert states["1.5.0"] == "final, cannot be pulled: no image"
    assert states["1.9.0"] == "final, cannot be pulled: image main failed"
    assert ["1.7.0", "2022-01-01", "38f15f2", "main,helper", "final"] in rows


def test_private_application_needs_the_key(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key comes from the environment, and is never printed."""
    for arguments in (["balenablocks/private-block"], ["--all", "no/body"]):
        status, out, err = run(*arguments)
        assert (status, out) == (1, "")
        assert "exist: check its name; for a private one BALENA_API_KEY has to" in err
    monkeypatch.setenv("BALENA_API_KEY", "made-up-key-0123456789")
    assert run("--all", "no/body")[2].startswith("the key in BALENA_API_KEY is wrong")
    key = cloud.keys["carol"]
    monkeypatch.setenv("BALENA_API_KEY", key)
    status, out, err = run("balenablocks/private-block")
    assert status == 0
    assert "release   1.0.0" in out
    assert key not in out + err


@pytest.mark.parametrize("key", ["€uro", "two\nlines"])
def test_unusable_key_is_not_sent(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no header can carry is told by its variable, and not shown."""
    monkeypatch.setenv("BALENA_API_KEY", key)
    status, out, err = run(BROWSER)
    assert (status, out) == (1, "")
    assert err.startswith("BALENA_API_KEY holds characters that no balena API key has")
    assert not {key, "\\u20ac"} & set(err.split())


def test_api_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No registry is asked, so none is blamed."""
    url = "http://no-such-host.invalid"
    monkeypatch.setenv("API_URL", url)
    status, out, err = run(BROWSER)
    assert (status, out) == (1, "")
    assert err.startswith(f"the balena API {url} does not answer: ")
    assert err.endswith("; try again later, or name another with API_URL\n")


@pytest.mark.parametrize("arguments", [[], ["--all", ""]])
def test_missing_reference(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a reference, or with the empty one of `make`, there is an example."""
    assert main(["resolve", *arguments]) == 2
    assert capsys.readouterr().err == (
        "REF is missing: name a release, as in balenablocks/browser-aarch64/2.3\n"
    )


@pytest.mark.parametrize("name", ["__init__", "__main__"])
def test_old_python_is_told_which_is_needed(name: str) -> None:
    """What an old Python reads before that has none of the newer syntax."""
    source = Path(resolver.__path__[0], f"{name}.py").read_text()
    ast.parse(source, feature_version=(3, 7))


def test_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says which Python is needed, before anything else is loaded."""
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("resolver.__main__")
    said = str(caught.value.code)
    assert said.startswith("resolver needs Python 3.12 or newer, and this is")
    assert "Python 3.11:" in said
    assert "\n" not in said


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


@pytest.mark.parametrize(
    ("variable", "text", "advice"),
    [
        ("API_URL", "127.0.0.1:18000", "is no URL of a host: write https://host or"),
        ("API_HOST", "https://api.x", "is no host name or address; write it as in api"),
        ("DNS_TLD", "balena cloud", "is no host name or address; write it as in bal"),
    ],
)
def test_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, advice: str
) -> None:
    """The value stands behind it, with what would be right."""
    for name in ("API_URL", "API_HOST", "DNS_TLD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, text)
    status, out, err = run(BROWSER)
    assert (status, out) == (1, "")
    assert err.startswith(f"{variable}: '{text}' {advice}")
