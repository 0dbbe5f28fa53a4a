"""Far heads: attention whose f is smooth and band-limited, of any reach.

| file | concept |
|---|---|
| attention | the heads, on any path |
| cost | which way is the cheapest: sizes in, way out |
| sums | sums over frequencies by non-uniform Fourier transforms |
| boxes, lattice | the box of each graph, and the frequencies of it |
| nufft | the transforms, differentiable to any order |
"""
