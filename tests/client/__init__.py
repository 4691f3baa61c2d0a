"""The container clients: of Debian 12, and in folders made by `tools/clients`."""
