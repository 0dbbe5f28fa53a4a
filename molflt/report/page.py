"""The page: a template with style, scripts and content, all in one file.

Names of files and everything else that strangers chose are escaped: as HTML in the
text, and in the content as JSON without any character that could end a script.
"""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

SCRIPTS = ("data.js", "scene.js", "chart.js", "page.js")

MEANS = (
    " Heads of this model depend on direction, too: their curves are means over all "
    "directions (molflt.analysis.head_slices shows planes of f)."
)


def render(
    content: Mapping[str, Any],
    provenance: Sequence[tuple[str, str]],
    made: str,
) -> str:
    """Return the HTML of a report.

    Args:
        content: What `report_content` returned.
        provenance: Names and values for the table on the checkpoint.
        made: When and by what the page was made.
    """
    target = content["target"]
    kind = {
        "potential": "potential energy of this geometry",
        "relaxed": "energy after relaxation, predicted from this geometry",
        "property": "property of this geometry",
    }[target["kind"]]
    if target["reference"]:
        kind += f"; zero: {target['reference']}"
    count = len(content["z"])
    texts = {
        "title": f"{content['formula']} · {content['structure']}",
        "formula": content["formula"],
        "structure": content["structure"],
        "atoms": f"{count:,} atom{'s' if count > 1 else ''}",
        "tags": f"Tags: {content['tags']}." if content["tags"] else "",
        "name": target["name"],
        "value": _number(target["value"]),
        "unit": target["unit"],
        "kind": kind,
        "made": made,
    }
    parts = {name: escape(text) for name, text in texts.items()}
    parts["notes"] = "\n".join(f"<li>{escape(note)}</li>" for note in content["notes"])
    parts["directions"] = MEANS if content["directions"] else ""
    parts["remarks"] = "\n".join(
        f'<p class="remark">{escape(remark)}</p>' for remark in content["remarks"]
    )
    parts["provenance"] = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in provenance
    )
    parts["style"] = _asset("page.css")
    parts["scripts"] = "\n".join(_asset(name) for name in SCRIPTS)
    parts["content"] = as_script(content)
    # One pass: what is put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda hit: parts[hit[1]], _asset("page.html"))


def _number(value: float) -> str:
    """Return four decimals, or three digits of what is too small for them."""
    small = 0 < abs(value) < 0.01
    return f"{value:{'.3g' if small else '.4f'}}".replace("-", "−")


def as_script(content: Mapping[str, Any]) -> str:
    """Return JSON that is safe between <script> tags, whatever its strings hold."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return files("molflt.report").joinpath(name).read_text(encoding="utf-8")
