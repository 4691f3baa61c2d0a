"""The page about the pulls in a flow file."""
