"""The report's plots, as SVG with the letters drawn as outlines: they look alike everywhere."""

import base64
import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from fontTools import subset
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schemas.emotion import EMOTIONS
from trainer.tables import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Triple = tuple[float, float, float]

FONT: Final = "NanumGothic"
INK, ACCENT, PALE = "#1f2933", "#2563eb", "#9aa5b1"
HANGUL: Final = "\u1100"  # the letters before it are every system's
RANGE: Final = "U+1100-11FF, U+3130-318F, U+AC00-D7A3"
HALF: Final = 0.5


class FontError(DataError):
    """No font here has Korean letters; the message is one clear line."""


def use_korean_font() -> None:
    """Let matplotlib draw Hangul. Raises FontError."""
    if FONT not in {each.name for each in font_manager.fontManager.ttflist}:
        font_manager.fontManager.addfont(font_file())
    mpl.rcParams.update(
        {
            "font.family": FONT,
            "axes.unicode_minus": False,
            "svg.fonttype": "path",
            "svg.hashsalt": "maum",  # equal reports are equal bytes
            "axes.edgecolor": PALE,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "text.color": INK,
        }
    )


def font_file() -> Path:
    """The font's file. Raises FontError."""
    # Found, not imported: the package is wanted for its font alone.
    spec = find_spec("koreanize_matplotlib")
    path = Path(spec.origin if spec and spec.origin else "").parent / "fonts" / f"{FONT}.ttf"
    if not path.is_file():
        raise FontError("no Korean font: pip install koreanize-matplotlib")
    return path


def font_face(text: str) -> str:
    """CSS that brings along the font's letters for `text`. Raises FontError."""
    dropped = ["GSUB", "GPOS", "kern"]
    options = subset.Options(flavor="woff", drop_tables=dropped, notdef_outline=True)
    wanted = subset.Subsetter(options)
    wanted.populate(text="".join({each for each in text if each >= HANGUL}))
    file = io.BytesIO()
    with subset.load_font(str(font_file()), options) as font:
        wanted.subset(font)
        subset.save_font(font, file, options)
    data = base64.b64encode(file.getvalue()).decode()
    source = f"font-family: Maum; src: url(data:font/woff;base64,{data})"
    return f"@font-face {{ {source}; unicode-range: {RANGE}; font-display: block }}"


def confusion(counts: Sequence[Sequence[int]], title: str) -> str:
    """Rows: labels; columns: predictions; shaded by the share of the row."""
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axes = figure.subplots()
    shares = [[each / max(sum(row), 1) for each in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            colour = "white" if shares[row][column] > HALF else INK
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(EMOTIONS)), EMOTIONS)
    axes.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    axes.set(title=title, xlabel="predicted", ylabel="labelled")
    return svg(figure)


def reliability(bins: Mapping[str, Sequence[tuple[float, float, int]]]) -> str:
    """How often right, by how sure: on the diagonal is as it should be."""
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=PALE, linestyle="--", linewidth=1)
    colours = (PALE, ACCENT)[-len(bins) :]  # the student's is the strong one, alone or not
    for (name, rows), colour in zip(bins.items(), colours, strict=True):
        filled = [row for row in rows if row[2]]
        sizes = [10 + row[2] for row in filled]
        sure, right = [row[0] for row in filled], [row[1] for row in filled]
        axes.plot(sure, right, color=colour, linewidth=1, label=name)
        axes.scatter(sure, right, s=sizes, color=colour, alpha=0.6)
    axes.set(title="Reliability", xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False)
    return svg(figure)


def curves(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Macro-F1 on the held-out labels, epoch by epoch."""
    figure = Figure(figsize=(4.8, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, entries in runs.items():
        points = [(each["epoch"], each["eval_macro_f1"]) for each in entries if _evaluated(each)]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    axes.set(title="Fits", xlabel="epoch", ylabel="macro-F1, held out", ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return svg(figure)


def bars(figures: Mapping[str, Mapping[str, Triple]], title: str) -> str:
    """Groups of values with their intervals: group → name → (value, low, high)."""
    groups = list(figures)
    names = list(next(iter(figures.values())))
    figure = Figure(figsize=(max(4.4, 0.9 * len(names) + 1.5), 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(groups)
    for place, group in enumerate(groups):
        _bars(axes, [figures[group][name] for name in names], place * width, width, group)
    centre = width * (len(groups) - 1) / 2
    axes.set_xticks([place + centre for place in range(len(names))], names)
    axes.set(title=title, ylim=(0, 1))
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(groups))
    return svg(figure)


def _bars(axes: "Axes", values: Sequence[Triple], shift: float, width: float, label: str) -> None:
    places = [place + shift for place in range(len(values))]
    errors = [
        [max(value - low, 0) for value, low, _ in values],
        [max(high - value, 0) for value, _, high in values],
    ]
    axes.bar(places, [value for value, _, _ in values], width * 0.9, label=label)
    axes.errorbar(
        places, [value for value, _, _ in values], errors, fmt="none", ecolor=INK, elinewidth=1
    )


def svg(figure: Figure) -> str:
    """The figure as an SVG element."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _evaluated(entry: Mapping[str, Any]) -> bool:
    return "eval_macro_f1" in entry
