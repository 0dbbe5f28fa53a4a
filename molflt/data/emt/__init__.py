"""The EMT data set: adsorption energies and frames, made on one's own machine.

| file | concept |
|---|---|
| datamodule | `EMTIS2RE` |
| systems | random adsorbates on random slabs |
| potential | ASE's EMT with all pairs at once |
| relax, frames | one system, relaxed and judged; frames for force fields |
| generate | `molflt data emt`: all of them, on several processes |
"""
