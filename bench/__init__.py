"""What the proxy takes, beside doing without it and beside others."""
