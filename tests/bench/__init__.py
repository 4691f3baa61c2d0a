"""The parts of ``make bench`` that could be wrong unseen."""
