"""Small compiled loops over edges, built on first use; torch does the same without.

| file | concept |
|---|---|
| build | find a compiler, build for given sizes, keep the result |
| rows.cpp | edges sorted by receiver |
| near.cpp | sums of near heads and their gradients |
| filter.cpp | the embedding's sum over neighbours and its gradients |
| density.cpp | densities of neighbours by element and their gradients |
| harmonics.h | directions of edges as harmonics, with slopes |
| dual.h | numbers with a derivative |
| splines.h | edges, and radial functions of their lengths |
"""
