"""What is nearly sound: a text or a JSON value that differs from a good one a little.

Random text is refused at the first character; these get past it.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from resolver.errors import RegistryError

MESSAGE_LENGTH_MAX = 1200
"""Characters; 80 of what was sent, each escaped, and our own words."""
WIRE = st.binary(max_size=80).map(lambda data: data.decode("utf-8", "surrogateescape"))
"""Any bytes, as mitmproxy shows those of a path or header."""

SCALARS = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 1 << 31, 1 << 70, 1.5, 1e300),
        *(float("inf"), float("nan"), "", "0", "x", "\ud800", "\x1b[31m", "a" * 300),
    ]
)
JSON = st.recursive(
    SCALARS | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def mutated(
    draw: st.DrawFn, samples: st.SearchStrategy[str], pieces: Sequence[str]
) -> str:
    """Return a sample with up to three parts of it cut out, doubled or replaced."""
    text = draw(samples)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 0, 1, 1, 4, 16, len(text)]))
        part = text[start:end]
        piece = draw(
            st.sampled_from(["", "", part * 2, part.swapcase(), *pieces])
            | st.characters(max_codepoint=0xFF)
        )
        text = text[:start] + piece + text[end:]
    return text


@st.composite
def mutated_json(draw: st.DrawFn, samples: st.SearchStrategy[Any]) -> Any:
    """Return a sample with up to three values of it lost, doubled or replaced."""
    box = [deepcopy(draw(samples))]
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(box))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        other, at = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.sampled_from(["replace", "replace", "copy", "remove", "wrap"])):
            case "replace":
                holder[key] = draw(JSON)
            case "copy":
                holder[key] = deepcopy(other[at])
            case "wrap":
                holder[key] = [holder[key]] * draw(st.integers(0, 2))
            case _ if holder is not box:
                del holder[key]
    return box[0]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield where a value stands: all the lists and dicts, each with its keys."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def check_shown(error: RegistryError, *secrets: str) -> None:
    """Fail unless the message can be shown: short, printable, without a secret."""
    assert error.message.isprintable()
    assert 0 < len(error.message) <= MESSAGE_LENGTH_MAX
    for secret in secrets:
        assert secret not in f"{error!r} {error.message} {error.__cause__}"
