"""Hooks of mkdocs for a site that opens from the disk, without server and network.

Formulas in LaTeX become MathML, which browsers draw by themselves. Links from one
notebook to another, which mkdocs leaves alone, lead to its page. The index of the
search is a script, as pages from the disk may not read other files.
"""

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex makes of $...$ and $$...$$.
FORMULA = re.compile(
    r'<(?:span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</(?:span|div)>',
    re.DOTALL,
)

# Beside each other in notebooks/, as their pages are.
NOTEBOOK = re.compile(r'(<a [^>]*href="\w+)\.ipynb(["#])')


def on_page_content(content: str, **_: Any) -> str:
    """Return a page's HTML with its formulas drawn and its links alive."""
    return NOTEBOOK.sub(r"\1.html\2", FORMULA.sub(_drawn, content))


def on_post_build(config: dict[str, Any], **_: Any) -> None:
    """Write the index of the search a second time, where a script can load it."""
    folder = Path(config["site_dir"]) / "search"
    text = (folder / "search_index.json").read_text(encoding="utf-8")
    (folder / "search_index.js").write_text(f"var __index = {text};\n", "utf-8")


def _drawn(hit: re.Match[str]) -> str:
    inline, block = hit.groups()
    text = html.unescape(inline if block is None else block).strip()
    return convert(text, display="inline" if block is None else "block")
