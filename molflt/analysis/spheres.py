"""Atoms as spheres of triangles: one mesh for all of them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Atoms up to which icosahedra are subdivided once more: all turn smoothly.
LEVELS = (1000, 150)


def sphere_mesh(
    centres: ArrayLike, radii: ArrayLike
) -> tuple[Array, NDArray[np.int64], int]:
    """Return vertices, triangles, and the number of vertices of each sphere.

    Vertex v belongs to atom v // number.

    Args:
        centres: Positions (n, 3) [Å].
        radii: Radii (n,) [Å].

    Returns:
        Vertices (n m, 3) [Å], triangles (t, 3), m: 162, 42 for more
        than 150, 12 for more than 1,000 atoms.

    Source: subdivided icosahedron.
    """
    centres, radii = np.asarray(centres, dtype=np.float64), np.asarray(radii)
    corners, faces = _icosahedron()
    for most in LEVELS:
        if len(centres) <= most:
            corners, faces = _subdivided(corners, faces)
    vertices = centres[:, None] + radii[:, None, None] * corners
    shift = len(corners) * np.arange(len(centres))
    triangles = faces + shift[:, None, None]
    return vertices.reshape(-1, 3), triangles.reshape(-1, 3), len(corners)


def _icosahedron() -> tuple[Array, NDArray[np.int64]]:
    """Return the 12 corners on the unit sphere and the 20 faces, outside in front."""
    golden = (1 + 5**0.5) / 2
    flat = np.array([[0, a, b * golden] for a in (1, -1) for b in (1, -1)])
    corners = np.concatenate([np.roll(flat, k, axis=1) for k in range(3)])
    edge = np.linalg.norm(corners[:, None] - corners, axis=-1) < 2.1
    faces = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if edge[i, j] and edge[j, k] and edge[k, i]
    ]
    for number, (i, j, k) in enumerate(faces):
        if np.linalg.det(corners[[i, j, k]]) < 0:
            faces[number] = (i, k, j)
    return corners / np.linalg.norm(corners[0]), np.array(faces)


def _subdivided(
    corners: Array, faces: NDArray[np.int64]
) -> tuple[Array, NDArray[np.int64]]:
    """Put a corner on the middle of each edge: four triangles for each."""
    points, middle = list(corners), {}
    smaller = []

    def between(i: int, j: int) -> int:
        key = (min(i, j), max(i, j))
        if key not in middle:
            point = points[i] + points[j]
            middle[key] = len(points)
            points.append(point / np.linalg.norm(point))
        return middle[key]

    for i, j, k in faces.tolist():
        a, b, c = between(i, j), between(j, k), between(k, i)
        smaller += [(i, a, c), (a, j, b), (c, b, k), (a, b, c)]
    return np.array(points), np.array(smaller)
