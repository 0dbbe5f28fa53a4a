"""Near heads: attention whose f has compact support, exact on pairs of neighbours.

| file | concept |
|---|---|
| attention | the heads, on any path |
| kernel | their kernels f and u, functions of displacement |
| paths | how they are evaluated: sizes in, path out |
| moments | dense path: sums over pairs with a direction, from places |
| rows, sums | linear path: sums along rows of edges; the same for autograd |
"""
