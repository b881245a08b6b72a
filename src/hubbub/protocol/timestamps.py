"""Points in time as the wire writes them. It reads no clock: seconds come in, text goes out."""

from datetime import UTC, datetime

__all__ = ["format_utc"]


def format_utc(seconds: int) -> str:
    """Format Unix seconds as `MM/dd/yyyy HH:mm:ss`, as in the original's token errors."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%m/%d/%Y %H:%M:%S")
