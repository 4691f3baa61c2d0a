"""What keeps the proxy sound: connections, limits, graceful stop, sound input."""
