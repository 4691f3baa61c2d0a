"""What an option or an environment variable may be: one parser for each kind.

A parser takes what stands in a variable, or the value that mitmproxy has, and returns
what is used. It raises `ValueError` in words that name the value and what would work.
"""

import ipaddress
import os
import re
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from resolver.grammar.url import PORT_MAX, parse_host

SIZE_MIN, SIZE_MAX = 10**6, 10**15
_UNITS = {"": 1} | {
    f"{prefix}{ending}": base**power
    for power, prefix in enumerate("KMGT", 1)
    for ending, base in (("B", 1000), ("", 1000), ("IB", 1024), ("I", 1024))
}
"""Bytes of each unit, in capitals."""
_SIZE = re.compile(
    r"(?P<number>[0-9]{1,16}(?:\.[0-9]{1,3})?) ?(?P<unit>[KMGT](?:I?B|I)?|)",
    re.IGNORECASE | re.ASCII,
)
_OF_A_CACHE = {"blobs", "partial", "index.json", "lock", "lost+found"}
"""What may be in a folder that becomes one: its parts, and what new disks have."""
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def parse_flag(value: str | int) -> bool:
    """Return whether something is switched on."""
    try:
        return _FLAGS[str(value).lower()]
    except KeyError as error:
        raise ValueError(f"{value!r} is neither true nor false") from error


def number(
    least: int, most: int, noun: str = "number of seconds"
) -> Callable[[str | int], int]:
    """Return the parser of a whole number within these bounds."""

    def parse(value: str | int) -> int:
        try:
            amount = int(value)
        except ValueError as error:
            raise ValueError(
                f"{value!r} is no {noun}; write a number from {least} to {most}"
            ) from error
        if not least <= amount <= most:
            raise ValueError(f"{amount} is not between {least} and {most}")
        return amount

    return parse


parse_port = number(1, PORT_MAX, "port")


def word[Word: StrEnum](words: type[Word]) -> Callable[[str], Word]:
    """Return the parser of one of these words, in capitals or not."""

    def parse(text: str) -> Word:
        try:
            return words(text.lower())
        except ValueError as error:
            choices = ", ".join(words)
            raise ValueError(f"{text!r} is not one of {choices}") from error

    return parse


def parse_host_name(text: str) -> str:
    """Return a host, with its port if it has one."""
    try:
        return parse_host(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no host name or address; write it as in registry.example.com"
        ) from error


def parse_hosts(text: str) -> frozenset[str]:
    """Return names or addresses of hosts, separated by commas, in lower case."""
    hosts = [each for part in text.split(",") if (each := part.strip().lower())]
    for each in hosts:
        parts = urlsplit(f"//{parse_host_name(each)}")
        if parts.port is not None:
            raise ValueError(
                f"{each!r} has a port; name the host alone, as in {parts.hostname}"
            )
    if not hosts:
        raise ValueError(f"{text!r} names no host; write it as in ghcr.io")
    return frozenset(each.strip("[]") for each in hosts)


def address(port_variable: str) -> Callable[[str], str]:
    """Return the parser of an address to listen on, whose port is another variable.

    mitmproxy takes an IPv6 one without brackets.
    """

    def parse(text: str) -> str:
        with suppress(ValueError):
            return str(ipaddress.ip_address(_without_brackets(text)))
        if ":" in text:
            raise ValueError(
                f"{text!r} is no address without a port; write it as in 127.0.0.1, and"
                f" the port as {port_variable}"
            )
        return parse_host_name(text)

    return parse


def parse_address_with_port(text: str) -> tuple[str, int]:
    """Return address and port to listen on."""
    host, _, port = text.rpartition(":")
    try:
        return str(ipaddress.ip_address(_without_brackets(host))), parse_port(port)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no address with a port; write it as in 127.0.0.1:9090 or"
            " [::1]:9090"
        ) from error


def parse_path(text: str) -> Path:
    """Return the whole path of what may be there or not."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(
            f"{text!r} is in the home of a user who does not exist"
        ) from error


def parse_file(text: str) -> Path:
    """Return the whole path of a file in PEM format that can be read.

    A link stays one: it leads to another file when a certificate is renewed.
    """
    return _readable(text, "one in PEM format, as in /certificates/registry.pem")


def parse_token_file(text: str) -> Path:
    """Return the whole path of a file with a token that can be read."""
    return _readable(text, "one that has the token and nothing else")


def _readable(text: str, expected: str) -> Path:
    path = parse_path(text)
    if not path.is_file():
        raise ValueError(f"there is no file {text!r}; name {expected}")
    if not os.access(path, os.R_OK):
        raise ValueError(
            f"{text!r} cannot be read by this user; let this user read it, or name"
            f" {expected}"
        )
    return path


def parse_folder(text: str) -> Path:
    """Return the whole path of a folder that can be written, or made."""
    path = parse_path(text)
    there = next(each for each in (path, *path.parents) if os.path.exists(each))  # noqa: PTH110 - it never raises
    if not there.is_dir():
        raise ValueError(f"{text!r} is no folder, because {str(there)!r} is a file")
    if there == path and (other := _other_file(path)):
        raise ValueError(
            f"{text!r} has other files in it, as {other!r}, and is no cache; name an"
            " empty folder, or one that is not there"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(
            f"{text!r} cannot be written by this user; name a folder in which it may"
            " make files"
        )
    return path


def _other_file(folder: Path) -> str:
    """Return what is in a folder that is no cache and was not empty, if anything is."""
    try:
        names = {each.name for each in folder.iterdir()}
    except OSError:
        return ""
    return "" if "oci-layout" in names else min(names - _OF_A_CACHE, default="")


def parse_size(text: str) -> int:
    """Return a size in bytes, of which there may be a unit."""
    match = _SIZE.fullmatch(text.strip())
    bytes_ = (
        int(Decimal(match["number"]) * _UNITS[match["unit"].upper()]) if match else 0
    )
    if not SIZE_MIN <= bytes_ <= SIZE_MAX:
        raise ValueError(
            f"{text!r} is no size from 1MB to 1000TB; write it as in 500MB, 20GB or"
            " 1TiB"
        )
    return bytes_


def _without_brackets(host: str) -> str:
    return host.removeprefix("[").removesuffix("]")
