"""Which version of the registry proxy this is."""

VERSION = "0.1.0"
