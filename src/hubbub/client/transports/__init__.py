"""The transports of a hub client: each carries bytes, one way or another, and knows no hub."""
