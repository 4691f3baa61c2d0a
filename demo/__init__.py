"""`make demo` and `make debug-demo`: the proxy at work on one machine, offline."""
