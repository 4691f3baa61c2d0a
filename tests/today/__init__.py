"""The container clients that people have today, in folders made by `tools/clients`."""
