"""First features of an atom from the density of its neighbours, by element.

| file | concept |
|---|---|
| features | two- and three-body sums, reduced to a width |
| neighbours | the densities of which they are made, compiled or not |
| gaussians | radial functions |
| projection | U, the map to few numbers: random, rounded, as states store it |
| stream | for large systems, in blocks of atoms |
| warnings | uses in which they cannot do what they are for |
"""
