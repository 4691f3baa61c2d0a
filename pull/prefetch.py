"""Let the proxy keep images before anybody asks for them.

It runs with CACHE=<folder>. Each image is pulled through it and thrown away.
With --from that folder is filled without any proxy, from an OCI image layout, as
`registry-proxy pull --output` and `skopeo copy … oci:<folder>:<tag>` write it. Who may
have what is in there is for the registry to say, each time.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from cause.finding import shown
from mitm import interrupt
from mitm.option import CACHE_MISSING, ValueRefused, parse_variable
from mitm.story.quantity import describe_size
from pull.client import Client
from pull.command import add_ways, describe, usual_host
from pull.connection import Trust
from pull.fault import Fault
from pull.login import Logins
from pull.manifest import Descriptor
from pull.progress import Bar, progress
from pull.reference import EXAMPLE, has_host, parse_reference
from pull.source import NO_FILE, OPTION, PREFIX, Source, Unreadable
from resolver.blob.folder import Damaged, Folder
from resolver.grammar.reference import Digest

IMAGES = 3
"""As many are pulled at the same time."""
_OF_REFERENCES = (
    *("platform", "username", "ca", "insecure", "plain_http"),
    *("PROXY_PORT", "LISTEN_HOST"),
)
_OF_SOURCES = ("CACHE", "CACHE_SIZE")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what is fetched, and how."""
    parser.add_argument(
        "references",
        nargs="*",
        metavar="REF",
        help="as for registry-proxy pull: [<host>/]<name>[:<tag>][@<digest>]; without a"
        " host it is pulled through the proxy of this machine",
    )
    parser.add_argument(
        OPTION,
        dest="source",
        metavar=f"{PREFIX}FOLDER",
        help="fill the folder of CACHE from an OCI image layout instead",
    )
    add_ways(parser, "all of them")
    parser.add_argument("--quiet", action="store_true", help="say only what is wrong")


def run(options: Namespace, environment: Mapping[str, str]) -> int:
    """Fetch it, and return the exit status.

    Raises:
        ValueRefused: an option or a variable has a value that cannot work.

    """
    if said := _misused(options):
        sys.stderr.write(f"{said}\n")
        return 2
    if options.source:
        return interrupt.unwinding(lambda: _fill(options, environment))
    return _pull(options, environment)


def _misused(options: Namespace) -> str:
    """Return what of the command line cannot be meant so, if there is something."""
    if options.source and options.references:
        return (
            f"{shown(options.references[0])}: {OPTION} takes all that is in the folder;"
            " leave one of them out"
        )
    if not options.source and not options.references:
        return f"REF is missing: name an image, as in {EXAMPLE}, or {OPTION} {PREFIX}…"
    for name in _OF_REFERENCES if options.source else _OF_SOURCES:
        if getattr(options, name, None):
            option = f"--{name.lower().replace('_', '-')}"
            with_or_out = "with" if options.source else "without"
            return f"{option}: has no effect {with_or_out} {OPTION}; leave it out"
    return ""


def _pull(options: Namespace, environment: Mapping[str, str]) -> int:
    """Pull the images, and return 1 if one does not come."""
    host = usual_host(environment)
    references = list(dict.fromkeys(options.references))
    if not options.quiet:
        said = "Pulling through the proxy, so that it keeps the images."
        if not all(map(has_host, references)):
            said += f" References without a host mean the proxy at {host}."
        _say(said)
    with ThreadPoolExecutor(IMAGES) as threads:
        results = threads.map(
            lambda text: _pull_one(options, environment, host, text), references
        )
        failures = list(results).count(False)
    if failures and len(references) > 1:
        _complain(f"{failures} of {len(references)} images were not fetched\n")
    return 1 if failures else 0


def _pull_one(
    options: Namespace, environment: Mapping[str, str], host: str, text: str
) -> bool:
    """Pull an image, and return whether it came."""
    client = Client(
        lambda _: None,
        trust=Trust(options.ca, options.insecure),
        find_login=Logins(environment, options.username),
        platform=options.platform,
        has_bars=_has_bars(options),
        is_prefetch=True,
    )
    try:
        size = client.pull(
            parse_reference(text, usual_host=host, is_plain=options.plain_http)
        )
    except Fault as fault:
        _complain(f"{shown(text)}: {describe(fault)}")
        return False
    if not options.quiet:
        _say(f"{text}: {describe_size(size)}, all digests as they should be")
    return True


