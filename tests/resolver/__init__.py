"""Tests of resolver."""
