"""Spectral densities g over R^3, the encodings f they give, and features of f.

| file | concept |
|---|---|
| shells | radial Gaussian shells and their closed-form transforms |
| spectrum | learned mixtures: radial, and free |
| kernel_spectrum | what spectra of one known shape have in common |
| decaying | of kernels that decay: Gaussian, Laplace, Matern |
| local | of kernels that end: box, triangle, ball |
| by_name | all of them by name |
| frequencies, fourier_rpe | random features N1, N2 with E[N1 N2^T] = f (Theorem 4.1) |
| orthogonal | rows of random features that are orthogonal |
"""
