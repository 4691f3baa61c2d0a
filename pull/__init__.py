"""`registry-proxy pull`: pulls any image from any registry, and says what is wrong."""
