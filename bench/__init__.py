"""Measures what one replica of the proxy does, so that it is known how many to run."""
