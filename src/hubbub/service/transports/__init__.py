"""How bytes reach a client: one module a transport."""
