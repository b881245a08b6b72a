"""The errors of Hubbub, each named for whose fault it is; they decide nothing about the wire."""

__all__ = [
    "CallerError",
    "ConfigError",
    "HubbubError",
    "ProtocolError",
    "ServiceError",
    "UpstreamError",
]


class HubbubError(Exception):
    """Any error that Hubbub raises on purpose."""


class ConfigError(HubbubError):
    """The operator's: a setting, a file or an address is wrong; the message says what to change."""


class ProtocolError(HubbubError):
    """The peer's: it sent something that the wire does not allow."""


class CallerError(ProtocolError):
    """The client's that called a method of the app: it may not, or not like this.

    One line of a log says it all, unless something else is its cause: the app is not at fault.
    `connection_id` is the client's, `None` where it is not known.
    """

    connection_id: str | None = None


class UpstreamError(HubbubError):
    """The app's: it could not be reached, or it answered something unusable."""


class ServiceError(HubbubError):
    """A service refused a REST call or could not be reached.

    `status` is the HTTP status, `None` where there was no answer. `code` is the value of the
    answer's `x-ms-error-code` header, where there was one. `reason` is what the service itself
    said, or without an answer why there is none; `None` where it is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.reason = reason
