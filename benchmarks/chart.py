"""Plots as SVG, by hand: a few bars and points need no library."""

from collections.abc import Sequence
from html import escape

_COLOURS = (
    "#1d3557",
    "#e63946",
    "#457b9d",
    "#f4a261",
    "#2a9d8f",
    "#8338ec",
    "#6c757d",
    "#bc6c25",
    "#06d6a0",
    "#ef476f",
)
_STYLE = "<style>text{font:11px sans-serif;fill:#222}.t{font-size:13px;font-weight:bold}.a{stroke:#bbb}</style>"


def bars(title: str, groups: Sequence[tuple[str, Sequence[tuple[str, float, str]]]]) -> str:
    """Draw horizontal bars as SVG: one group per quantity, each bar with its name, value and label."""
    parts, y = [f'<text class="t" x="10" y="20">{escape(title)}</text>'], 44
    for heading, rows in groups:
        parts.append(f'<text class="t" x="10" y="{y}">{escape(heading)}</text>')
        most = max((value for _, value, _ in rows), default=1) or 1
        for index, (name, value, label) in enumerate(rows):
            y += 20
            parts.append(f'<text x="10" y="{y}">{escape(name)}</text>')
            length, colour = 380 * value / most, _COLOURS[index % 10]
            parts.append(f'<rect x="190" y="{y - 11}" height="14" width="{length:.1f}" fill="{colour}"/>')
            parts.append(f'<text x="{196 + length:.1f}" y="{y}">{escape(label)}</text>')
        y += 34
    return _document(720, y, parts)


def scatter(panels: Sequence[tuple[str, str, str, dict[str, Sequence[tuple[float, float, str]]]]]) -> str:
    """Panels of points: title, names of the axes, and series of (x, y, label)."""
    parts, width, height = [], 460, 330
    for number, (title, x_name, y_name, series) in enumerate(panels):
        left, top = (number % 2) * width + 50, (number // 2) * height + 40
        points = [point for line in series.values() for point in line]
        (x0, x1), (y0, y1) = (_range([point[axis] for point in points]) for axis in (0, 1))
        parts.append(f'<text class="t" x="{left}" y="{top - 14}">{escape(title)}</text>')
        parts.append(f'<path class="a" fill="none" d="M{left} {top}v230h320"/>')
        parts.append(f'<text x="{left + 110}" y="{top + 260}">{escape(x_name)}: {x0:.3g} to {x1:.3g}</text>')
        parts.append(f'<text x="{left - 40}" y="{top - 1}">{escape(y_name)}: {y0:.3g} to {y1:.3g}</text>')
        for index, (name, line) in enumerate(series.items()):
            colour = _COLOURS[index % 10]
            parts.append(
                f'<text x="{left + 328}" y="{top + 14 * index + 10}" style="fill:{colour}">{escape(name)}</text>'
            )
            for x, y, label in line:
                at = (left + 320 * (x - x0) / (x1 - x0), top + 230 - 230 * (y - y0) / (y1 - y0))
                tip = f"<title>{escape(name)} {escape(label)}</title>"
                parts.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4" fill="{colour}">{tip}</circle>')
    return _document(2 * width, ((len(panels) + 1) // 2) * height + 10, parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 1, high + 1)


def _document(width: int, height: int, parts: Sequence[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{_STYLE}<rect width="100%" height="100%" fill="#fff"/>'
        + "".join(parts)
        + "</svg>\n"
    )
