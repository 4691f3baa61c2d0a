"""The commands of `registry-proxy`: which there are, and what each is told.

A command is told by variables of the environment. Each is an option of the command
line as well, which beats the variable: `--proxy-port 9000` is `PROXY_PORT=9000`.
Modules are loaded when they are needed, because mitmproxy takes a second. A module of a
command has two functions: `add_arguments`, which declares the arguments that are not
variables, and `run`, which returns the exit status.
"""

import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from mitm import interrupt
from mitm.option import TABLE, VARIABLES, ValueRefused
from mitm.version import VERSION
from registry_proxy import IS_CHECKOUT
from registry_proxy.spelling import check_spelling, explain_word, option_of

_SERVING = ("run", "web", "console")
_SHORT = 5
_BROKEN_PIPE = 128 + 13
"""The status of a program that SIGPIPE ended."""
_OF_THE_PLACE = ("PROXY_PORT", "LISTEN_HOST")
_OF_THE_CACHE = ("CACHE", "CACHE_SIZE")
_OF_THE_PAGE = ("PULLS_PORT", "PULLS_HOST", "PULLS_TOKEN")
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
        "pull.command", "pull an image, and say what is wrong", _OF_THE_PLACE
    ),
    "prefetch": Command(
        "pull.prefetch",
        "let the proxy keep images before anybody asks",
        (*_OF_THE_PLACE, *_OF_THE_CACHE),
    ),
    "cache": Command(
        "registry_proxy.cache", "list, check or prune what is kept", _OF_THE_CACHE
    ),
    "trust": Command(
        "registry_proxy.trust", "print what makes clients trust it", _OF_THE_AUTHORITY
    ),
    "report": Command("report.command", "make a page of a saved flow file"),
    "watch": Command("live.watch", "show pulls in a terminal", _OF_THE_PAGE),
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
        case [name, *rest] if name in _present():
            return _run(name, rest)
    names = ", ".join(_present())
    sys.stderr.write(f"registry-proxy: {words[0]!r} is no command; there are {names}\n")
    return 2


def _present() -> Mapping[str, Command]:
    """Return the commands that are there; the image leaves the demos out."""
    return {
        name: command
        for name, command in COMMANDS.items()
        if find_spec(command.module.partition(".")[0])
    }


def _run(name: str, words: Sequence[str]) -> int:
    command = COMMANDS[name]
    try:
        module = cast("Module", import_module(command.module))
    except ModuleNotFoundError as error:
        if not command.extra:
            raise
        wheel = f"balena_registry_proxy-{VERSION}-py3-none-any.whl[{command.extra}]"
        sys.stderr.write(
            f"registry-proxy: {name} needs {error.name}, which is not installed;"
            f" install the wheel with its extra: pipx install --force './{wheel}'\n"
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
    ours, rest = _split(words)
    options, strange = parser.parse_known_args(ours)
    options.arguments = rest
    if rest and name not in _SERVING:
        parser.error(f"{rest[0]}: only {', '.join(_SERVING)} take words after --")
    if strange:
        parser.error(explain_word(strange[0], command.variables))
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


def _split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the words of the command, and those after two dashes."""
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def _add_variables(parser: ArgumentParser, variables: Sequence[str]) -> None:
    """Let each variable be an option too, with the words of the table."""
    for row, meaning in TABLE.items():
        if row.variable in variables:
            is_told = row.default not in ("", False) and row.variable != "CONFDIR"
            default = f" [{row.default}]" if is_told else ""
            parser.add_argument(
                option_of(row.variable),
                dest=row.variable,
                metavar=row.variable,
                default=SUPPRESS,
                help=f"{_by_option(meaning)}{default}".replace("%", "%%"),
            )


def _by_option(meaning: str) -> str:
    """Return what the table says, with the command line's own names."""
    for row in TABLE:
        if row.name and row.variable:
            meaning = meaning.replace(f"`{row.name}`", option_of(row.variable))
    return meaning.replace("`", "")


def _describe() -> str:
    """Return what `registry-proxy --help` prints."""
    present = _present()
    width = max(map(len, present))
    rows = (f"  {name:<{width}}  {each.purpose}" for name, each in present.items())
    return "\n".join(
        (
            "usage: registry-proxy <command> [options]\n",
            "Pull balena releases by name, with any container client.\n",
            *rows,
            "\nregistry-proxy <command> --help describes a command.\n",
        )
    )
