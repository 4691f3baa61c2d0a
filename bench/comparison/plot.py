"""Draws what was measured as bars: SVG that reads on a light page and on a dark one.

It brings its own background, because a page may be dark where the reader's system is
not, and takes the colours of the reader's system.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from bench.comparison.contestant import BARE, DIRECT, NODE, PROXY
from bench.comparison.discipline import Discipline
from bench.comparison.outcome import Outcome
from bench.comparison.scale import ONE, TWO
from bench.comparison.sheet import Quantity, Sheet, Subject
from bench.figure import Figure, shown

WIDTH = 940
MARGIN = 20
GUTTER = 30
COLUMN = (WIDTH - 2 * MARGIN - GUTTER) // 2
NAME_WIDTH = 78
VALUE_WIDTH = 56
TITLE_HEIGHT = 26
CASE_HEIGHT = 20
ROW_HEIGHT = 16
BAR_HEIGHT = 10
GROUP_GAP = 4
SECTION_GAP = 12
BAR_WIDTH = COLUMN - NAME_WIDTH - VALUE_WIDTH
COLOURS = {
    DIRECT: ("#8c959f", "#8b949e"),
    PROXY: ("#0969da", "#4493f8"),
    NODE: ("#1a7f37", "#3fb950"),
    BARE: ("#bc4c00", "#db6d28"),
    ONE: ("#8c959f", "#8b949e"),
    TWO: ("#0969da", "#4493f8"),
}
"""Of each contestant, on light and on dark."""
OTHER = ("#8250df", "#a371f7")
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 14px; font-weight: 600 }
  .unit, .value { fill: #59636e }
  .value, .name { font-size: 11px }
  .page { fill: #ffffff }
  .range { stroke: #1f2328; stroke-width: 1 }
"""
DARK_STYLE = """
  text { fill: #f0f6fc }
  .unit, .value { fill: #9198a1 }
  .page { fill: #0d1117 }
  .range { stroke: #f0f6fc }
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Bars below each other, with a scale of their own."""

    case: str
    quantity: Quantity
    bars: Sequence[tuple[Subject, Figure]]

    @property
    def height(self) -> int:
        """How much room it takes."""
        return CASE_HEIGHT + ROW_HEIGHT * len(self.bars) + GROUP_GAP


@dataclass(frozen=True, slots=True)
class Section:
    """All groups of a discipline."""

    title: str
    groups: Sequence[Group]

    @property
    def height(self) -> int:
        """How much room it takes."""
        heights = sum(group.height for group in self.groups)
        return TITLE_HEIGHT + heights + SECTION_GAP


def draw(outcome: Outcome) -> str:
    """Return the picture."""
    found = [_section(discipline, outcome.sheet) for discipline in outcome.rounds]
    columns = _columns([section for section in found if section.groups])
    height = MARGIN + max(
        sum(section.height for section in column) for column in columns
    )
    picture = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height}",
            "width": str(WIDTH),
            "height": str(height),
            "role": "img",
        },
    )
    ET.SubElement(picture, "title").text = "The registry proxy, and doing without it"
    ET.SubElement(picture, "style").text = _style(found)
    _box(picture, "page", 0, 0, WIDTH, height)
    for number, column in enumerate(columns):
        left, top = MARGIN + number * (COLUMN + GUTTER), MARGIN
        for section in column:
            _draw_section(picture, section, left, top)
            top += section.height
    ET.indent(picture)
    return ET.tostring(picture, encoding="unicode") + "\n"


def _section(discipline: Discipline, sheet: Sheet) -> Section:
    groups = [_group(discipline, sheet, case) for case in sheet.cases(discipline.area)]
    compared = [group for group in groups if len(group.bars) > 1]
    return Section(discipline.title, compared)


def _group(discipline: Discipline, sheet: Sheet, case: str) -> Group:
    quantity = discipline.compared(sheet.quantities(discipline.area, case))
    bars = [
        (subject, figure)
        for subject in sheet.subjects(discipline.area)
        if subject.case == case and (figure := sheet.figure(subject, quantity))
    ]
    return Group(case, quantity, bars)


def _columns(sections: Sequence[Section]) -> tuple[Sequence[Section], ...]:
    """Return the sections in two columns, in their order, as low as that can be."""

    def height(number: int) -> int:
        columns = sections[:number], sections[number:]
        return max(sum(section.height for section in column) for column in columns)

    number = min(range(1, len(sections) + 1), key=height, default=0)
    return sections[:number], sections[number:]


def _draw_section(picture: ET.Element, section: Section, left: int, top: int) -> None:
    _write(picture, "title", left, top + 14, section.title)
    top += TITLE_HEIGHT
    for group in section.groups:
        _draw_group(picture, group, left, top)
        top += group.height


def _draw_group(picture: ET.Element, group: Group, left: int, top: int) -> None:
    better = "more" if group.quantity.is_better_high else "less"
    _write(picture, "case", left, top + 12, group.case)
    unit = f"{group.quantity}, {better} is better"
    _write(picture, "unit", left + COLUMN, top + 12, unit, anchor="end")
    most = max(figure.spread[1] for _, figure in group.bars)
    for number, (subject, figure) in enumerate(group.bars):
        line = top + CASE_HEIGHT + number * ROW_HEIGHT
        _draw_bar(picture, subject, figure, BAR_WIDTH / most, (left, line))


def _draw_bar(
    picture: ET.Element,
    subject: Subject,
    figure: Figure,
    scale: float,
    place: tuple[int, int],
) -> None:
    """Draw a bar as long as the median, and a line from the lowest to the highest."""
    left, top = place
    begin, middle = left + NAME_WIDTH, top + BAR_HEIGHT / 2
    _write(picture, "name", left, top + 9, subject.contestant)
    width = figure.middle * scale
    _box(picture, _class(subject.contestant), begin, top, width, BAR_HEIGHT)
    low, high = (begin + value * scale for value in figure.spread)
    ends = {"x1": low, "x2": high, "y1": middle, "y2": middle}
    line = {name: f"{value:.1f}" for name, value in ends.items()}
    ET.SubElement(picture, "line", {"class": "range", **line})
    end = left + COLUMN
    _write(picture, "value", end, top + 9, shown(figure.middle), anchor="end")


def _write(
    picture: ET.Element, kind: str, x: int, y: int, text: str, *, anchor: str = "start"
) -> None:
    place = {"class": kind, "x": str(x), "y": str(y), "text-anchor": anchor}
    ET.SubElement(picture, "text", place).text = text


def _box(
    picture: ET.Element, kind: str, x: float, y: float, width: float, height: float
) -> None:
    sides = {"x": x, "y": y, "width": width, "height": height}
    place = {name: f"{value:.1f}" for name, value in sides.items()}
    ET.SubElement(picture, "rect", {"class": kind, **place})


def _style(sections: Sequence[Section]) -> str:
    names = {
        subject.contestant
        for section in sections
        for group in section.groups
        for subject, _ in group.bars
    }
    light, dark = ("".join(_fills(names, number)) for number in (0, 1))
    dark_style = f"@media (prefers-color-scheme: dark) {{{DARK_STYLE}{dark}  }}"
    return f"{STYLE}{light}  {dark_style}\n"


def _fills(names: set[str], number: int) -> Iterator[str]:
    for name in sorted(names):
        yield f"  .{_class(name)} {{ fill: {COLOURS.get(name, OTHER)[number]} }}\n"


def _class(contestant: str) -> str:
    return f"bar-{contestant.replace(' ', '-')}"
