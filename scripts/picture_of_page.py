"""Draw the picture of `molflt inspect` that README and docs show.

    .venv/bin/python scripts/picture_of_page.py      writes docs/assets/inspect.png

CO on Cu(111), the shipped `emt-is2re`; its page as an installed Chromium shows it, in
256 colours.
"""

import sys
import tempfile
from pathlib import Path

import ase.io
from ase.build import add_adsorbate, fcc111, molecule
from PIL import Image

from molflt.cli import main as molflt
from molflt.files import atomic_path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for the browser of the tests
TARGET = ROOT / "docs" / "assets" / "inspect.png"
SIZE = {"width": 1180, "height": 850}


def main() -> None:
    """Write the picture."""
    from tests.browser import chromium

    slab = fcc111("Cu", size=(3, 3, 4), vacuum=9.0)
    add_adsorbate(slab, molecule("CO"), 1.9, "ontop", mol_index=1)
    slab.info.clear()  # notes of ASE's builders, which no file can hold
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        structure, page = folder / "co_on_cu111.extxyz", folder / "page.html"
        ase.io.write(structure, slab)
        words = ["inspect", "emt-is2re", str(structure), "-o", str(page)]
        if molflt(words) != 0:
            raise SystemExit("molflt inspect failed; its message is above.")
        with chromium() as browser:
            sheet = browser.new_page(viewport=SIZE, color_scheme="light")
            sheet.goto(page.as_uri())
            sheet.wait_for_timeout(2000)  # the structure is drawn
            sheet.screenshot(path=folder / "page.png")
        with Image.open(folder / "page.png") as picture:
            colours = picture.convert("RGB").quantize(256)
    with atomic_path(TARGET) as temporary:
        colours.save(temporary, optimize=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
