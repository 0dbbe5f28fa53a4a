"""What a model learned, as arrays and as pictures.

| file | concept |
|---|---|
| attention, attention_rows | exact attention weights of chosen atoms |
| rollout | attention through all layers (`additive`) |
| attribution | effect of each message on the energy |
| contributions | per-atom terms of a prediction, forces |
| kernels | f_h(r) and g_h(q) of every head |
| metrics_file | curves of a training run |
| plots, attention_plot | pictures of arrays; they return the axes they drew on |
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
from molflt.analysis.kernels import (
    HeadDensities,
    HeadKernels,
    head_densities,
    head_kernels,
    radial_transform,
)
from molflt.analysis.metrics_file import read_metrics
from molflt.analysis.rollout import attention_rollout

__all__ = [
    "AttentionRows",
    "Attribution",
    "Contributions",
    "HeadDensities",
    "HeadKernels",
    "atom_contributions",
    "attention_rollout",
    "attention_row_blocks",
    "attention_rows",
    "energy_contributions",
    "head_densities",
    "head_kernels",
    "message_attribution",
    "radial_transform",
    "read_metrics",
]
