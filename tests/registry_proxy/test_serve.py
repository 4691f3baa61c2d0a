"""What the environment variables make of mitmdump's arguments."""

import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mitm.option import VARIABLES, ValueRefused, parse_variables
from registry_proxy import ROOT, serve
from registry_proxy.port import free_port

FILE = str(Path(__file__).resolve())
CACHE = str(Path(FILE).with_name("none"))
"""A folder that is not there, and could be made."""
ANY = "NAMES=registry REGISTRY_URL=http://a"
ARGUMENTS = (
    ("", "reverse:https://registry2.balena-cloud.com@127.0.0.1:8080"),
    ("PROXY_PORT=8088", "reverse:https://registry2.balena-cloud.com@127.0.0.1:8088"),
    ("LISTEN_HOST=0.0.0.0", "reverse:https://registry2.balena-cloud.com@0.0.0.0:8080"),
    ("LISTEN_HOST=[::1]", "reverse:https://registry2.balena-cloud.com@::1:8080"),
    ("DNS_TLD=b.a", "reverse:https://registry2.b.a@127.0.0.1:8080"),
    ("DNS_TLD=b.a REGISTRY2_HOST=c.a:50", "reverse:https://c.a:50@127.0.0.1:8080"),
    ("REGISTRY2_HOST=b REGISTRY_URL=http://c:5/", "reverse:http://c:5@127.0.0.1:8080"),
    ("NAMES=Registry REGISTRY_URL=http://c:5", "balena_names=registry"),
    (
        "NAMES=registry REGISTRY2_HOST=c.a REALM_HOSTS=d.a,E.a",
        "balena_realm_hosts=d.a,E.a",
    ),
    ("DNS_TLD=b.a", "balena_api_url=https://api.b.a"),
    ("DNS_TLD=b.a API_HOST=c.a", "balena_api_url=https://c.a"),
    ("API_HOST=c.a API_URL=http://[::1]:80", "balena_api_url=http://[::1]"),
    ("PUBLIC_URL=https://r.a/", "balena_public_url=https://r.a"),
    ("TRUST_PROXY=yes", "balena_trust_forwarded=true"),
    ("GRACE_PERIOD=0", "balena_grace_period=0"),
    ("TAGS=Ignore", "balena_tags=ignore"),
    ("BLOBS=follow", "balena_blobs=follow"),
    ("BLOBS=Follow BLOBS_ALLOW=b,10.1.0.0/16", "balena_blobs_allow=b,10.1.0.0/16"),
    (f"CACHE={CACHE}", f"balena_cache_dir={CACHE}"),
    (f"CACHE={CACHE} BLOBS_ALLOW=b", "balena_blobs_allow=b"),
    (f"CACHE={CACHE} CACHE_SIZE=1.5GB", "balena_cache_size=1500000000"),
    ("TLS=authority", "balena_tls=authority"),
    (f"TLS_CERT={FILE}", f"balena_tls_cert={FILE}"),
    (f"TLS_CERT={FILE} TLS_KEY={FILE}", f"balena_tls_key={FILE}"),
    ("LOG_FORMAT=json", "balena_log_format=json"),
    ("CONFDIR=/nowhere", "confdir=/nowhere"),
    ("METRICS_PORT=90", "balena_metrics_listen=127.0.0.1:90"),
    ("METRICS_PORT=90 LISTEN_HOST=::1", "balena_metrics_listen=[::1]:90"),
    ("METRICS_PORT=90 METRICS_HOST=0.0.0.0", "balena_metrics_listen=0.0.0.0:90"),
    ("PULLS_PORT=82", "balena_pulls_listen=127.0.0.1:82"),
    ("PULLS_PORT=82 LISTEN_HOST=0.0.0.0", "balena_pulls_listen=127.0.0.1:82"),
    ("PULLS_PORT=82 PULLS_HOST=::1", "balena_pulls_listen=[::1]:82"),
    (f"PULLS_PORT=82 PULLS_TOKEN={FILE}", f"balena_pulls_token={FILE}"),
    (f"WEB_PORT={(port := free_port())}", f"web_port={port}"),
    ("""ARGS="-w 'a file'" """, "a file"),
)


def environment(text: str) -> dict[str, str]:
    """Return variables as they are set in a shell."""
    return dict(word.split("=", 1) for word in shlex.split(text))


# Its text would be another port in each process.
@pytest.mark.parametrize(
    ("variables", "expected"),
    ARGUMENTS,
    ids=[text.partition("=")[0] for text, _ in ARGUMENTS],
)
def test_arguments(variables: str, expected: str) -> None:
    """A variable beats a more general one, and becomes an option in its usual form."""
    assert expected in serve.arguments_of("mitmweb", environment(variables))


