"""Decides what an environment variable may be, and what it means.

Every function raises `VariableError` where a variable has a value that cannot work.
"""

import ipaddress
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from resolver.grammar.url import parse_host, parse_url

PORT_MAX = 65535


class VariableError(ValueError):
    """An environment variable has a value that cannot work."""


def read_url(
    environment: Mapping[str, str], url: str, host: str = "", label: str = ""
) -> str:
    """Return the URL that the variables give, or nothing."""
    try:
        if text := environment.get(url, ""):
            return parse_url(text)
    except ValueError as error:
        raise VariableError(f"{url}: {error}") from error
    if host and (name := read_host(environment, host)):
        return f"https://{name}"
    if label and (tld := read_host(environment, "DNS_TLD")):
        return f"https://{label}.{tld}"
    return ""


def read_host(environment: Mapping[str, str], variable: str) -> str:
    """Return a host, with a port if there is one, or nothing."""
    text = environment.get(variable, "")
    try:
        return parse_host(text) if text else ""
    except ValueError as error:
        raise VariableError(
            f"{variable}: {text!r} is no host name or address; write it as in"
            " registry.example.com"
        ) from error


def read_address(environment: Mapping[str, str], variable: str, port: str) -> str:
    """Return the address as mitmproxy takes it, an IPv6 one without brackets."""
    text = environment.get(variable, "")
    bare = text.removeprefix("[").removesuffix("]")
    with suppress(ValueError):
        return str(ipaddress.ip_address(bare))
    if text.rpartition(":")[1]:
        raise VariableError(
            f"{variable}: {text!r} is no address without a port; write it as in"
            f" 127.0.0.1, and the port as {port}"
        )
    return read_host(environment, variable)


def read_port(environment: Mapping[str, str], variable: str) -> int | None:
    """Return a port, or None."""
    text = environment.get(variable, "")
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) <= PORT_MAX:
        raise VariableError(
            f"{variable}: {text!r} is no port; write a number from 1 to {PORT_MAX}"
        )
    return int(text)


def read_file(environment: Mapping[str, str], variable: str) -> str:
    """Return the whole path of a file that can be read, or nothing."""
    text = environment.get(variable, "")
    path = Path(text).expanduser()
    if text and not path.is_file():
        raise VariableError(
            f"{variable}: there is no file {text!r}; name one in PEM format, as in"
            " /certificates/registry.pem"
        )
    if text and not os.access(path, os.R_OK):
        raise VariableError(f"{variable}: {text!r} cannot be read by this user")
    return str(path.resolve()) if text else ""


def read_word(
    environment: Mapping[str, str], variable: str, choices: tuple[str, str]
) -> str:
    """Return one of the words in lower case, or nothing."""
    text = environment.get(variable, "").lower()
    if text not in ("", *choices):
        raise VariableError(f"{variable}: {text!r} is neither {' nor '.join(choices)}")
    return text


def read_seconds(environment: Mapping[str, str], variable: str, most: int) -> str:
    """Return a number of seconds up to the most, or nothing."""
    text = environment.get(variable, "")
    if text and not (text.isdecimal() and int(text) <= most):
        raise VariableError(
            f"{variable}: {text!r} is no number of seconds; write one from 0 to {most}"
        )
    return text


def read_flag(environment: Mapping[str, str], variable: str) -> str:
    """Return true, or nothing."""
    text = environment.get(variable, "").lower()
    if text not in ("", "0", "1", "false", "true", "no", "yes"):
        raise VariableError(f"{variable}: {text!r} is neither true nor false")
    return "true" if text in ("1", "true", "yes") else ""
