"""What a model learned, as arrays and as pictures.

| file | concept |
|---|---|
| attention, attention_rows | exact attention weights of chosen atoms |
| rollout | attention through all layers (`additive`) |
| attribution | effect of each message on the energy |
| contributions | per-atom terms of a prediction, forces |
| kernels, kernel_slices | f_h(r), f_h(dx, dy, dz) and g_h(q) of every head |
| head_groups | what these are evaluated from: near and far heads of each layer |
| octant, radial_transform | quadratures: means over directions, g of f |
| path_errors, far_errors | linear paths against dense ones |
| rotation | what turning a structure changes |
| species | which elements are alike |
| metrics_file | curves of a training run |
| plots, attention_plot, map_plots, model_plots, error_plots | pictures of arrays |
| scene, scene_lines, spheres, bonds, images | atoms and attention in three dimensions |
| scene_page, scene.js | the same as a page or in a notebook, to be clicked |
| style | how pictures look, and how they are written |
"""

from molflt.analysis.attention import (
    AttentionRows,
    attention_row_blocks,
    attention_rows,
)
from molflt.analysis.attribution import Attribution, message_attribution
from molflt.analysis.contributions import (
    Contributions,
    atom_contributions,
    energy_contributions,
)
from molflt.analysis.far_errors import FarErrors, far_errors
from molflt.analysis.kernel_slices import HeadSlices, head_slices
from molflt.analysis.kernels import (
    HeadDensities,
    HeadKernels,
    head_densities,
    head_kernels,
)
from molflt.analysis.metrics_file import read_metrics
from molflt.analysis.path_errors import (
    FeatureErrors,
    PathErrors,
    feature_errors,
    path_errors,
)
from molflt.analysis.radial_transform import radial_transform
from molflt.analysis.rollout import attention_rollout
from molflt.analysis.rotation import RotationErrors, rotation_errors
from molflt.analysis.species import SpeciesMap, species_map

__all__ = [
    "AttentionRows",
    "Attribution",
    "Contributions",
    "FarErrors",
    "FeatureErrors",
    "HeadDensities",
    "HeadKernels",
    "HeadSlices",
    "PathErrors",
    "RotationErrors",
    "SpeciesMap",
    "atom_contributions",
    "attention_rollout",
    "attention_row_blocks",
    "attention_rows",
    "energy_contributions",
    "far_errors",
    "feature_errors",
    "head_densities",
    "head_kernels",
    "head_slices",
    "message_attribution",
    "path_errors",
    "radial_transform",
    "read_metrics",
    "rotation_errors",
    "species_map",
]
