"""Features of atoms, as encoders give them and readouts want them."""

from collections.abc import Callable
from typing import NamedTuple

from torch_geometric.data import Data

from molflt.encoder import FLTEncoder
from molflt.graph_index import graph_index
from molflt.neighbors import NeighborPairs
from molflt.nn.heads import Path
from molflt.parts import with_parts
from molflt.typing import NodeScalars, NodeVectors

_OF_ATOMS = ("z", "pos", "tags")
_OF_GRAPHS = ("cell", "pbc")


class Features(NamedTuple):
    """What an encoder says of the atoms that it looks at.

    Args:
        x: Scalar features (n, c).
        vec: Vector features (n, 3, w), or None.
        data: The atoms they are of, `FLTEncoder.seen`.
        apart: What it says of the same atoms when adsorbate and slab are by themselves;
            None: nobody asked.
    """

    x: NodeScalars
    vec: NodeVectors | None
    data: Data
    apart: "Features | None" = None

    def of_graph(self, number: int) -> "Features":
        """Return the features of one graph."""
        rows = graph_index(self.data)[0] == number
        vec = None if self.vec is None else self.vec[rows]
        apart = None if self.apart is None else self.apart.of_graph(number)
        return Features(self.x[rows], vec, graph_of(self.data, number), apart)


def graph_of(data: Data, number: int) -> Data:
    """Return what readouts need of one graph of a batch."""
    rows = graph_index(data)[0] == number
    fields = {key: data[key][rows] for key in _OF_ATOMS if data.get(key) is not None}
    for key in _OF_GRAPHS:
        if data.get(key) is not None:
            fields[key] = data[key][number : number + 1]
    return Data(**fields)


def features_of(
    encoder: FLTEncoder,
    data: Data,
    path: Path = "auto",
    *,
    apart: bool = False,
    pairs: Callable[[Data], NeighborPairs] | None = None,
) -> Features:
    """Return the features of a graph or batch of graphs, in one pass.

    Args:
        encoder: The encoder.
        data: The graph or batch.
        path: How attention is evaluated.
        apart: Those of adsorbate and slab by themselves are wanted, too.
        pairs: Returns the pairs within the cutoff; None: they are searched.
    """
    seen = encoder.seen(data)
    whole, place = with_parts(seen) if apart else (seen, None)
    geometry = None if pairs is None else encoder.geometry(whole, pairs(whole))
    x, vec = encoder(whole, geometry=geometry, path=path)
    if place is None:
        return Features(x, vec, seen)
    n = len(place)
    if vec is None:
        return Features(x[:n], None, seen, Features(x[n:][place], None, seen))
    behind = Features(x[n:][place], vec[n:][place], seen)
    return Features(x[:n], vec[:n], seen, behind)
