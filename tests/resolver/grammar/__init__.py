"""Tests of resolver.grammar."""
