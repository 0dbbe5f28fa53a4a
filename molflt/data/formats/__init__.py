"""Structures in files of any format: ASE's, SDF, SMILES, tables.

| file | concept |
|---|---|
| structure_files | any file, by its name |
| ase_frames, xyz | what ASE reads, frame by frame |
| sdf, smiles, smiles_table | molecules, by RDKit |
| mmff | geometries at minima of MMFF94 |
| rdkit_electrons | charge and spin of RDKit's molecules |
| cells | cells of tables and properties of SDF |
| compressed | .gz, .bz2, .xz |
| occupancy | disordered crystals, which are refused |
| plain | what files of any format can hold |
"""
