"""A deadline comes nearer with its clock."""

from resolver.upstream.deadline import Deadline


def test_deadline_counts_down() -> None:
    """What remains shrinks with the clock, and is never negative."""
    times = iter([0.5, 0.5, 1.5, 3.0, 99.0])
    deadline = Deadline.after(2.5, times.__next__)
    assert [deadline.remaining for _ in range(4)] == [2.5, 1.5, 0.0, 0.0]
