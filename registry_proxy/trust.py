"""Print what makes clients trust this proxy.

With TLS=authority mitmproxy signs a certificate for each name that clients ask for,
with an authority that it makes when it starts first. It is made here if there is none
yet, so that it can be handed out before.
"""

import ipaddress
import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mitmproxy.certs import Cert, CertStore
from mitmproxy.options import CONF_BASENAME, KEY_SIZE

from mitm.option import Tls, ValueRefused
from registry_proxy import serve
from resolver.grammar.url import parse_host

HEADING = "# == "
KEY_FILE = f"{CONF_BASENAME}-ca.pem"
CERTIFICATE_FILE = f"{CONF_BASENAME}-ca-cert.pem"
_HTTPS_PORT = 443
_PORT = re.compile(r":(\d+)$")

# Comments between commands have no quotes and no parentheses: zsh, pasted into, does
# not know that they are comments.
INSTRUCTIONS = """\
# The authority that signs the certificates of this proxy
#   file         {path}
#   SHA-256      {fingerprint}
#   valid until  {expiry}
#
# Whoever has its private key, {key_file} in the same folder, can pose as any
# host to those who trust it system-wide: keep that folder to yourself, and prefer the
# folders that clients have for a single registry, where these are enough.
{notes}
# == Linux, macOS: the certificate as a file, and its fingerprint to compare
cat > {file} <<'EOF'
{pem}
EOF
openssl x509 -noout -fingerprint -sha256 -in {file}

# == Debian, Ubuntu, Alpine, system-wide: enough for every client; restart what runs
sudo install -D -m 644 {file} /usr/local/share/ca-certificates/{file}
sudo update-ca-certificates

# == Fedora, RHEL, system-wide: enough for every client; restart what runs
sudo install -D -m 644 {file} /etc/pki/ca-trust/source/anchors/{file}
sudo update-ca-trust

# == docker on Linux: the system-wide commands, and then this, as it reads them at start
sudo systemctl restart docker
# docker pull {host}/<org>/<app>/<version>

# == docker on Linux with the classic image store, but for builds: read at the next pull
# Not enough for docker build, nor for the containerd image store, with which docker 29
# is installed. Where docker info shows driver-type io.containerd.snapshotter.v1, it is
# that one.
sudo install -D -m 644 {file} /etc/docker/certs.d/{folder}/ca.crt

# == containerd, by ctr or nerdctl: read at the next pull
sudo install -D -m 644 {file} /etc/containerd/certs.d/{folder}/ca.crt
sudo tee /etc/containerd/certs.d/{folder}/hosts.toml >/dev/null <<'EOF'
server = "https://{host}"
ca = "ca.crt"

[host."https://{host}"]
  capabilities = ["pull", "resolve"]
  ca = "ca.crt"
EOF
# ctr images pull --hosts-dir /etc/containerd/certs.d {host}/<org>/<app>:latest

# == Kubernetes on containerd, each node: the commands for containerd, and this
# in /etc/containerd/config.toml, with a restart of containerd where it was missing
# [plugins."io.containerd.grpc.v1.cri".registry]     in containerd 1
# [plugins."io.containerd.cri.v1.images".registry]   in containerd 2
#   config_path = "/etc/containerd/certs.d"

# == k3s, each node: the command, and the rest in /etc/rancher/k3s/registries.yaml;
# restart k3s
sudo install -D -m 644 {file} /etc/rancher/k3s/{file}
# configs:
#   "{host}":
#     tls:
#       ca_file: /etc/rancher/k3s/{file}

# == podman, buildah, skopeo, CRI-O: read at the next pull
sudo install -D -m 644 {file} /etc/containers/certs.d/{folder}/ca.crt
# podman pull {host}/<org>/<app>/<version>

# == podman, buildah, skopeo, for one user, without root
install -D -m 644 {file} ~/.config/containers/certs.d/{folder}/ca.crt

# == macOS, system-wide, and Docker Desktop; before 4.37 restart that by its menu
sudo security add-trusted-cert -d -r trustRoot \\
    -k /Library/Keychains/System.keychain {file}
docker desktop restart

# == Windows, in PowerShell: all that this user runs, and Docker Desktop
@'
{pem}
'@ | Set-Content -Encoding ascii {file}
Import-Certificate -FilePath {file} -CertStoreLocation Cert:\\CurrentUser\\Root
docker desktop restart
# for all users, as administrator: -CertStoreLocation Cert:\\LocalMachine\\Root
# or, without PowerShell:          certutil -addstore -user Root {file}
"""
NO_TLS = """\
#
# TLS is not set: the proxy speaks plain HTTP until it is started with TLS=authority.
"""
OTHER_CERTIFICATE = """\
#
# TLS_CERT is set: clients are shown that certificate, and have to trust whoever signed
# it. The rest of this is about the authority that TLS=authority uses in its place.
"""
ADDRESS = """\
#
# {host} is an address: the certificate fits if the proxy itself is reached there.
# Behind NAT, or as a container with a published port, it has to be called by a name.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the host."""
    parser.add_argument(
        "host",
        metavar="HOST",
        nargs="?",
        default="",
        help="the host of references, as in registry.example.com:8443",
    )


