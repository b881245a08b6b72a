"""What the service needs of Redis: kept connections, commands, pushes. It knows no hubs."""
