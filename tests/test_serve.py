"""What the environment variables make of mitmdump's arguments."""

import resource
from pathlib import Path

import pytest

import serve
from variable import VariableError

MODE = "reverse:https://registry2.balena-cloud.com@127.0.0.1:8080"


def option(name: str, arguments: list[str]) -> str | None:
    """Return the value that the arguments set an option to."""
    values = [word.partition("=") for word in arguments]
    return next((value for key, _, value in values if key == name), None)


def mode(arguments: list[str]) -> str:
    """Return the mode that the arguments give."""
    return arguments[arguments.index("--mode") + 1]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, MODE),
        ({"PROXY_PORT": "8088"}, MODE.replace("8080", "8088")),
        ({"LISTEN_HOST": "0.0.0.0"}, MODE.replace("127.0.0.1", "0.0.0.0")),
        ({"LISTEN_HOST": "[::1]"}, MODE.replace("127.0.0.1", "::1")),
        (
            {"DNS_TLD": "balena.example"},
            MODE.replace("balena-cloud.com", "balena.example"),
        ),
        (
            {"DNS_TLD": "balena.example", "REGISTRY2_HOST": "registry.example:5000"},
            MODE.replace("registry2.balena-cloud.com", "registry.example:5000"),
        ),
        (
            {
                "REGISTRY2_HOST": "other.example",
                "REGISTRY_URL": "http://127.0.0.1:5000/",
            },
            MODE.replace("https://registry2.balena-cloud.com", "http://127.0.0.1:5000"),
        ),
    ],
)
def test_registry(variables: dict[str, str], expected: str) -> None:
    """A URL beats a host, a host beats the domain, and balenaCloud is what is left."""
    assert mode(serve.mitmdump_arguments(variables)) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"DNS_TLD": "balena.example"}, "https://api.balena.example"),
        ({"DNS_TLD": "balena.example", "API_HOST": "api.other"}, "https://api.other"),
        ({"API_HOST": "api.other", "API_URL": "http://[::1]:80"}, "http://[::1]"),
        ({"REGISTRY_URL": "http://127.0.0.1:5000"}, None),
    ],
)
def test_api(variables: dict[str, str], expected: str | None) -> None:
    """The API is named in the same order, or left for the registry to name."""
    arguments = serve.mitmdump_arguments(variables)
    assert option("balena_api_url", arguments) == expected


def test_other_variables() -> None:
    """The remaining variables become options, and ARGS comes last."""
    arguments = serve.mitmdump_arguments(
        {
            "PUBLIC_URL": "https://registry.example.com",
            "TRUST_PROXY": "yes",
            "GRACE_PERIOD": "0",
            "BLOBS": "Follow",
            "BLOBS_ALLOW": "minio,10.1.0.0/16",
            "TAGS": "Select",
            "ARGS": "--set termlog_verbosity=debug -w 'a file'",
        }
    )
    assert option("balena_public_url", arguments) == "https://registry.example.com"
    assert option("balena_trust_forwarded", arguments) == "true"
    assert option("balena_grace_period", arguments) == "0"
    assert option("balena_blobs", arguments) == "follow"
    assert option("balena_blobs_allow", arguments) == "minio,10.1.0.0/16"
    assert option("balena_tags", arguments) == "select"
    assert arguments[-2:] == ["-w", "a file"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("REGISTRY_URL", "registry.example.com", "write https://host or"),
        ("REGISTRY_URL", "https://registry.example.com/v2", "without a path"),
        ("API_URL", "ftp://api", "write https://host or"),
        ("PUBLIC_URL", "https://user@host", "write https://host or"),
        ("API_HOST", "https://api.example.com", "registry.example.com"),
        ("DNS_TLD", "balena cloud", "registry.example.com"),
        ("LISTEN_HOST", "0.0.0.0/0", "registry.example.com"),
        ("PROXY_PORT", "http", "a number from 1 to 65535"),
        ("PROXY_PORT", "0", "a number from 1 to 65535"),
        ("PROXY_PORT", "65536", "a number from 1 to 65535"),
        ("TRUST_PROXY", "maybe", "neither true nor false"),
        ("GRACE_PERIOD", "-1", "one from 0 to 3600"),
        ("GRACE_PERIOD", "25s", "one from 0 to 3600"),
        ("GRACE_PERIOD", "3601", "one from 0 to 3600"),
        ("ARGS", "--set 'x", "close what is quoted"),
        ("ARGS", "--set http2=true", "change it there"),
        ("ARGS", "--set=mode=regular", "change it there"),
        ("LISTEN_HOST", "127.0.0.1:9090", "the port as PROXY_PORT"),
        ("METRICS_PORT", "on", "a number from 1 to 65535"),
        ("METRICS_PORT", "8080", "the port of the proxy itself"),
        ("METRICS_HOST", "127.0.0.1", "METRICS_PORT=9090"),
        ("LOG_FORMAT", "xml", "neither text nor json"),
        ("BLOBS", "proxy", "neither redirect nor follow"),
        ("BLOBS_ALLOW", "10.1.0.1/16", "as in minio.example.com,10.1.0.0/16"),
        ("BLOBS_ALLOW", "minio", "set that as well"),
        ("TAGS", "yes", "neither ignore nor select"),
        ("TLS", "yes", "neither off nor authority"),
        ("TLS_CERT", "/nowhere.pem", "there is no file '/nowhere.pem'"),
        ("TLS_KEY", "/nowhere.pem", "there is no file '/nowhere.pem'"),
        ("TLS_KEY", __file__, "set TLS_CERT="),
        ("ARGS", "--listen-port 9090", "PROXY_PORT=8080"),
        ("ARGS", "-p 9090", "PROXY_PORT=8080"),
    ],
)
def test_wrong_variable_is_named(variable: str, value: str, said: str) -> None:
    """A value that cannot work is refused in one line that names the variable."""
    with pytest.raises(VariableError) as refused:
        serve.mitmdump_arguments({variable: value})
    message = str(refused.value)
    assert message.startswith(f"{variable}: ")
    assert said in message
    assert "\n" not in message


