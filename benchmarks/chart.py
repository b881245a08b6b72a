"""Bar charts as SVG, written by hand so that nothing has to be installed to draw them."""

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from benchmarks.figure import number

__all__ = ["Bar", "chart"]

_WIDTH: Final = 860
_LABELS: Final = 300  # of it, for the names at the left
_NUMBERS: Final = 70  # and for the figures at the right
_ROW: Final = 17
_GAP: Final = 9
_TOP: Final = 60
_COLOURS: Final = ("#2f6fb0", "#b9c2cc")
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#222}.title{font-size:15px;font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}}"
)


class Bar(NamedTuple):
    """One thing that was measured, beside its reference if it has one."""

    label: str
    value: float
    least: float
    most: float
    reference: float | None = None


def chart(title: str, bars: Sequence[Bar], reference: str = "reference") -> str:
    """Horizontal bars; a line across the end of each shows the least and the most of its rounds."""
    longest = max(max(bar.most, bar.reference or 0) for bar in bars) or 1
    scale = (_WIDTH - _LABELS - _NUMBERS) / longest
    paired = any(bar.reference is not None for bar in bars)
    lines, top = [f'<text class="title" x="8" y="24">{escape(title)}</text>'], _TOP
    for name, colour, x in zip(("hubbub", reference), _COLOURS, (_LABELS, 430), strict=True):
        if paired:
            lines.append(_rectangle(x, 36, 11, 11, colour))
            lines.append(f'<text x="{x + 17}" y="46">{escape(name)}</text>')
    for bar in bars:
        lines += _bar(bar, top, scale)
        top += _ROW * (1 if bar.reference is None else 2) + _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 8}" '
        f'role="img" aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n'
        + "\n".join(lines)
        + "\n</svg>\n"
    )


def _bar(bar: Bar, top: int, scale: float) -> list[str]:
    middle = top + _ROW - 5
    lines = [
        f'<text x="{_LABELS - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>',
        _rectangle(_LABELS, top, bar.value * scale, _ROW - 2, _COLOURS[0]),
        _whisker(bar, top + _ROW // 2 - 1, scale),
        _number(bar.most * scale, middle, bar.value),
    ]
    if bar.reference is not None:
        lower = top + _ROW
        lines.append(_rectangle(_LABELS, lower, bar.reference * scale, _ROW - 2, _COLOURS[1]))
        lines.append(_number(bar.reference * scale, lower + _ROW - 5, bar.reference))
    return lines


def _whisker(bar: Bar, y: int, scale: float) -> str:
    least, most = _LABELS + bar.least * scale, _LABELS + bar.most * scale
    return f'<path d="M{least:.1f} {y}H{most:.1f}" stroke="#111" fill="none"/>'


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def _number(end: float, y: int, value: float) -> str:
    return f'<text x="{_LABELS + end + 6:.1f}" y="{y}">{number(value)}</text>'
