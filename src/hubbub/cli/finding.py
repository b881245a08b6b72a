"""What one check of `hubbub doctor` has found."""

from dataclasses import dataclass

__all__ = ["Finding", "fine", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `change` says what to do where something is wrong."""

    check: str
    text: str
    change: str | None = None

    @property
    def is_problem(self) -> bool:
        """Whether something has to be changed."""
        return self.change is not None


def fine(check: str, text: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, text)


def problem(check: str, text: str, change: str) -> Finding:
    """Something is wrong, and `change` puts it right."""
    return Finding(check, text, change)
