"""Reads and writes .NET's time spans. It knows no setting."""

import re

_TIME_SPAN = re.compile(r"(?:(\d{1,8})\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d+)?)?")


def parse_time_span(text: str) -> float | None:
    """Seconds of `[d.]hh:mm[:ss[.fff]]`, or None if `text` is not one."""
    match = _TIME_SPAN.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return days * 86400 + hours * 3600 + minutes * 60 + seconds + float(match.group(5) or 0)


def format_seconds(seconds: float) -> str:
    """A length of time as `hh:mm:ss`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest:02d}"
