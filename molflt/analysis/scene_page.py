"""A scene as a page without network, in a file or a notebook: atoms can be clicked."""

from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go

from molflt.files import atomic_path

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ margin: 0; overflow: hidden; }}</style>
</head>
<body>
"""


def save_scene(figure: go.Figure, path: str | Path) -> None:
    """Write a scene as one HTML file that needs no network, whole or not at all.

    Args:
        figure: What `attention_scene` returned.
        path: The file; plotly.js, some 5 MB, is part of it.

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(_page(figure), encoding="utf-8")


@dataclass(frozen=True)
class ShownScene:
    """A page that a notebook displays where a cell returns it."""

    page: str = field(repr=False)  # some 6 MB, which notebooks would keep twice
    height: int

    def _repr_html_(self) -> str:
        """Return a frame that holds the page: its scripts stay within."""
        return (
            f'<iframe srcdoc="{escape(self.page)}" title="atoms and attention" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )


def show_scene(figure: go.Figure, height: int = 560) -> ShownScene:
    """Return what a notebook shows, without network: the page of `save_scene`.

    Args:
        figure: What `attention_scene` returned.
        height: Height [pixels].
    """
    return ShownScene(_page(figure), height)


def _page(figure: go.Figure) -> str:
    script = files("molflt.analysis").joinpath("scene.js").read_text(encoding="utf-8")
    start = 'const plot = document.getElementById("{plot_id}");\n'
    plot = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        auto_play=False,  # frames wait for the slider
        default_height="100vh",
        post_script="{\n" + start + script + "}",
        config={"displaylogo": False},
    )
    title = escape(figure.layout.title.text or "Attention")
    return HEAD.format(title=title) + str(plot) + "\n</body>\n</html>\n"
