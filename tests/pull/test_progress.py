"""Bars: where somebody looks at them, and nowhere else."""

import pytest

from pull.manifest import Descriptor
from pull.progress import progress, whole

BLOB = Descriptor("", f"sha256:{'ab' * 32}", 4_000_000)


def test_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """It grows, goes back where the blob begins anew, and vanishes at the end."""
    said: list[str] = []
    with progress(BLOB.short, BLOB.size, said.append, has_bar=True) as bar:
        bar.reach(3_000_000)
        bar.note("broke off")
        bar.reach(1_000_000)
    shown = capsys.readouterr().out
    assert "     abababababab [" in shown
    assert "of 4.00MB" in shown
    assert shown.endswith("\r")
    assert said == ["broke off"]


def test_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """A log gets lines alone."""
    with progress(BLOB.short, BLOB.size, lambda _: None, has_bar=False) as bar:
        bar.reach(4_000_000)
    assert capsys.readouterr().out == ""
    line = f"     abababababab [{'#' * 24}]    4.000 MB checked"
    assert whole(BLOB, "checked") == line
