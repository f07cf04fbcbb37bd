"""How every figure looks, and how it is saved.

Sizes are those of the printed page: one CSS pixel is 1/96 inch, so a figure of 183 mm is 692 pixels wide and
text of 9 pixels is 6.75 pt. Colours are Okabe and Ito's (2008, jfly.uni-koeln.de/color), told apart by
colour-blind readers. Each figure is kept as Plotly's JSON too, from which `draw_dark` makes it again for slides.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio

from ppi_lib.drawing import Image, draw_images
from ppi_lib.errors import InputError

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
GREY = "#999999"
WHITE_TO_BLUE = [[0, "#F4F7FA"], [0.5, "#56B4E9"], [1, "#003B5C"]]
_PIXELS_PER_MM = 96 / 25.4
_ENDINGS = {".pdf": 1, ".svg": 1, ".png": 300 / 96}  # and pixels for each of the layout's
_AXIS = {
    "showline": True,
    "linecolor": "#333333",
    "linewidth": 0.8,
    "ticks": "outside",
    "ticklen": 3,
    "tickwidth": 0.8,
    "tickcolor": "#333333",
    "gridcolor": "#ECECEC",
    "gridwidth": 0.6,
    "zeroline": False,
    "title": {"standoff": 6, "font": {"size": 10}},
    "automargin": True,
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "Arial, Liberation Sans, DejaVu Sans, sans-serif", "size": 9, "color": "#222222"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": PALETTE,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "margin": {"l": 48, "r": 12, "t": 16, "b": 38},
        "modebar": {"orientation": "v", "bgcolor": "rgba(0,0,0,0)"},  # beside the plot: legends stand above it
        "legend": {"bgcolor": "rgba(255,255,255,0.8)", "font": {"size": 9}},
        "width": 692,
        "height": 320,
    }
)


# What a light page needs dark and the other way round; the first two of the palette change places with lighter ones.
_DARK = {
    "white": "#14181D",
    "rgba(255,255,255,0.8)": "rgba(20,24,29,0.8)",
    "#222222": "#EEEEEE",
    "#333333": "#CCCCCC",
    "#666666": "#AAAAAA",
    "#000000": "#FFFFFF",
    "#ECECEC": "#2B323B",
    "#CCCCCC": "#6B7683",
    "#E3E3E3": "#6B7683",
    "#0072B2": "#56B4E9",
    "#56B4E9": "#0072B2",
    "#D55E00": "#FF8A3D",
}


def darken(figure: go.Figure) -> go.Figure:
    """Return a figure for a dark slide: neutral colours turned over, lines lighter, tiles as they are."""
    names = "|".join(re.escape(f'"{name}"') for name in _DARK)
    return pio.from_json(re.sub(names, lambda found: f'"{_DARK[found[0][1:-1]]}"', figure.to_json(), flags=re.I))


def draw_dark(folder: str | Path) -> list[Path]:
    """Draw every figure that `save_figure` left in a folder once more, as `_dark` .svg and .png for slides."""
    found = sorted(path for path in Path(folder).glob("*.json"))
    if not found:
        raise InputError(f"{folder}: no figures here; expected the .json files that `save_figure` writes.")
    figures = [darken(pio.from_json(path.read_text(encoding="utf-8"))) for path in found]
    images = [
        Image(figure, path.with_name(f"{path.stem}_dark{ending}"), scale)
        for ending, scale in _ENDINGS.items()
        if ending != ".pdf"
        for figure, path in zip(figures, found, strict=True)
    ]
    draw_images(images)
    return [image.path for image in images]


def require_columns(table: pd.DataFrame, name: str, columns: tuple[str, ...]) -> None:
    """Raise where a table lacks a column or has no rows."""
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(
            f"{name} has columns {list(table)}; expected {', '.join(columns)}. Add or rename {', '.join(missing)}."
        )
    if table.empty:
        raise InputError(f"{name} has no rows; expected at least one.")


def _write_pages(figure: go.Figure, stem: Path) -> list[Path]:
    """PDF, SVG and PNG; HTML where no browser can be started."""
    images = [Image(figure, stem.with_name(f"{stem.name}{ending}"), scale) for ending, scale in _ENDINGS.items()]
    try:
        draw_images(images)
    except RuntimeError:  # kaleido's ChromeNotFoundError and failed starts are RuntimeErrors
        html = stem.with_name(f"{stem.name}.html")
        figure.write_html(html, include_plotlyjs=True)
        return [html]
    return [image.path for image in images]


def save_figure(
    figure: go.Figure,
    stem: str | Path,
    *,
    data: pd.DataFrame | Mapping[str, pd.DataFrame],
    width_mm: float = 183,
    height_mm: float | None = None,
) -> list[Path]:
    """Write `stem`.pdf, .svg, .png (300 dpi) and .json (Plotly's), and `data` as CSV; return the paths.

    Without a Chrome a self-contained `stem`.html stands in for the three. 183 mm is two columns, 89 mm one;
    without `height_mm` the figure keeps its own height. A mapping becomes one CSV a name, `stem`_name.csv.
    """
    if width_mm <= 0 or (height_mm is not None and height_mm <= 0):
        raise InputError(f"width_mm is {width_mm}, height_mm {height_mm}; expected above 0, such as 183 or 89.")
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    height = figure.layout.height if height_mm is None else round(height_mm * _PIXELS_PER_MM)
    size = {"width": round(width_mm * _PIXELS_PER_MM), "height": height or TEMPLATE.layout.height}
    sized = go.Figure(figure).update_layout(**size)
    paths = _write_pages(sized, stem)
    paths.append(stem.with_name(f"{stem.name}.json"))
    sized.write_json(paths[-1])
    tables = {"": data} if isinstance(data, pd.DataFrame) else {f"_{name}": table for name, table in data.items()}
    for suffix, table in tables.items():
        paths.append(stem.with_name(f"{stem.name}{suffix}.csv"))
        table.to_csv(paths[-1], index=False)
    return paths
