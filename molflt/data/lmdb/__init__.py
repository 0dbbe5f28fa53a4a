"""molflt's own data file.

| file | concept |
|---|---|
| store | a set of graphs in one LMDB, written and read |
| record | one graph as bytes |
| file | LMDB files of any origin, opened without crashing on broken ones |
"""
