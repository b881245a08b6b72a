"""What a 401 for a webhook asks for, as values of WWW-Authenticate: which of the checks has failed.

A status alone does not say it, and a body would reach a client whose connection is refused.
"""

from typing import Final

__all__ = ["ACCESS_KEY", "FULL_SIGNATURE", "NO_ACCESS_KEY", "SYSTEM_KEY"]

# The key of the URL or of x-functions-key, which a function host asks for.
SYSTEM_KEY: Final = 'FunctionsKey name="signalr_extension"'
# X-ASRS-Signature, which an access key of the service makes.
ACCESS_KEY: Final = "SignalRSignature"
# The same, but the app has no access key to check it with.
NO_ACCESS_KEY: Final = 'SignalRSignature error="no_access_key"'
# X-Hubbub-Signature, which covers time and body.
FULL_SIGNATURE: Final = "HubbubSignature"
