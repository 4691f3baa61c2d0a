"""Tests of mitm.story."""
