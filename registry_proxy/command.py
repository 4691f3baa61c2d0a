"""The commands of `registry-proxy`: which there are, and what each is told.

A command is told by variables of the environment. Each is an option of the command
line as well, which beats the variable: `--proxy-port 9000` is `PROXY_PORT=9000`.
Modules are loaded when they are needed, because mitmproxy takes a second. A module of a
command has two functions: `add_arguments`, which declares what is no variable, and
`run`, which returns the exit status.
"""

import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from mitm import interrupt
from mitm.option import TABLE, VARIABLES, ValueRefused
from mitm.version import VERSION
from registry_proxy import IS_CHECKOUT
from registry_proxy.spelling import check_spelling

_SHORT = 5
_BROKEN_PIPE = 128 + 13
"""The status of a program that SIGPIPE ended."""
_OF_THE_API = ("API_URL", "API_HOST", "DNS_TLD")
_OF_THE_AUTHORITY = ("PROXY_PORT", "CONFDIR", "TLS", "TLS_CERT")


@dataclass(frozen=True, slots=True)
class Command:
    """A command, its module, and the variables that it reads."""

    module: str
    purpose: str
    variables: Sequence[str] = ()
    extra: str = ""
    """The extra of the wheel that it needs."""


class Module(Protocol):
    """What a command consists of."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments that are no variables."""

    def run(self, options: Namespace, environment: Mapping[str, str]) -> int:
        """Do it, and return the exit status.

        Raises:
            ValueRefused: a variable has a value that cannot work.

        """


COMMANDS = {
    "run": Command(
        "registry_proxy.serve", "serve balenaCloud, or what is named", VARIABLES
    ),
    "web": Command(
        "registry_proxy.serve", "the same with mitmweb, to look at flows", VARIABLES
    ),
    "console": Command(
        "registry_proxy.serve", "the same with mitmproxy, in the terminal", VARIABLES
    ),
    "demo": Command(
        "demo.sample", "pull a sample release, offline", ["PROXY_PORT"], "demo"
    ),
    "debug-demo": Command(
        "demo.debug", "good and bad pulls in mitmweb, offline", ["PROXY_PORT"], "demo"
    ),
    "resolve": Command(
        "resolver.release.command", "show what a name stands for", _OF_THE_API
    ),
    "pull": Command(
        "pull.command", "pull an image, and say what is wrong", ["PROXY_PORT"]
    ),
    "trust": Command(
        "registry_proxy.trust", "print what makes clients trust it", _OF_THE_AUTHORITY
    ),
    "report": Command("report.command", "make a page of a saved flow file"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that is named, and return its exit status."""
    interrupt.install()
    words = list(sys.argv[1:] if arguments is None else arguments)
    match words:
        case [] | ["-h" | "--help", *_]:
            sys.stdout.write(_describe())
            return 0
        case ["--version", *_]:
            sys.stdout.write(f"registry-proxy {VERSION}\n")
            return 0
        case [name, *rest] if name in COMMANDS:
            return _run(name, rest)
    names = ", ".join(COMMANDS)
    sys.stderr.write(f"registry-proxy: {words[0]!r} is no command; there are {names}\n")
    return 2


def _run(name: str, words: Sequence[str]) -> int:
    command = COMMANDS[name]
    try:
        module = cast("Module", import_module(command.module))
    except ModuleNotFoundError as error:
        if not command.extra:
            raise
        sys.stderr.write(
            f"registry-proxy: {name} needs {error.name}, which is not installed;"
            f" install balena-registry-proxy[{command.extra}], as in: pipx install"
            f" 'balena-registry-proxy[{command.extra}]'\n"
        )
        return 1
    parser = ArgumentParser(
        prog=f"registry-proxy {name}", description=module.__doc__, allow_abbrev=False
    )
    parser.set_defaults(command=name)
    module.add_arguments(parser)
    if len(command.variables) > _SHORT:
        # Twenty options side by side are read by nobody.
        parser.usage = f"{parser.prog} [options] [-- ARGUMENT ...]"
    _add_variables(parser, command.variables)
    options = parser.parse_args(words)
    chosen = {
        variable: text
        for variable in command.variables
        if (text := getattr(options, variable, None)) is not None
    }
    try:
        # Another project's make may run what is installed, with variables of its own.
        check_spelling(os.environ, is_of_make=IS_CHECKOUT)
        return module.run(options, os.environ | chosen)
    except ValueRefused as error:
        sys.stderr.write(f"registry proxy: {error}\n")
        return 1
    except BrokenPipeError:
        # Whoever read it has seen enough; nothing is written when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _add_variables(parser: ArgumentParser, variables: Sequence[str]) -> None:
    """Let each variable be an option too, with the words of the table."""
    for row, meaning in TABLE.items():
        if row.variable in variables:
            default = f" [{row.default}]" if row.default not in ("", False) else ""
            parser.add_argument(
                f"--{row.variable.lower().replace('_', '-')}",
                dest=row.variable,
                metavar=row.variable,
                default=SUPPRESS,
                help=f"{meaning}{default}".replace("%", "%%").replace("`", ""),
            )


def _describe() -> str:
    """Return what `registry-proxy --help` prints."""
    width = max(map(len, COMMANDS))
    rows = (f"  {name:<{width}}  {each.purpose}" for name, each in COMMANDS.items())
    return "\n".join(
        (
            "usage: registry-proxy <command> [options]\n",
            "Pull balena releases by name, with any container client.\n",
            *rows,
            "\nregistry-proxy <command> --help describes a command.\n",
        )
    )
