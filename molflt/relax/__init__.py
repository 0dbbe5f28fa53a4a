"""Relaxations of many structures in common batches.

| file | concept |
|---|---|
| relaxation | one ASE optimiser each, forces in common batches |
| job | one structure: where it is, how far it came, what is wrong |
| given_results | the calculator that hands forces to an optimiser |
| crystal_cell | a cell that is relaxed with its atoms |
| trajectory | one frame a step, also where a relaxation goes on |
"""
