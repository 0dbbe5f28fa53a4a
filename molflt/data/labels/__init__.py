"""Energies, forces, stresses and other targets of structures in files.

| file | concept |
|---|---|
| rules | how they are read where a file does not say what they mean |
| frame_labels | those of one frame, wherever ASE keeps them |
| labelled_frames | labelled graphs of any file |
| electrons | charge and spin |
"""
