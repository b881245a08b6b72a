"""The command line: one module a family of commands. Each is imported only when it is called."""
