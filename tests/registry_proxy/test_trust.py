"""What `make trust` prints, and the authority that it prints it for."""

import datetime as dt
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME, KEY_SIZE

from mitm.option import ValueRefused
from registry_proxy import ROOT, trust
from tests.authority import DAY, Authority

HOST = "registry.example.com"
SHUT_KEY = """\
-----BEGIN ENCRYPTED PRIVATE KEY-----
AAAA
-----END ENCRYPTED PRIVATE KEY-----
"""


def put_authority(folder: Path, lasts: dt.timedelta) -> str:
    """Put one where mitmproxy takes it, with a shut key; return its certificate."""
    file = folder / trust.KEY_FILE
    pem = Path(Authority("own", lasts).write_file(file)).read_text()
    file.write_text(SHUT_KEY + pem)
    return pem


@pytest.mark.parametrize(
    ("text", "port", "expected"),
    [
        (HOST, None, f"{HOST}:8080"),
        (HOST, "", f"{HOST}:8080"),
        (HOST, "8443", f"{HOST}:8443"),
        (HOST, "443", HOST),
        (f"{HOST}:5000", "8443", f"{HOST}:5000"),
        (f"{HOST}:0443", None, HOST),
        ("registry:443", None, "registry:443"),
        ("192.0.2.1", None, "192.0.2.1:8080"),
        ("[2001:db8::1]", None, "[2001:db8::1]:8080"),
        ("[2001:db8::1]:443", None, "[2001:db8::1]"),
    ],
)
def test_host_is_the_one_of_references(
    text: str, port: str | None, expected: str
) -> None:
    """Without a port it has the proxy's, and never one that references leave out."""
    environment = {} if port is None else {"PROXY_PORT": port}
    assert trust.registry_host(text, environment) == expected


@pytest.mark.parametrize(
    ("host", "variables", "said"),
    [
        ("", {}, "HOST is missing: name it as references do, as in registry."),
        (f"https://{HOST}", {}, "HOST: 'https://"),
        (f"{HOST}/org/app", {}, "HOST: "),
        (f"{HOST}:99999", {}, "HOST: "),
        ("../../etc", {}, "HOST: "),
        ("a'; rm -r x", {}, "HOST: "),
        ("one\ntwo", {}, "HOST: "),
        (HOST, {"PROXY_PORT": "http"}, "PROXY_PORT: 'http'"),
        (HOST, {"PROXY_PORT": "0"}, "PROXY_PORT: "),
        (HOST, {"CONFDIR": __file__}, f"CONFDIR: {__file__}"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(
    host: str, variables: dict[str, str], said: str
) -> None:
    """The program fails, and prints nothing that could be pasted."""
    done = subprocess.run(
        [sys.executable, "-m", "registry_proxy", "trust", host],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"registry proxy: {said}")
    assert done.stderr.count("\n") == 1


def test_authority_is_made_before_the_first_start(tmp_path: Path) -> None:
    """Mitmproxy uses it afterwards; what is printed of it is there to compare."""
    folder = tmp_path / "new" / "confdir"
    environment = {"CONFDIR": str(folder)}
    printed = trust.describe_trust(HOST, environment)
    used = CertStore.from_store(folder, CONF_BASENAME, KEY_SIZE).default_ca
    assert printed.count(used.to_pem().decode()) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / trust.KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert trust.describe_trust(HOST, environment) == printed
    assert str(folder / trust.CERTIFICATE_FILE) in printed
    assert used.fingerprint().hex() in printed.replace(":", "").lower()
    assert f"valid until  {used.notafter.date()}" in printed
    assert "PRIVATE" not in printed


def test_authority_of_ones_own(tmp_path: Path) -> None:
    """One that lies where mitmproxy takes it is handed out, and its key stays shut."""
    trust.describe_trust(HOST, {"CONFDIR": str(tmp_path)})
    pem = put_authority(tmp_path, DAY)
    printed = trust.describe_trust(HOST, {"CONFDIR": str(tmp_path)})
    assert printed.count(pem) == 2
    assert (tmp_path / trust.CERTIFICATE_FILE).read_text() == pem


def test_authority_that_has_ended(tmp_path: Path) -> None:
    """Nobody is told to trust it; the message says what to do."""
    put_authority(tmp_path, -DAY)
    with pytest.raises(ValueRefused, match="delete mitmproxy-ca"):
        trust.describe_trust(HOST, {"CONFDIR": str(tmp_path)})


def test_notes(tmp_path: Path) -> None:
    """It is said where the authority does not matter, or the name does."""
    environment = {"CONFDIR": str(tmp_path), "TLS": "authority"}
    plain = trust.describe_trust(HOST, environment)
    without = trust.describe_trust(HOST, {**environment, "TLS": "off"})
    own = trust.describe_trust(HOST, {**environment, "TLS_CERT": "own.pem"})
    address = trust.describe_trust("[2001:db8::1]", environment)
    assert "TLS_CERT is set" in own
    assert "TLS_CERT is set" not in plain
    assert "started with TLS=authority" in without
    assert "started with" not in plain + own
    assert "2001:db8::1 is an address" in address
    assert "is an address" not in plain


@pytest.mark.parametrize("host", [HOST, f"{HOST}:443", "[2001:db8::1]"])
def test_every_client_is_told_the_same_host(tmp_path: Path, host: str) -> None:
    """Shells understand the commands, and each folder is that of the registry."""
    printed = trust.describe_trust(host, {"CONFDIR": str(tmp_path)})
    sections = re.split(rf"^{trust.HEADING}", printed, flags=re.MULTILINE)[1:]
    for section in sections:
        if not section.startswith("Windows"):
            subprocess.run(["sh", "-n"], input=f"# {section}", text=True, check=True)
    folders = re.findall(r"certs\.d/([^/\s]+)", printed)
    assert folders == [shlex.quote(trust.registry_host(host, {}))] * 5


def test_comments_among_commands_are_harmless_in_zsh() -> None:
    """It takes no comments from a terminal, and would wait for the end of a quote."""
    commands = trust.INSTRUCTIONS.partition(f"\n{trust.HEADING}")[2]
    posix = commands.partition("Windows")[0]
    for line in re.findall(r"^# (?!== ).*$", posix, re.MULTILINE):
        assert not re.search(r"['`()&|;]", line), line
