"""What `addon.py` needs of mitmproxy: options, answers, and keeping secrets."""
