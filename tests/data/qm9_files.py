"""QM9's three files in upstream's layout, of twelve molecules."""

import numpy as np
from ase.build import molecule

HEADER = (
    "mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,"
    "u0_atom,u298_atom,h298_atom,g298_atom"
)
# Upstream's line for methane; the other molecules get made-up numbers.
METHANE = (
    "157.7118,157.70997,157.707,0.0,13.21,-0.3877,0.1171,0.5048,35.3641,0.044749,"
    "-40.47893,-40.476062,-40.475117,-40.498597,6.469,-395.9995945941371,"
    "-398.6432900112011,-401.0146465223618,-372.4717721479585"
)
NAMES = ["CH4", "NH3", "H2O", "C2H2", "HCN", "H2CO"]
NAMES += ["C2H6", "CH3OH", "CH3CHO", "HCOOH", "C2H4", "CO"]
EXCLUDED = 5  # counted from 1: HCN


def sdf_record(name, atoms):
    """One record as upstream's gdb9.sdf has them, here without bonds."""
    lines = [name, " -OEChem-03231823243D", ""]
    lines.append(f"{len(atoms):3d}  0  0     0  0  0  0  0  0999 V2000")
    for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True):
        row = f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3}"
        lines.append(row + " 0  0  0  0  0  0  0  0  0  0  0  0")
    return "\n".join([*lines, "M  END", "$$$$", ""])


def upstream(folder, sdf=None, csv=None, excluded=(EXCLUDED,)):
    """Write the three files in upstream's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    records = [
        sdf_record(f"gdb_{i}", molecule(name)) for i, name in enumerate(NAMES, start=1)
    ]
    rows = [f"gdb_1,{METHANE}"]
    for i in range(2, len(NAMES) + 1):
        numbers = ",".join(f"{value:.5f}" for value in rng.normal(-50, 9, size=19))
        rows.append(f"gdb_{i},{numbers}")
    (folder / "gdb9.sdf").write_text("".join(records if sdf is None else sdf(records)))
    rows = rows if csv is None else csv(rows)
    (folder / "gdb9.sdf.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    list_head = ["", *["Some text, 1 of 2 lines."] * 4, "", "=" * 40]
    list_head += ["#   Index          GDB17 SMILES      D_IJ", "=" * 40]
    body = [f"{index:8d}      NC(=N)C#N    6.036217" for index in excluded]
    text = "\n".join([*list_head, *body, "=" * 40, "", ""])
    (folder / "uncharacterized.txt").write_text(text)
    return folder
