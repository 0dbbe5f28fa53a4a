"""How many elements there are, for arrays that have a row for each."""

MAX_Z = 118
"""Largest atomic number, oganesson's."""

NUM_SPECIES = MAX_Z + 1
"""Rows of arrays by atomic number; row 0 is unused."""