def test_contradiction_is_named() -> None:
    """What a variable says is not undone by ARGS in silence."""
    variables = {
        "PUBLIC_URL": "https://a.example",
        "ARGS": "--set balena_public_url=https://b.example",
    }
    with pytest.raises(VariableError, match=r"ARGS: .* contradicts PUBLIC_URL"):
        serve.mitmdump_arguments(variables)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "127.0.0.1:9090"),
        ({"LISTEN_HOST": "0.0.0.0"}, "0.0.0.0:9090"),
        ({"LISTEN_HOST": "::1"}, "[::1]:9090"),
        ({"LISTEN_HOST": "0.0.0.0", "METRICS_HOST": "127.0.0.1"}, "127.0.0.1:9090"),
    ],
)
def test_metrics_are_shown_where_the_proxy_listens(
    variables: dict[str, str], expected: str
) -> None:
    """Unless METRICS_HOST says otherwise."""
    arguments = serve.mitmdump_arguments({"METRICS_PORT": "9090", **variables})
    assert option("balena_metrics_listen", arguments) == expected


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """CONFDIR has to be a folder, or to become one."""
    (tmp_path / "file").touch()
    with pytest.raises(VariableError, match=r"CONFDIR: .*/file"):
        serve.link_options(serve.confdir({"CONFDIR": str(tmp_path / "file")}))


def test_options_are_linked_anew(tmp_path: Path) -> None:
    """Mitmproxy finds mitm.conf, also where something else stood in its place."""
    confdir = tmp_path / "confdir"
    serve.link_options(confdir)
    (confdir / "config.yaml").unlink()
    (confdir / "config.yaml").symlink_to("/nowhere")
    serve.link_options(confdir)
    assert (confdir / "config.yaml").read_text() == serve.OPTIONS.read_text()


def test_limit_of_open_files_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit becomes as high as it may be, and never lower than it was."""
    infinite = resource.RLIM_INFINITY
    limits = {
        (1024, 1_048_576): [(16384, 1_048_576)],
        (1024, 4096): [(4096, 4096)],
        (256, infinite): [(16384, infinite)],
        (65536, 1_048_576): [],
        (infinite, infinite): [],
    }
    for limit, expected in limits.items():
        raised: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _, now=limit: now)
        monkeypatch.setattr(
            resource, "setrlimit", lambda _, to, into=raised: into.append(to)
        )
        serve.raise_open_files()
        assert raised == expected
