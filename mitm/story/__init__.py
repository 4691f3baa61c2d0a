"""What happened to a request, told once: its record, words, log, metrics."""
