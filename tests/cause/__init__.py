"""Tests of cause."""
