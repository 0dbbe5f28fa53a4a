"""``molflt data check`` and ``describe``: what a file holds, and what looks wrong.

| file | concept |
|---|---|
| examine | the check |
| report | what is said of it |
| unit_hints, energy_outliers | units and outliers of energies |
| force_hints, work_factor | whether energies and forces belong together |
| relaxed_hints | energies of a step, taken for those after a relaxation |
| stress_hints, stress_values, crystal_pairs | the same of stresses |
"""
