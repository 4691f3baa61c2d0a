"""The API of localcloud, in a process of its own: its work is not that of a proxy."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import ballast
from bench.ballast import Ballast
from bench.comparison.registry import push_blob
from bench.visit import Wanted
from bench.worker import Pipe, working
from localcloud.cloud import LocalCloud, Ports
from localcloud.publication import push_images
from resolver.grammar.challenge import TOKEN_PATH


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be stored, and where it is put at first."""

    image: Ballast
    blob_bytes: int
    """Of a blob besides; none if 0."""
    seed_url: str
    """A registry that asks for no token."""


@dataclass(frozen=True, slots=True)
class Front:
    """A registry for which there is to be an API."""

    url: str
    api_port: int
    bundle: Path
    """Where to write what the registry verifies tokens with."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An API, and the registry that it belongs to."""

    api_url: str
    registry_url: str
    service: str
    issuer: str

    @property
    def realm(self) -> str:
        """Where the API issues tokens."""
        return f"{self.api_url}{TOKEN_PATH}"

    @property
    def port(self) -> int:
        """The registry's."""
        return int(self.registry_url.rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Goods:
    """What can be pulled, from each of the registries."""

    image: Wanted
    blob: str
    """The digest of the large one, in the same repository."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How often an API was asked since it was last looked at."""

    look_ups: int
    tokens: int


class Apis:
    """The APIs, behind a pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        goods, installations = pipe.recv(), pipe.recv()
        if not isinstance(goods, Goods) or not isinstance(installations, list):
            raise TypeError("the API does not say where it is")
        self.goods: Goods = goods
        self.installations: Sequence[Installation] = installations

    def asked(self, installation: Installation) -> Asked:
        """Return how often that one was asked since the last time."""
        self._pipe.send(self.installations.index(installation))
        asked = self._pipe.recv()
        if not isinstance(asked, Asked):
            raise TypeError("the API does not say what it was asked")
        return asked


@contextmanager
def running_apis(order: Order, fronts: Sequence[Front]) -> Iterator[Apis]:
    """Run one for each registry until the context ends, and store what there is."""
    with working(_serve, order, fronts) as pipe:
        yield Apis(pipe)


def _serve(pipe: Pipe, order: Order, fronts: Sequence[Front]) -> None:
    with ExitStack() as stack:
        clouds = []
        for front in fronts:
            made = LocalCloud(
                registry_url=front.url, publish=False, ports=Ports(api=front.api_port)
            )
            cloud = stack.enter_context(made)
            cloud.issuer.certificate_bundle(front.bundle)
            clouds.append(cloud)
        pipe.send(_store(order, clouds))
        pipe.send(
            [
                Installation(
                    cloud.api_url,
                    cloud.registry_url,
                    cloud.issuer.audience,
                    cloud.issuer.name,
                )
                for cloud in clouds
            ]
        )
        while True:
            number = pipe.recv()
            if isinstance(number, int):
                pipe.send(_count(clouds[number]))


def _store(order: Order, clouds: Sequence[LocalCloud]) -> Goods:
    """Let each API know of the image, and put it, as they agree, in one place."""
    added = [ballast.add_release(cloud, order.image) for cloud in clouds]
    image = ballast.build(added[0], order.image)
    for cloud, one in zip(clouds, added, strict=True):
        cloud.database.set_content_hash(one.location, image.digest)
    push_images([image], order.seed_url)
    blob = ""
    if order.blob_bytes:
        blob = push_blob(image.repository, order.blob_bytes, order.seed_url)
    return Goods(ballast.wanted(order.image, image), blob)


def _count(cloud: LocalCloud) -> Asked:
    paths = [request.path for request in cloud.requests]
    cloud.requests.clear()
    tokens = sum(path == TOKEN_PATH for path in paths)
    return Asked(len(paths) - tokens, tokens)
