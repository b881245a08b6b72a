"""The function host: runs an Azure Functions app written in Python as it is.

It knows nothing of the real-time service beside it; the two meet on HTTP only.
"""
