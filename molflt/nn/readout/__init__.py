"""From features of atoms to one number per graph.

| file | concept |
|---|---|
| base | what all share: offset, scale, references; sums and means over atoms |
| attention | a mean whose weights are learned |
| adsorbate | sums whose zero the adsorbate moves |
| tags | sums in which surface, sub-surface and adsorbate weigh apart |
| dipole, extent, polarisability | moments of charges and places |
| equivariant_head | scalars and vectors per atom, for those that need both |
"""
