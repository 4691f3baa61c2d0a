"""HTTP to registry and API: transport, deadlines, health."""
