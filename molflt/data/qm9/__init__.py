"""QM9.

| file | concept |
|---|---|
| datamodule | `QM9` |
| source | upstream's files |
| table | the set packed into few arrays |
| targets | its 19 targets, with units and kinds |
| splits | seeded and published splits |
| mmff | its molecules at minima of MMFF94 |
"""
