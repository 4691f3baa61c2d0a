"""Tokens: how long one takes, and how often the API is asked for a pull."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench import visit
from bench.case import ALIASES
from bench.comparison import recipe, skopeo
from bench.comparison.asking import asking, connections
from bench.comparison.contestant import DIRECT, PROXY, Contestant
from bench.comparison.discipline import Attempt, Discipline
from bench.comparison.sheet import Area, Quantity, Subject
from bench.comparison.stage import Stage
from bench.load import Load

CLIENTS = (1, len(ALIASES))
FORGETTING = ("--set", "balena_cache_ttl=0")
REMEMBERED = "alias remembered"
LOOKED_UP = "alias looked up"
COLD_PULL = "cold pull"
WARM_PULL = "warm pull"


@dataclass(frozen=True, slots=True)
class Calls:
    """A pull of what the proxy was never asked for, or the one after it."""

    stage: Stage
    is_cold: bool
    is_peer: bool = False

    @property
    def subject(self) -> Subject:
        """The proxy's API is what is asked."""
        return Subject(Area.TOKEN, COLD_PULL if self.is_cold else WARM_PULL, PROXY)

    def rehearse(self) -> None:
        """Do nothing: it is counted, not timed."""

    def measure(self) -> Mapping[Quantity, float]:
        """Return what the API was asked for one pull."""
        installation = self.stage.site.redirecting
        if self.is_cold:
            with self.stage.fresh(recipe.proxy(installation)) as proxy:
                return self._count(proxy)
        proxy = self.stage.proxy(installation)
        self._count(proxy)
        return self._count(proxy)

    def _count(self, proxy: Contestant) -> Mapping[Quantity, float]:
        site = self.stage.site
        site.apis.asked(site.redirecting)
        name = skopeo.name_of(proxy, site.goods.image)
        skopeo.pull(proxy, name, site.folder)
        asked = site.apis.asked(site.redirecting)
        return {Quantity.LOOK_UPS: asked.look_ups, Quantity.TOKENS: asked.tokens}


def _attempts(stage: Stage, load: Load) -> Sequence[Attempt]:
    return [
        *(attempt for number in CLIENTS for attempt in _asking(stage, load, number)),
        Calls(stage, is_cold=True),
        Calls(stage, is_cold=False),
    ]


def _asking(stage: Stage, load: Load, number: int) -> Iterator[Attempt]:
    """Let so many clients ask, each for another alias."""
    installation, location = stage.site.streaming, stage.site.goods.image.location
    api_port = int(installation.api_url.rpartition(":")[2])
    direct = replace(stage.direct(installation), port=api_port)
    peers = [peer for peer in stage.peers(installation) if peer.takes_aliases]
    ways = {
        REMEMBERED: (direct, stage.proxy(installation), *peers),
        LOOKED_UP: (direct, stage.proxy(installation, *FORGETTING)),
    }
    for way, contestants in ways.items():
        for contestant in contestants:
            names = ALIASES if contestant.takes_aliases else [location]
            visits = tuple((visit.ask_token(contestant.host, name),) for name in names)
            yield asking(
                Subject(Area.TOKEN, f"{way}, {connections(number)}", contestant.name),
                contestant,
                load,
                visits,
                number,
                stage.sizes.seconds,
            )


DISCIPLINE = Discipline(
    area=Area.TOKEN,
    title="Tokens",
    text=(
        "A token request is answered by the API, after a look-up if the proxy does not"
        " remember the alias; direct is the API itself, asked for the location."
        "\nA cold pull is the first one of a proxy, and a warm one the second."
    ),
    attempts=_attempts,
    rounds=5,
    minutes=2.5,
    base=DIRECT,
    headline=Quantity.MEDIAN,
    programs=("skopeo",),
)
