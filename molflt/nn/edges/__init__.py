"""Sums over neighbours, without arrays of edges.

| file | concept |
|---|---|
| rows | directed edges sorted by receiver |
| table | radial functions as splines |
| sums | sums over edges that autograd differentiates to any order |
| filters | a sum with a radial filter per channel |
"""
