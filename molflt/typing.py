"""Shape aliases. One letter is one axis, everywhere in `molflt.nn` and `molflt.model`.

| letter | axis |
|---|---|
| n | atoms of the batch |
| g | graphs (molecules, slabs, crystals) of the batch |
| h | heads |
| d, e | scalar and vector channels of one head |
| c | scalar channels (width) of a layer |
| w | vector channels of a layer |
| p | pairs of atoms |
| t | components of a spectrum |
| s | frequencies |
| m | random features of the softmax kernel; lattice modes |
| v | scalar value channels of all heads, h d |
| u | vector value channels of all heads, h e |
| a | atoms of the largest graph, after padding |
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Positions = Float[Tensor, "n 3"]
Species = Int[Tensor, " n"]
GraphIndex = Int[Tensor, " n"]
AtomIndex = Int[Tensor, " m"]
NodeScalars = Float[Tensor, "n c"]
NodeVectors = Float[Tensor, "n 3 w"]
Cells = Float[Tensor, "g 3 3"]
Periodicity = Bool[Tensor, "g 3"]
HeadScalars = Float[Tensor, "n v"]
HeadVectors = Float[Tensor, "n 3 u"]
