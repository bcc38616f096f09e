"""The plots of docs/performance.md, with Korean labels, drawn from the figures of the tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from trainer.plots import ACCENT, INK, PALE, svg, use_korean_font

GOOD_MS: Final = 150
COLOURS: Final = (PALE, ACCENT, INK)


def latency(shares: Sequence[float], lines: Mapping[str, Sequence[float]], path: Path) -> Path:
    """Milliseconds against load as a share of the knee."""
    use_korean_font()
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for (name, values), colour in zip(lines.items(), COLOURS, strict=False):
        axes.plot(shares, values, marker="o", markersize=3, color=colour, label=name)
    axes.axhline(GOOD_MS, color=INK, linewidth=0.8, linestyle=":", label=f"{GOOD_MS} ms")
    axes.axvline(1, color=PALE, linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.set(
        title="부하에 따른 지연 시간",
        xlabel="부하 (감당할 수 있는 최대 부하 = 1)",
        ylabel="지연 시간 (ms)",
    )
    axes.legend(frameon=False)
    return write(figure, path)


def throughput(rates: Mapping[str, float], title: str, path: Path) -> Path:
    """Messages a second, a bar each; ours are those named 마음."""
    use_korean_font()
    figure = Figure(figsize=(5.6, 0.5 * len(rates) + 1.2), layout="constrained")
    axes = figure.subplots()
    names = list(rates)[::-1]
    colours = [ACCENT if name.startswith("마음") else PALE for name in names]
    bars = axes.barh(names, [rates[name] for name in names], color=colours)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set(title=title, xlabel="초당 메시지")
    axes.margins(x=0.12)
    return write(figure, path)


def write(figure: Figure, path: Path) -> Path:
    """The figure as an SVG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg(figure) + "\n", encoding="utf-8")
    return path
