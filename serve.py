"""Starts mitmproxy with the addon, as the environment says: `make run`, the container.

Without an argument it becomes mitmdump; `mitmweb` and `mitmproxy` are the interfaces
in which flows are looked at (`make web`, `make console`). The variables are those of
the README's table. An explicit URL beats a host name, a host name beats DNS_TLD.
"""

import os
import re
import shlex
import socket
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from resolver.storage.address import parse_allowed
from variable import (
    VariableError,
    read_address,
    read_file,
    read_flag,
    read_port,
    read_seconds,
    read_url,
    read_word,
)

if sys.platform != "win32":
    import resource

ROOT = Path(__file__).resolve().parent
CONFDIR = ROOT / ".mitmproxy"
"""Where mitmproxy finds its options and keeps its certificate authority."""
OPTIONS = ROOT / "mitm.conf"
DNS_TLD = "balena-cloud.com"
GRACE_PERIOD_MAX = 3600
PROGRAMS = ("mitmdump", "mitmweb", "mitmproxy")
WEB_PORT = 8081
WEB_COLUMNS = ("status", "comment", "time")
OPEN_FILES = 16384
"""As many as one process of mitmproxy can make use of, and more."""
VARIABLES = {
    "confdir": "CONFDIR",
    "balena_api_url": "API_URL",
    "balena_public_url": "PUBLIC_URL",
    "balena_trust_forwarded": "TRUST_PROXY",
    "balena_tags": "TAGS",
    "balena_grace_period": "GRACE_PERIOD",
    "balena_tls": "TLS",
    "balena_tls_cert": "TLS_CERT",
    "balena_tls_key": "TLS_KEY",
    "balena_metrics_listen": "METRICS_PORT",
    "balena_log_format": "LOG_FORMAT",
    "balena_blobs": "BLOBS",
    "balena_blobs_allow": "BLOBS_ALLOW",
}
"""The variable behind each option."""
_LISTEN_FLAGS = frozenset({"--listen-host", "--listen-port", "-p"})
UNBUFFERED = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
"""Else the log of a service reaches its reader in blocks, much too late, or not at all
where it has a character that the locale does not."""


def mitmdump_arguments(environment: Mapping[str, str]) -> list[str]:
    """Return what mitmdump is to be called with.

    Raises:
        VariableError: a variable has a value that cannot work; the message names it.

    """
    listen, port = _listen(environment)
    registry = read_url(environment, "REGISTRY_URL", "REGISTRY2_HOST", "registry2")
    api = read_url(environment, "API_URL", "API_HOST", "api")
    public = read_url(environment, "PUBLIC_URL")
    mode = f"reverse:{registry or f'https://registry2.{DNS_TLD}'}"
    options = {
        "confdir": str(confdir(environment)),
        "balena_api_url": api,
        "balena_public_url": public,
        "balena_trust_forwarded": read_flag(environment, "TRUST_PROXY"),
        "balena_tags": read_word(environment, "TAGS", ("ignore", "select")),
        "balena_grace_period": read_seconds(
            environment, "GRACE_PERIOD", GRACE_PERIOD_MAX
        ),
        "balena_tls": read_word(environment, "TLS", ("off", "authority")),
        "balena_tls_cert": read_file(environment, "TLS_CERT"),
        "balena_tls_key": read_file(environment, "TLS_KEY"),
        "balena_metrics_listen": _metrics(environment, listen, port),
        "balena_log_format": read_word(environment, "LOG_FORMAT", ("text", "json")),
        "balena_blobs": read_word(environment, "BLOBS", ("redirect", "follow")),
        "balena_blobs_allow": _allowed(environment, "BLOBS_ALLOW"),
    }
    if options["balena_tls_key"] and not options["balena_tls_cert"]:
        raise VariableError(
            "TLS_KEY: has no effect without TLS_CERT; set TLS_CERT=/path/to/chain.pem"
        )
    if options["balena_tls"] and options["balena_tls_cert"]:
        raise VariableError(
            f"TLS: {options['balena_tls']} contradicts TLS_CERT, which serves TLS with"
            " that certificate; leave one of them out"
        )
    if options["balena_blobs_allow"] and options["balena_blobs"] != "follow":
        raise VariableError(
            "BLOBS_ALLOW: has no effect without BLOBS=follow; set that as well"
        )
    settings = [f"{name}={value}" for name, value in options.items() if value]
    return [
        *("-s", str(ROOT / "addon.py")),
        *("--mode", f"{mode}@{listen}:{port}"),
        *(word for setting in settings for word in ("--set", setting)),
        *_extra(environment, {name for name, value in options.items() if value}),
    ]


def mitmweb_arguments(environment: Mapping[str, str]) -> list[str]:
    """Return what mitmweb is to be called with beside what mitmdump is.

    Raises:
        VariableError: as `mitmdump_arguments`.

    """
    listen, proxy_port = _listen(environment)
    port = read_port(environment, "WEB_PORT")
    if port == proxy_port:
        raise VariableError(
            f"WEB_PORT: {port} is the port of the proxy itself; choose another, as"
            f" {WEB_PORT + 1}"
        )
    if port and free_port(port) != port:
        raise VariableError(
            f"WEB_PORT: {port} is taken; choose another, or none for a free one"
        )
    port = port or free_port(0 if proxy_port == WEB_PORT else WEB_PORT)
    settings = [
        f"web_port={port}",
        *(f"web_columns={name}" for name in WEB_COLUMNS),
        # Without effect where the mode has an address, but the page shows them.
        f"listen_host={listen}",
        f"listen_port={proxy_port}",
    ]
    return [word for setting in settings for word in ("--set", setting)]


