"""Starts mitmdump with the addon, as the environment says: `make run`, the container.

The variables are those of the README's table. An explicit URL beats a host name, a
host name beats DNS_TLD.
"""

import ipaddress
import os
import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from resolver.public_url import parse_host, parse_url

if sys.platform != "win32":
    import resource

ROOT = Path(__file__).resolve().parent
CONFDIR = ROOT / ".mitmproxy"
"""Where mitmproxy finds its options and keeps its certificate authority."""
OPTIONS = ROOT / "mitm.conf"
DNS_TLD = "balena-cloud.com"
PORT_MAX = 65535
GRACE_PERIOD_MAX = 3600
OPEN_FILES = 16384
"""As many as one process of mitmproxy can make use of, and more."""
UNBUFFERED = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
"""Else the log of a service reaches its reader in blocks, much too late, or not at all
where it has a character that the locale does not."""


class VariableError(ValueError):
    """An environment variable has a value that cannot work."""


def mitmdump_arguments(environment: Mapping[str, str]) -> list[str]:
    """Return what mitmdump is to be called with.

    Raises:
        VariableError: a variable has a value that cannot work; the message names it.

    """
    listen = _address(environment) or "127.0.0.1"
    registry = _url(environment, "REGISTRY_URL", "REGISTRY2_HOST", "registry2")
    api = _url(environment, "API_URL", "API_HOST", "api")
    public = _url(environment, "PUBLIC_URL")
    mode = f"reverse:{registry or f'https://registry2.{DNS_TLD}'}"
    options = {
        "confdir": str(CONFDIR),
        "balena_api_url": api,
        "balena_public_url": public,
        "balena_trust_forwarded": _flag(environment, "TRUST_PROXY"),
        "balena_grace_period": _seconds(environment, "GRACE_PERIOD", GRACE_PERIOD_MAX),
    }
    settings = [f"{name}={value}" for name, value in options.items() if value]
    return [
        *("-s", str(ROOT / "addon.py")),
        *("--mode", f"{mode}@{listen}:{_port(environment)}"),
        *(word for setting in settings for word in ("--set", setting)),
        *_extra(environment),
    ]


def main() -> None:
    """Become mitmdump, or end with one line that names the variable at fault."""
    try:
        arguments = mitmdump_arguments(os.environ)
    except VariableError as error:
        sys.exit(f"registry proxy: {error}")
    link_options(CONFDIR)
    raise_open_files()
    mitmdump = Path(sys.executable).parent / "mitmdump"
    os.execve(mitmdump, [str(mitmdump), *arguments], UNBUFFERED | os.environ)  # noqa: S606 - no shell is wanted


def link_options(confdir: Path) -> None:
    """Put `mitm.conf` where mitmproxy reads options, and nowhere else does it."""
    confdir.mkdir(mode=0o700, exist_ok=True)
    link = confdir / "config.yaml"
    if not link.is_symlink() or link.readlink() != OPTIONS:
        link.unlink(missing_ok=True)
        link.symlink_to(OPTIONS)


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


def _url(
    environment: Mapping[str, str], url: str, host: str = "", label: str = ""
) -> str:
    """Return the URL that the variables give, or nothing."""
    try:
        if text := environment.get(url, ""):
            return parse_url(text)
    except ValueError as error:
        raise VariableError(f"{url}: {error}") from error
    if host and (name := _host(environment, host)):
        return f"https://{name}"
    if label and (tld := _host(environment, "DNS_TLD")):
        return f"https://{label}.{tld}"
    return ""


def _host(environment: Mapping[str, str], variable: str) -> str:
    text = environment.get(variable, "")
    try:
        return parse_host(text) if text else ""
    except ValueError as error:
        raise VariableError(
            f"{variable}: {text!r} is no host name or address; write it as in"
            " registry.example.com"
        ) from error


def _address(environment: Mapping[str, str]) -> str:
    """Return the address as mitmproxy takes it, an IPv6 one without brackets."""
    text = environment.get("LISTEN_HOST", "")
    bare = text.removeprefix("[").removesuffix("]")
    with suppress(ValueError):
        return str(ipaddress.ip_address(bare))
    if text.rpartition(":")[1]:
        raise VariableError(
            f"LISTEN_HOST: {text!r} is no address without a port; write it as in"
            " 127.0.0.1, and the port as PROXY_PORT"
        )
    return _host(environment, "LISTEN_HOST")


def _port(environment: Mapping[str, str]) -> int:
    text = environment.get("PROXY_PORT", "") or "8080"
    if not text.isdecimal() or not 0 < int(text) <= PORT_MAX:
        raise VariableError(
            f"PROXY_PORT: {text!r} is no port; write a number from 1 to {PORT_MAX}"
        )
    return int(text)


def _seconds(environment: Mapping[str, str], variable: str, most: int) -> str:
    text = environment.get(variable, "")
    if text and not (text.isdecimal() and int(text) <= most):
        raise VariableError(
            f"{variable}: {text!r} is no number of seconds; write one from 0 to {most}"
        )
    return text


def _flag(environment: Mapping[str, str], variable: str) -> str:
    text = environment.get(variable, "").lower()
    if text not in ("", "0", "1", "false", "true", "no", "yes"):
        raise VariableError(f"{variable}: {text!r} is neither true nor false")
    return "true" if text in ("1", "true", "yes") else ""


def _extra(environment: Mapping[str, str]) -> list[str]:
    """Return the arguments in ARGS; none that mitmproxy would ignore in silence."""
    try:
        words = shlex.split(environment.get("ARGS", ""))
    except ValueError as error:
        raise VariableError(f"ARGS: {error}; close what is quoted") from error
    fixed = set(re.findall(r"^(\w+):", OPTIONS.read_text(), re.MULTILINE))
    apart = [part for word in words for part in _apart(word)]
    for flag, word in pairwise(apart):
        name = word.partition("=")[0]
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
    main()
