"""Tests of mitm.guard."""