def _fill(options: Namespace, environment: Mapping[str, str]) -> int:
    """Fill the cache from a layout, and return 1 if some of it is not there then."""
    source = Source(options.source)
    blobs = source.blobs()
    size_max = parse_variable("CACHE_SIZE", environment)
    path = parse_variable("CACHE", environment)
    if path is None:
        raise ValueRefused(CACHE_MISSING)
    size = sum(blob.size for blob in blobs)
    if size > size_max:
        raise ValueRefused(
            f"CACHE_SIZE: {source.path} has {describe_size(size)}, and"
            f" {describe_size(size_max)} may be kept; set more, for the proxy as well"
        )
    try:
        filling = _Filling(source, Folder(path, size_max))
        with progress(path.name, size, _say, has_bar=_has_bars(options)) as bar:
            filling.fill(blobs, bar)
    except OSError as error:
        raise ValueRefused(f"CACHE: {path}: {error.strerror or error}") from error
    for digest, why in filling.refused.items():
        _complain(f"refused: {digest}: {why}\n")
    if not options.quiet:
        _say(
            f"{_count(filling.copied)} copied from {source.path} to {path},"
            f" {_count(filling.kept)} there already"
        )
    if filling.gone:
        _complain(
            f"{_count(filling.gone)} had to make room again: the disk is too small, or"
            " a proxy with a smaller CACHE_SIZE has the folder as well\n"
        )
    return 1 if filling.refused or filling.gone else 0


class _Filling:
    """What was done so far to fill a cache."""

    def __init__(self, source: Source, folder: Folder) -> None:
        self.copied: list[Descriptor] = []
        self.kept: list[Descriptor] = []
        self.gone: list[Descriptor] = []
        """Those that are not there any more."""
        self.refused: dict[str, str] = {}
        """Digests, and why."""
        self._source = source
        self._folder = folder
        self._position = 0

    def fill(self, blobs: list[Descriptor], bar: Bar) -> None:
        """Copy what is not there.

        Raises:
            OSError: the folder cannot be written.

        """
        self.refused = dict.fromkeys(self._source.refused, NO_FILE)
        # First of all, so that none of them has to go for one that is new.
        self.kept = [blob for blob in blobs if self._is_kept(blob, bar)]
        there = {blob.digest for blob in self.kept}
        for blob in blobs:
            if blob.digest not in there:
                self._copy(blob, bar)
        self.gone = [
            blob
            for blob in self.kept + self.copied
            if self._folder.open(Digest(blob.digest), is_use=False) is None
        ]

    def _is_kept(self, blob: Descriptor, bar: Bar) -> bool:
        """Return whether the blob is there, as it should be, and as if it were used."""
        digest, begin = Digest(blob.digest), self._position
        kept = self._folder.open(digest)
        if kept is None:
            return False
        if kept.size == blob.size and self._folder.is_right(
            digest, kept, lambda count: bar.reach(begin + count)
        ):
            self._position += blob.size
            return True
        self._folder.remove(digest)
        return False

    def _copy(self, blob: Descriptor, bar: Bar) -> None:
        """Copy the blob, if it can be read and is what its digest says."""
        try:
            with self._source.open(blob) as pieces:
                partial = self._folder.begin(Digest(blob.digest), blob.size)
                try:
                    for piece in pieces:
                        partial.write(piece)
                        self._position += len(piece)
                        bar.reach(self._position)
                    partial.accept()
                finally:
                    partial.end()
        except Unreadable as error:
            self.refused[blob.digest] = str(error)
        except Damaged:
            self.refused[blob.digest] = "its bytes are not what the digest says"
        else:
            self.copied.append(blob)


def _count(blobs: list[Descriptor]) -> str:
    size = describe_size(sum(blob.size for blob in blobs))
    return f"{len(blobs)} {'blob' if len(blobs) == 1 else 'blobs'} ({size})"


def _has_bars(options: Namespace) -> bool:
    return sys.stdout.isatty() and not options.quiet


def _say(text: str) -> None:
    # Above the bars of what is going on beside it.
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def _complain(text: str) -> None:
    tqdm.write(text, file=sys.stderr, end="")
