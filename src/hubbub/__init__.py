"""Hubbub: a real-time service and a serverless function host on the wire of Azure's."""

__version__ = "0.1.0"
