"""Graphs of atoms: which atom belongs to which, and which are neighbours.

| file | concept |
|---|---|
| index | what models read of a graph or batch; the graph of each atom |
| host | what the host asks of tensors that may be on a GPU |
| places | what positions, cells and the graph of each atom must be like |
| neighbors, cell_grid | pairs within a cutoff, periodic images included |
| skin | pairs that stay useful while atoms move a little |
| order | atoms in the order of space |
| partition | one system cut into compact parts |
| parts | adsorbates by themselves, behind their systems |
| subsurface | structures without their sub-surface atoms |
| moments | distances from the centre of mass |
"""
