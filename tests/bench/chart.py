"""The chart of docs/performance.md: for each line how far it is from its peer, and from its target."""

from __future__ import annotations

import math
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, ROW, TOP, BOTTOM = 860, 330, 90, 34, 56, 40
LABELS = {
    "burst_1": "1 event per turn, one room",
    "burst_10": "10 events per turn",
    "burst_50": "50 events per turn",
    "rooms": "10,000 sockets, 1,000 rooms",
    "webhook_burst": "webhook, 500 messages per body",
    "latency": "delay to the last of 1,000 (p99)",
    "ingest": "webhook requests/s",
    "memory": "memory per connection",
    "memory_deflate": "memory, deflate offered",
    "connections": "new connections/s",
    "heartbeats": "CPU of idle connections",
}
LESS_IS_BETTER = {"latency", "memory", "memory_deflate", "heartbeats"}


def draw(result: dict[str, Any]) -> str:
    """An SVG, with colours for light and dark pages."""
    bars = [bar for line in result["lines"] if (bar := _bar(line))]
    most = max([*(better for _, better, _, _ in bars), 2.0])
    span = math.log10(most * 1.25)
    scale = (WIDTH - LEFT - RIGHT) / span
    height = TOP + ROW * len(bars) + BOTTOM

    def x(times: float) -> float:
        return LEFT + max(0.0, math.log10(max(times, 1.0))) * scale

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="14">',
        "<title>How many times better than its peer Roomcast is, line by line</title>",
        "<style>text{fill:#1f2328}.page{fill:#fff}.bar{fill:#2f6fde}.grid{stroke:#d0d7de}.goal{stroke:#d1242f}"
        ".soft{fill:#59636e}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.bar{fill:#4c8dff}"
        ".grid{stroke:#30363d}.goal{stroke:#ff7b72}.soft{fill:#9198a1}}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        '<text x="16" y="24" font-weight="600">Times better than the peer (logarithmic); the red mark is the target'
        "</text>",
    ]
    for times in (1, 2, 5, 10, 20, 50, 100):
        if times <= most * 1.25:
            at = x(times)
            out.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 12}" y2="{height - BOTTOM}"/>')
            out.append(
                f'<text class="soft" x="{at:.1f}" y="{height - BOTTOM + 20}" text-anchor="middle">{times} ×</text>'
            )
    for row, (label, better, target, peer) in enumerate(bars):
        y = TOP + ROW * row
        out.append(f'<text x="{LEFT - 12}" y="{y + 14}" text-anchor="end">{escape(label)}</text>')
        out.append(
            f'<rect class="bar" x="{LEFT}" y="{y}" width="{max(2.0, x(better) - LEFT):.1f}" height="20" rx="2"/>'
        )
        if target:
            at = x(target)
            out.append(
                f'<line class="goal" x1="{at:.1f}" x2="{at:.1f}" y1="{y - 4}" y2="{y + 24}" stroke-width="2.5"/>'
            )
        out.append(
            f'<text x="{max(x(better), x(target or 1)) + 8:.1f}" y="{y + 15}">{better:.1f} ×'
            f"<title>{escape(peer)}</title></text>"
        )
    out.append("</svg>")
    return "\n".join(out) + "\n"


def _bar(line: dict[str, Any]) -> tuple[str, float, float | None, str] | None:
    """Label, factor by which Roomcast is better, the target's factor, the peer."""
    if line["name"] not in LABELS:
        return None
    peer = line["against"] or next(iter(line["ratios"]), None)
    found = line["ratios"].get(peer)
    if not found:
        return None
    better, target = found["median"], line["goal"] if line["against"] else None
    if line["name"] in LESS_IS_BETTER:
        better, target = 1 / better, 1 / target if target else None
    return LABELS[line["name"]], better, target, peer
