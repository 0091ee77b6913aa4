"""Figures of the findings as SVG."""

import io
import textwrap
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from errata.findings import Figure

SIZE = (6.4, 3.6)  # inches
TITLE_WIDTH = 60  # characters
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "errata",  # the same ids from run to run
    "svg.fonttype": "none",  # text stays text
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 10,
    "axes.titlesize": 11,
}


def svg(figure: Figure) -> str:
    """The figure, in the same bytes every time."""
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=SIZE, layout="constrained")
        axes = canvas.subplots()
        {"lines": _lines, "bars": _bars, "heatmap": _heatmap}[figure.kind](figure, axes)
        axes.set_title(textwrap.fill(figure.title, TITLE_WIDTH), loc="left")
        output = io.StringIO()
        canvas.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    return output.getvalue()


def _lines(figure: Figure, axes: Axes) -> None:
    axes.set(xlabel=figure.x_label, ylabel=figure.y_label)
    x = figure.data["x"]
    for name, values in figure.data.items():
        if name != "x":
            axes.plot(x, values, marker="o", label=name)
    axes.legend()
    spread = [value for name, values in figure.data.items() if name != "x" for value in values]
    if min(spread) > 0 and max(spread) / min(spread) > 100:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")


def _bars(figure: Figure, axes: Axes) -> None:
    axes.set(xlabel=figure.y_label)  # the bars lie, and their names say what the other axis is
    names = list(figure.data)
    axes.barh(names, [figure.data[name] for name in names])
    axes.invert_yaxis()


def _heatmap(figure: Figure, axes: Axes) -> None:
    axes.set(xlabel=figure.x_label, ylabel=figure.y_label)
    axes.grid(visible=False)
    axes.figure.colorbar(axes.imshow(figure.data["values"], cmap="viridis"), ax=axes)