def arguments_of(program: str, environment: Mapping[str, str]) -> list[str]:
    """Return what the program is to be called with.

    Raises:
        VariableError: as `mitmdump_arguments`.

    """
    web = mitmweb_arguments(environment) if program == "mitmweb" else []
    # The user's own arguments come last, and so they count.
    return [*web, *mitmdump_arguments(environment)]


def main(program: str = "mitmdump") -> None:
    """Become the program, or end with one line that names the variable at fault."""
    if program not in PROGRAMS:
        sys.exit(f"registry proxy: {program!r} is not one of {', '.join(PROGRAMS)}")
    try:
        arguments = arguments_of(program, os.environ)
        link_options(confdir(os.environ))
    except VariableError as error:
        sys.exit(f"registry proxy: {error}")
    raise_open_files()
    path = Path(sys.executable).parent / program
    os.execve(path, [str(path), *arguments], UNBUFFERED | os.environ)  # noqa: S606 - no shell is wanted


def free_port(preferred: int = 0) -> int:
    """Return a port of loopback on which nobody listens, the preferred one if free."""
    for port in (preferred, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as listener:
            found: int = listener.getsockname()[1]
            return found
    raise VariableError("no port of loopback is free")


def confdir(environment: Mapping[str, str]) -> Path:
    """Return the folder of mitmproxy's authority, and of the link to its options."""
    text = environment.get("CONFDIR", "")
    return Path(text).expanduser().resolve() if text else CONFDIR


def link_options(folder: Path) -> None:
    """Put `mitm.conf` where mitmproxy reads options, and nowhere else does it.

    Raises:
        VariableError: nothing can be written there.

    """
    link = folder / "config.yaml"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if link.exists() and not link.is_symlink():
            raise VariableError(
                f"CONFDIR: {link} is a file of your own, and would be replaced; name"
                " another folder, or move its options into mitm.conf"
            )
        if not link.is_symlink() or link.readlink() != OPTIONS:
            link.unlink(missing_ok=True)
            link.symlink_to(OPTIONS)
    except OSError as error:
        raise VariableError(
            f"CONFDIR: {folder}: {error.strerror}; name a folder that this user may"
            " write to, it keeps the authority that clients trust"
        ) from error


def raise_open_files() -> None:
    """Raise this process's limit of open files, as far as it may be raised.

    Every client takes two, and the usual limit of 1024 is one for programs of old.
    """
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(environment: Mapping[str, str]) -> tuple[str, int]:
    """Return address and port of the proxy."""
    address = read_address(environment, "LISTEN_HOST", "PROXY_PORT") or "127.0.0.1"
    return address, read_port(environment, "PROXY_PORT") or 8080


def _metrics(environment: Mapping[str, str], listen: str, proxy_port: int) -> str:
    """Return where the metrics are shown, if anywhere."""
    host = read_address(environment, "METRICS_HOST", "METRICS_PORT")
    port = read_port(environment, "METRICS_PORT")
    if port is None:
        if host:
            raise VariableError(
                "METRICS_HOST: has no effect without METRICS_PORT; set"
                " METRICS_PORT=9090 as well"
            )
        return ""
    if port == proxy_port:
        raise VariableError(
            f"METRICS_PORT: {port} is the port of the proxy itself; choose another, as"
            " 9090"
        )
    host = host or ("127.0.0.1" if listen == "localhost" else listen)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _allowed(environment: Mapping[str, str], variable: str) -> str:
    text = environment.get(variable, "")
    try:
        parse_allowed(text)
    except ValueError as error:
        raise VariableError(f"{variable}: {error}") from error
    return text


def _extra(environment: Mapping[str, str], chosen: Collection[str]) -> list[str]:
    """Return the arguments in ARGS; none that mitmproxy would ignore in silence.

    Nor any that would undo what a variable chose.
    """
    try:
        words = shlex.split(environment.get("ARGS", ""))
    except ValueError as error:
        raise VariableError(f"ARGS: {error}; close what is quoted") from error
    fixed = set(re.findall(r"^(\w+):", OPTIONS.read_text(), re.MULTILINE))
    apart = [part for word in words for part in _apart(word)]
    for flag in _LISTEN_FLAGS.intersection(apart):
        raise VariableError(
            f"ARGS: {flag} has no effect; write LISTEN_HOST=127.0.0.1 and"
            " PROXY_PORT=8080 in its place"
        )
    for flag, word in pairwise(apart):
        name = word.partition("=")[0]
        if flag == "--set" and name in chosen:
            raise VariableError(
                f"ARGS: --set {name} contradicts {VARIABLES[name]}: use one of them, as"
                f" in {VARIABLES[name]}={word.partition('=')[2]}"
            )
        if flag == "--set" and name in fixed:
            raise VariableError(
                f"ARGS: --set {name} has no effect, because {OPTIONS.name} sets {name}"
                " and mitmproxy prefers that: change it there"
            )
    return words


def _apart(word: str) -> tuple[str, ...]:
    """Return `--set=option=value` in two words, as mitmproxy takes it too."""
    flag, _, rest = word.partition("=")
    return (flag, rest) if flag == "--set" and rest else (word,)


if __name__ == "__main__":
    main(*sys.argv[1:2])
