"""Tests of resolver.release."""
