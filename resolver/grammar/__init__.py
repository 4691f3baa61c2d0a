"""What is written on the wire: references, scopes, challenges, credentials, URLs."""
