"""What a model learned, as arrays and as pictures.

| file | concept |
|---|---|
| kernels | f_h(r) and g_h(q) of every head |
| attention, attention_rows | exact attention weights of chosen atoms |
| contributions | per-atom terms of a prediction |
| metrics_file | curves of a training run |
| plots, attention_plot | pictures of arrays; they return the axes they drew on |
| style | how pictures look, and how they are written |
"""

from molflt.analysis.attention import AttentionRows, attention_rows
from molflt.analysis.contributions import atom_contributions
from molflt.analysis.kernels import (
    HeadDensities,
    HeadKernels,
    head_densities,
    head_kernels,
    radial_transform,
)
from molflt.analysis.metrics_file import read_metrics

__all__ = [
    "AttentionRows",
    "HeadDensities",
    "HeadKernels",
    "atom_contributions",
    "attention_rows",
    "head_densities",
    "head_kernels",
    "radial_transform",
    "read_metrics",
]
