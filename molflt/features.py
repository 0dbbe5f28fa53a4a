"""Features of atoms, as encoders give them and readouts want them."""

from collections.abc import Callable
from typing import NamedTuple

from torch_geometric.data import Data

from molflt.encoder import FLTEncoder
from molflt.graph.index import OF_ATOMS, OF_GRAPHS, graph_index
from molflt.graph.neighbors import NeighborPairs
from molflt.graph.order import places_in, spatial_order
from molflt.graph.parts import adsorbate_atoms, behind
from molflt.graph.subsurface import part_of
from molflt.nn.heads import Path
from molflt.nn.plain import is_watched
from molflt.typing import AtomIndex, NodeScalars, NodeVectors


class Features(NamedTuple):
    """What an encoder says of the atoms that it looks at.

    Args:
        x: Scalar features (n, c).
        vec: Vector features (n, 3, w), or None.
        data: The atoms they are of, `FLTEncoder.seen`.
        adsorbate: Which of them are those of adsorbates (m,); None: nobody asked.
        alone: What the encoder says of these when they are by themselves, or None.
    """

    x: NodeScalars
    vec: NodeVectors | None
    data: Data
    adsorbate: AtomIndex | None = None
    alone: "Features | None" = None

    def of_atoms(self, index: AtomIndex) -> "Features":
        """Return the features of some atoms (m,), ascending, in the same graphs."""
        vec = None if self.vec is None else self.vec[index]
        return Features(self.x[index], vec, part_of(self.data, index))

    def of_adsorbates(self) -> tuple["Features", "Features"]:
        """Return those of the adsorbates' atoms in the systems, and by themselves."""
        assert self.adsorbate is not None
        assert self.alone is not None
        return self.of_atoms(self.adsorbate), self.alone

    def of_graph(self, number: int) -> "Features":
        """Return the features of one graph."""
        rows = graph_index(self.data)[0] == number
        vec = None if self.vec is None else self.vec[rows]
        own = Features(self.x[rows], vec, graph_of(self.data, number))
        if self.adsorbate is None or self.alone is None:
            return own
        place = rows.cumsum(0) - 1  # of an atom among those of the graph
        atoms = place[self.adsorbate[rows[self.adsorbate]]]
        return own._replace(adsorbate=atoms, alone=self.alone.of_graph(number))


def graph_of(data: Data, number: int) -> Data:
    """Return what readouts need of one graph of a batch."""
    rows = graph_index(data)[0] == number
    fields = {key: data[key][rows] for key in OF_ATOMS if data.get(key) is not None}
    for key in OF_GRAPHS:
        if data.get(key) is not None:
            fields[key] = data[key][number : number + 1]
    return Data(**fields)


def features_of(
    encoder: FLTEncoder,
    data: Data,
    path: Path = "auto",
    *,
    alone: bool = False,
    pairs: Callable[[Data], NeighborPairs] | None = None,
) -> Features:
    """Return the features of a graph or batch of graphs, in one pass.

    Args:
        encoder: The encoder.
        data: The graph or batch.
        path: How attention is evaluated.
        alone: Those of adsorbates by themselves are wanted, too.
        pairs: Returns the pairs within the cutoff; None: they are searched.
    """
    seen = encoder.seen(data)
    whole, index, part = seen, None, None
    if alone:
        index = adsorbate_atoms(seen)
        part = part_of(seen, index)
        whole = behind(seen, part)
    x, vec = _encoded(encoder, whole, path, None if pairs is None else pairs(whole))
    if index is None or part is None:
        return Features(x, vec, seen)
    n = len(seen.z)
    vectors = (None, None) if vec is None else (vec[:n], vec[n:])
    own = Features(x[n:], vectors[1], part)
    return Features(x[:n], vectors[0], seen, index, own)


def _encoded(
    encoder: FLTEncoder, data: Data, path: Path, pairs: NeighborPairs | None
) -> tuple[NodeScalars, NodeVectors | None]:
    """Return what the encoder says of all atoms, met in the order of space.

    In their own order where somebody watches, who would look for them there.

    Args:
        encoder: The encoder.
        data: The atoms that it looks at.
        path: How attention is evaluated.
        pairs: Their pairs within the cutoff, if they are at hand.
    """
    order = None if path == "dense" else spatial_order(data, encoder.cutoff)
    place = None
    # Asked of large systems alone: all modules are looked at.
    if order is not None and not any(map(is_watched, encoder.modules())):
        place, data = places_in(order), part_of(data, order)
        if pairs is not None:
            pairs = pairs.renumbered(place)
    geometry = None if pairs is None else encoder.geometry(data, pairs)
    x, vec = encoder(data, geometry=geometry, path=path)
    if place is not None:
        x = x.index_select(0, place)
        vec = None if vec is None else vec.index_select(0, place)
    return x, vec


def with_adsorbates_alone(encoder: FLTEncoder, features: Features) -> Features:
    """Return features with those of adsorbates alone, from a pass of their own."""
    index = adsorbate_atoms(features.data)
    part = part_of(features.data, index)
    return features._replace(adsorbate=index, alone=features_of(encoder, part))
