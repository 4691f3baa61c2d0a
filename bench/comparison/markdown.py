"""Decides how people read what was measured: tables in Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from bench.case import MEGA
from bench.comparison.discipline import Discipline
from bench.comparison.outcome import Outcome
from bench.comparison.sheet import Sheet
from bench.figure import Figure, shown
from bench.table import Row

HEAD = """\
Measured on {machine}; {versions}.
Before it began, {busy:.1f} processes wanted a core.
Each figure is the median of all rounds, with the lowest and the highest behind it.
A ratio is taken within each round, of what was measured there, and then the median."""
TARGETS = ("target", "measured", "limit", "reached")
NOTHING = ""


def write(outcome: Outcome) -> str:
    """Return tables of all of it, and of the targets."""
    versions = ", ".join(f"{name} {one}" for name, one in outcome.versions.items())
    parts = [HEAD.format(machine=outcome.machine, versions=versions, busy=outcome.busy)]
    for discipline, rounds in outcome.rounds.items():
        parts += [f"### {discipline.title}", _explain(discipline, rounds, outcome)]
        parts += _tables(discipline, outcome.sheet)
    verdicts = [
        (
            str(verdict.target),
            _shown(verdict.figure),
            verdict.target.shown_limit,
            verdict.word,
        )
        for verdict in outcome.verdicts
    ]
    parts += ["### Targets", _table(TARGETS, verdicts)]
    return "\n\n".join(parts) + "\n"


def _explain(discipline: Discipline, rounds: int, outcome: Outcome) -> str:
    sizes = outcome.sizes
    text = discipline.text.format(
        layers=sizes.image.layers,
        layer_megabytes=f"{sizes.image.layer_bytes / MEGA:g}",
        blob_megabytes=f"{sizes.blob_bytes / MEGA:g}",
    )
    return f"{text}\n{'One round' if rounds == 1 else f'{rounds} rounds'}."


def _tables(discipline: Discipline, sheet: Sheet) -> Iterator[str]:
    """Yield a table of all cases in a row of which the same was counted."""
    area = discipline.area
    grouped = groupby(sheet.cases(area), lambda case: sheet.quantities(area, case))
    for quantities, cases in grouped:
        rows = [row for case in cases for row in _rows(discipline, sheet, case)]
        compared = discipline.compared(quantities)
        ratio = f"{compared}, times {discipline.base}"
        heading = ("", "", *map(str, quantities), ratio)
        if not any(row[-1] for row in rows):
            heading, rows = heading[:-1], [row[:-1] for row in rows]
        yield _table(heading, rows)


def _rows(discipline: Discipline, sheet: Sheet, case: str) -> Iterator[Row]:
    quantities = sheet.quantities(discipline.area, case)
    compared = discipline.compared(quantities)
    shown_case = case
    for subject in sheet.subjects(discipline.area):
        if subject.case != case:
            continue
        base = replace(subject, contestant=discipline.base)
        ratio = None if subject == base else sheet.ratio(subject, base, compared)
        figures = (sheet.figure(subject, quantity) for quantity in quantities)
        yield shown_case, subject.contestant, *map(_shown, figures), _shown(ratio)
        shown_case = NOTHING


def _shown(figure: Figure | None) -> str:
    """Return the figure as the README has it; a spread only where there is one."""
    if figure is None:
        return NOTHING
    low, high = map(shown, figure.spread)
    middle = shown(figure.middle)
    return middle if low == high else f"{middle} ({low}–{high})"  # noqa: RUF001


def _table(heading: Row, rows: Sequence[Row]) -> str:
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