def run(options: Namespace, environment: Mapping[str, str]) -> int:
    """Print it.

    Raises:
        ValueRefused: as `describe_trust`.

    """
    sys.stdout.write(describe_trust(options.host, environment))
    return 0


def describe_trust(text: str, environment: Mapping[str, str]) -> str:
    """Return what is to be printed for the host.

    Raises:
        ValueRefused: HOST or a variable has a value that cannot work.

    """
    host = registry_host(text, environment)
    folder = serve.confdir(environment)
    try:
        path = authority_file(folder)
        certificate = Cert.from_pem(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueRefused(f"CONFDIR: {folder}: {error}") from error
    if certificate.has_expired():
        raise ValueRefused(
            f"CONFDIR: the authority in {folder} ended on"
            f" {certificate.notafter:%Y-%m-%d}: delete {CONF_BASENAME}-ca* there,"
            " restart the proxy, and hand out the new one"
        )
    return instructions(host, path, certificate, _notes(environment))


def registry_host(text: str, environment: Mapping[str, str]) -> str:
    """Return the registry's host as it stands in references.

    Without a port it gets the proxy's. 443 is left out, except for a name that without
    it would not be taken for a host.

    Raises:
        ValueRefused: it is no host, or PROXY_PORT is no port.

    """
    if not text:
        raise ValueRefused(
            "HOST is missing: name it as references do, as in registry.example.com:8443"
        )
    _check("HOST", text, text, "registry.example.com or registry.example.com:8443")
    name = _PORT.sub("", text)
    if name == text:
        port = environment.get("PROXY_PORT") or "8080"
        _check("PROXY_PORT", port, f"{name}:{port}", "8080")
    else:
        port = text.removeprefix(f"{name}:")
    is_plain = int(port) == _HTTPS_PORT and re.search(r"[.:]", name)
    return name if is_plain else f"{name}:{int(port)}"


def authority_file(folder: Path) -> Path:
    """Return the file of the authority's certificate; make an authority if none is.

    Raises:
        OSError: the folder cannot be read or written.
        ValueError: what is there is no certificate.

    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / KEY_FILE).exists():
        CertStore.create_store(folder, CONF_BASENAME, KEY_SIZE)
    # Where an operator put one of his own, that file may be the only one.
    signing = Cert.from_pem((folder / KEY_FILE).read_bytes()).to_pem()
    path = folder / CERTIFICATE_FILE
    if not path.exists() or path.read_bytes() != signing:
        path.write_bytes(signing)
    return path


def instructions(host: str, path: Path, certificate: Cert, notes: str = "") -> str:
    """Return what makes each kind of client trust the certificate for that host."""
    name = _PORT.sub("", host).strip("[]")
    with suppress(ValueError):
        ipaddress.ip_address(name)
        notes += ADDRESS.format(host=name)
    return INSTRUCTIONS.format(
        path=path,
        fingerprint=certificate.fingerprint().hex(":").upper(),
        expiry=f"{certificate.notafter:%Y-%m-%d}",
        key_file=KEY_FILE,
        notes=notes,
        host=host,
        folder=shlex.quote(host),
        file=f"{name.replace(':', '_')}.crt",
        pem=certificate.to_pem().decode().strip(),
    )


def _notes(environment: Mapping[str, str]) -> str:
    """Return what is to be known where it is not this authority that signs."""
    if environment.get("TLS_CERT"):
        return OTHER_CERTIFICATE
    return "" if environment.get("TLS", "").lower() == Tls.AUTHORITY else NO_TLS


def _check(variable: str, value: str, host: str, example: str) -> None:
    try:
        parse_host(host)
    except ValueError as error:
        raise ValueRefused(
            f"{variable}: {value!r} cannot be used; write it as in {example}"
        ) from error