def test_every_variable_has_an_effect() -> None:
    """Each one in the table of options is in the table above."""
    assert {name for text, _ in ARGUMENTS for name in environment(text)} == {*VARIABLES}


def test_api_is_left_for_the_registry_to_name() -> None:
    """A registry's URL says nothing about the API."""
    arguments = serve.mitmdump_arguments({"REGISTRY_URL": "http://127.0.0.1:5000"})
    assert "balena_api_url" not in " ".join(arguments)


def test_link_to_a_certificate_stays_one(tmp_path: Path) -> None:
    """A renewal lets it lead to another file."""
    link = tmp_path / "tls.crt"
    link.symlink_to(FILE)
    arguments = serve.mitmdump_arguments({"TLS_CERT": str(link)})
    assert f"balena_tls_cert={link}" in arguments


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ("REGISTRY_URL=registry.example.com", "write https://host or"),
        ("REGISTRY_URL=https://registry.example.com/v2", "without a path"),
        ("API_URL=ftp://api", "write https://host or"),
        ("PUBLIC_URL=https://user@host", "write https://host or"),
        ("API_HOST=https://api.example.com", "registry.example.com"),
        ("DNS_TLD='balena cloud'", "registry.example.com"),
        ("LISTEN_HOST=0.0.0.0/0", "registry.example.com"),
        ("LISTEN_HOST=127.0.0.1:9090", "the port as PROXY_PORT"),
        ("PROXY_PORT=http", "'http' is no port; write a number from 0 to 65535"),
        ("PROXY_PORT=65536", "65536 is not between 0 and 65535"),
        ("TRUST_PROXY=maybe", "'maybe' is neither true nor false"),
        ("GRACE_PERIOD=-1", "-1 is not between 0 and 3600"),
        ("GRACE_PERIOD=25s", "'25s' is no number of seconds; write a number from 0"),
        ("METRICS_PORT=on", "a number from 1 to 65535"),
        ("METRICS_PORT=8080", "the port of the proxy itself"),
        ("METRICS_HOST=127.0.0.1", "METRICS_PORT=9090"),
        ("PULLS_PORT=on", "a number from 1 to 65535"),
        ("PULLS_PORT=8080", "choose another, as PULLS_PORT=8085"),
        ("PULLS_HOST=127.0.0.1", "set PULLS_PORT=8085 as well"),
        (f"PULLS_TOKEN={FILE}", "set PULLS_PORT=8085 as well"),
        ("PULLS_TOKEN=/nowhere PULLS_PORT=82", "name one that has the token"),
        ("LOG_FORMAT=xml", "'xml' is not one of text, json"),
        ("NAMES=docker", "'docker' is not one of balena, registry"),
        ("NAMES=registry", "REGISTRY_URL=https://registry.example.com"),
        (f"API_URL=http://a {ANY}", "API_URL: has no effect with NAMES=registry"),
        (f"API_HOST=a.b {ANY}", "API_HOST: has no effect with NAMES=registry"),
        (f"DNS_TLD=a.b {ANY}", "DNS_TLD: has no effect with NAMES=registry"),
        (f"TAGS=ignore {ANY}", "TAGS: has no effect with NAMES=registry"),
        (f"REALM_HOSTS=https://a {ANY}", "as in registry.example.com"),
        (f"REALM_HOSTS=a.b:443 {ANY}", "name the host alone, as in a.b"),
        (f"REALM_HOSTS=, {ANY}", "names no host"),
        ("REALM_HOSTS=a.b", "REALM_HOSTS: has no effect without NAMES=registry"),
        ("BLOBS=proxy", "'proxy' is not one of redirect, follow, nginx"),
        ("BLOBS=nginx", "no effect without TRUST_PROXY=true"),
        ("BLOBS_ALLOW=10.1.0.1/16", "as in minio.example.com,10.1.0.0/16"),
        ("BLOBS_ALLOW=minio", "no effect without BLOBS=follow, BLOBS=nginx or CACHE;"),
        (f"CACHE={FILE}", "is a file"),
        (f"CACHE={FILE}/blobs", "is a file"),
        ("CACHE=/etc", "has other files in it, as '"),
        ("CACHE_SIZE=9GB", "no effect without CACHE; set CACHE=/path/to/folder"),
        (f"CACHE_SIZE=much CACHE={CACHE}", "'much' is no size from 1MB to 1000TB"),
        (f"CACHE_SIZE=5 CACHE={CACHE}", "write it as in 500MB, 20GB or 1TiB"),
        (f"CACHE_SIZE=0.9MB CACHE={CACHE}", "'0.9MB' is no size from 1MB"),
        (f"BLOBS=redirect CACHE={CACHE}", "redirect contradicts CACHE"),
        (f"BLOBS=nginx TRUST_PROXY=1 CACHE={CACHE}", "nginx contradicts CACHE"),
        ("TLS_CERT=/nowhere.pem", "there is no file '/nowhere.pem'"),
        (f"TLS_KEY={FILE}", "set TLS_CERT=/path/to/chain.pem"),
        (f"TLS=off TLS_CERT={FILE}", "off contradicts TLS_CERT"),
        ("WEB_PORT=8080", "choose another, as WEB_PORT=8082"),
        ("""ARGS="--set 'x" """, "close what is quoted"),
        ("ARGS='--set http2=true'", "change it there"),
        ("ARGS='--set=mode=regular'", "change it there"),
        ("ARGS='--listen-port 9090'", "PROXY_PORT=8080"),
        ("ARGS='-p 9090'", "PROXY_PORT=8080"),
        ("ARGS='--set balena_tags=select' TAGS=ignore", "contradicts TAGS"),
        ("ARGS='--set confdir=/a'", "contradicts CONFDIR"),
        (
            "ARGS='--set balena_metrics_listen=[::1]:1' METRICS_PORT=9090",
            "contradicts METRICS_PORT",
        ),
    ],
)
def test_wrong_variable_is_named(variables: str, said: str) -> None:
    """A value that cannot work is refused in one line that names the first variable."""
    with pytest.raises(ValueRefused) as refused:
        serve.arguments_of("mitmweb", environment(variables))
    message = str(refused.value)
    assert message.startswith(variables.partition("=")[0] + ": ")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        (f"PULLS_TOKEN={FILE} PULLS_PORT=82", "one that has the token"),
        (f"TLS_KEY={FILE} TLS_CERT={FILE}", "one in PEM format, as in"),
    ],
)
def test_file_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, variables: str, advice: str
) -> None:
    """It is said what would work; root, who may run this, can read any."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueRefused) as refused:
        serve.arguments_of("mitmweb", environment(variables))
    said = f"'{FILE}' cannot be read by this user; let this user read it, or name"
    assert f"{said} {advice}" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1MB", 10**6),
        ("1000000", 10**6),
        ("20GB", 20 * 10**9),
        ("20 gb", 20 * 10**9),
        ("1.5T", 1_500_000_000_000),
        ("1GiB", 1 << 30),
        ("2Ti", 2 << 40),
    ],
)
def test_size_of_the_cache(text: str, size: int) -> None:
    """It is written with a unit, of thousands or of 1024."""
    variables = {"CACHE": CACHE, "CACHE_SIZE": text}
    assert parse_variables(variables)["balena_cache_size"] == size


@pytest.mark.parametrize("name", ["oci-layout", "blobs", "lost+found"])
def test_folder_that_may_be_a_cache(tmp_path: Path, name: str) -> None:
    """It is one, or empty but for what a new disk has."""
    (tmp_path / name).mkdir()
    variables = {"CACHE": str(tmp_path)}
    assert parse_variables(variables)["balena_cache_dir"] == tmp_path


def test_folder_of_the_cache_is_not_made_by_looking(tmp_path: Path) -> None:
    """Other commands read the variable too."""
    path = tmp_path / "new" / "blobs"
    assert parse_variables({"CACHE": str(path)})["balena_cache_dir"] == path
    assert not path.parent.exists()


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """CONFDIR has to be a folder, or to become one."""
    (tmp_path / "file").touch()
    with pytest.raises(ValueRefused, match=r"CONFDIR: .*/file"):
        serve.link_options(serve.confdir({"CONFDIR": str(tmp_path / "file")}))


def test_options_are_linked_anew(tmp_path: Path) -> None:
    """Mitmproxy finds mitm.conf, also where something else stood in its place."""
    confdir = tmp_path / "confdir"
    serve.link_options(confdir)
    (confdir / "config.yaml").unlink()
    (confdir / "config.yaml").symlink_to("/nowhere")
    serve.link_options(confdir)
    assert (confdir / "config.yaml").read_text() == serve.CONF.read_text()


INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ((1024, 1_048_576), [(16384, 1_048_576)]),
        ((1024, 4096), [(4096, 4096)]),
        ((256, INFINITE), [(16384, INFINITE)]),
        ((65536, 1_048_576), []),
        ((INFINITE, INFINITE), []),
    ],
)
def test_limit_of_open_files_is_raised(
    monkeypatch: pytest.MonkeyPatch,
    limit: tuple[int, int],
    expected: list[tuple[int, int]],
) -> None:
    """The limit becomes as high as it may be, and never lower than it was."""
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limit)
    monkeypatch.setattr(resource, "setrlimit", lambda _, to: raised.append(to))
    serve.raise_open_files()
    assert raised == expected


def test_mitmproxy_is_not_loaded() -> None:
    """It takes a second, and a wrong variable is named before."""
    code = "import registry_proxy.serve, sys; sys.exit('mitmproxy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
