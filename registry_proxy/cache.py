"""Show, check or prune the folder that CACHE names, whether a proxy runs on it or not.

`list` has the blobs, the most recently used first; `check` reads every blob and removes
those that are not what their digests say; `prune` evicts the least recently used until
the others fit.
"""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from mitm import interrupt
from mitm.option import CACHE_MISSING, DEFAULTS, ValueRefused, parse_variable
from mitm.parser import parse_path, parse_size
from mitm.story.quantity import describe_size
from pull.progress import Bar, progress
from resolver.blob.folder import Entry, Folder

_LIST, _CHECK, _PRUNE = ACTIONS = ("list", "check", "prune")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what is done, and how."""
    add = parser.add_argument
    add("action", nargs="?", choices=ACTIONS, default=_LIST, help="[list]")
    add("--json", action="store_true", help="list it as JSON")
    add("--to", metavar="SIZE", help="prune to so much, or to 0 [CACHE_SIZE]")


def run(options: Namespace, environment: Mapping[str, str]) -> int:
    """Do it, and return the exit status: 1 where a blob was damaged.

    Raises:
        ValueRefused: there is no such folder, or it cannot be read or written.

    """
    for option, action in (("json", _LIST), ("to", _PRUNE)):
        if getattr(options, option) and options.action != action:
            sys.stderr.write(f"--{option}: has no effect on {options.action}\n")
            return 2
    return interrupt.unwinding(lambda: _run(options, environment))


def _run(options: Namespace, environment: Mapping[str, str]) -> int:
    size_max = parse_variable("CACHE_SIZE", environment)
    if options.to:
        size_max = _parse_target(options.to)
    path = _find(environment.get("CACHE", ""))
    folder = Folder(path, size_max, is_ready=True)
    try:
        if options.action == _CHECK:
            return _check(folder)
        if options.action == _PRUNE:
            return _prune(folder, size_max)
        entries = sorted(folder.entries(), key=lambda each: each.used, reverse=True)
    except OSError as error:
        place = error.filename or path
        raise ValueRefused(f"CACHE: {place}: {error.strerror or error}") from error
    _write(_json(folder, entries) if options.json else _table(folder, entries))
    return 0


def _find(text: str) -> Path:
    """Return the folder, which has to be there: it may be misspelt."""
    if not text:
        raise ValueRefused(CACHE_MISSING)
    try:
        path = parse_path(text)
    except ValueError as error:
        raise ValueRefused(f"CACHE: {error}") from error
    try:
        if not path.is_dir():
            raise ValueRefused(f"CACHE: there is no folder {text!r}; is it misspelt?")
        if not (path / "blobs").is_dir():
            raise ValueRefused(
                f"CACHE: {text!r} is no cache: there is no folder blobs in it"
            )
    except OSError as error:
        raise ValueRefused(
            f"CACHE: {text!r} cannot be read: {error.strerror}"
        ) from error
    return path


def _parse_target(text: str) -> int:
    try:
        return 0 if text == "0" else parse_size(text)
    except ValueError as error:
        raise ValueRefused(
            f"--to: {text!r} is neither 0 nor a size from 1MB to 1000TB; write it as in"
            " 500MB, 20GB or 1TiB"
        ) from error


def _table(folder: Folder, entries: Sequence[Entry]) -> str:
    """Return the blobs in lines, with the total under them."""
    width = max((len(each.digest) for each in entries), default=0)
    lines = []
    for each in entries:
        used = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.used))
        lines.append(f"{each.digest:<{width}}  {describe_size(each.size):>10}  {used}")
    size_max = describe_size(folder.kept.size_max)
    is_default = folder.kept.size_max == DEFAULTS["balena_cache_size"]
    limit = f"{size_max} ({'the default of ' if is_default else ''}CACHE_SIZE)"
    total = f"{_count(entries)} of {limit}"
    return "\n".join((*lines, f"{total} in {folder.path}"))


def _json(folder: Folder, entries: Sequence[Entry]) -> str:
    """Return the same for programs, with bytes and seconds since the epoch."""
    content = {
        "folder": str(folder.path),
        "size": sum(each.size for each in entries),
        "size_max": folder.kept.size_max,
        "blobs": [
            {"digest": each.digest, "size": each.size, "used": int(each.used)}
            for each in entries
        ],
    }
    return json.dumps(content, indent=2)


def _check(folder: Folder) -> int:
    """Remove what is damaged, and return 1 if there was something."""
    entries = list(folder.entries())
    size, position, damaged, unread = sum(each.size for each in entries), 0, [], []
    with progress(folder.path.name, size, _write, has_bar=sys.stdout.isatty()) as bar:
        for entry in entries:
            blob = folder.open(entry.digest, is_use=False)
            if blob is None:  # It may have been pruned in the meantime.
                if entry.path.exists():
                    unread.append(entry)
                    bar.note(f"{entry.digest}: cannot be read")
            elif not folder.is_right(
                entry.digest, blob, partial(_reach, bar, position)
            ):
                entry.path.unlink(missing_ok=True)
                damaged.append(entry)
                bar.note(f"{entry.digest}: damaged, and removed")
            position += entry.size
    _write(f"checked {_count(entries)}: {_noun(len(damaged)) or 'none'} damaged")
    return 1 if damaged or unread else 0


def _reach(bar: Bar, begin: int, count: int) -> None:
    bar.reach(begin + count)


def _prune(folder: Folder, size_max: int) -> int:
    folder.remove_partial()
    removed = folder.prune(size_max)
    kept = describe_size(folder.kept.size)
    _write(f"removed {_count(removed)}; kept {kept} of {describe_size(size_max)}")
    return 0


def _count(entries: Sequence[Entry]) -> str:
    size = describe_size(sum(each.size for each in entries))
    return f"{_noun(len(entries)) or 'no blobs'}, {size}"


def _noun(count: int) -> str:
    """Return so many blobs, in words; nothing if there are none."""
    return "1 blob" if count == 1 else f"{count} blobs" if count else ""


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
