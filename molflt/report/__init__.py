"""One self-contained HTML page on what a model makes of a structure.

| file | concept |
|---|---|
| rows | attention rows, few enough and rounded for a page |
| content | everything the page shows, as plain values |
| facts | what a checkpoint says of itself |
| page | the page: template, style, scripts, content |
| page.html, page.css, *.js | what a browser runs: no library, no network, no WebGL |
"""

from molflt.report.content import report_content
from molflt.report.page import render

__all__ = ["render", "report_content"]
