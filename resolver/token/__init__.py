"""The token endpoint: the API's token, with the aliases that it carries."""
