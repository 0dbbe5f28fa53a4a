import torch

from molflt.nn.favor import PositiveFeatures
from molflt.nn.spectra.orthogonal import orthogonal_rows
from molflt.testing import log_slope


def test_product_of_features_is_an_unbiased_softmax_kernel():
    draws, size, m = 2000, 6, 8
    features = PositiveFeatures(draws, size, m, seed=1, eps=0.0)
    x, y = 0.5 * torch.randn(2, 1, 1, size)
    rows = [
        torch.exp(features._exponent(v.expand(1, draws, size))) / m**0.5 for v in (x, y)
    ]
    estimates = (rows[0] * rows[1]).sum(-1).flatten()
    exact = torch.exp((x * y).sum())
    standard_error = estimates.std() / draws**0.5
    assert (estimates.mean() - exact).abs() < 4 * standard_error


def test_stabilised_features_keep_ratios():
    features = PositiveFeatures(1, 4, 16, eps=0.0)
    x = torch.randn(5, 1, 4)
    batch = torch.tensor([0, 0, 0, 1, 1])
    keys = features.keys(x, batch, 2)
    plain = torch.exp(features._exponent(x)) / 4
    for graph in (0, 1):
        ratio = (keys / plain)[batch == graph]
        torch.testing.assert_close(ratio, ratio[0, 0, 0].expand_as(ratio))


def test_projection_rows_are_orthogonal_within_blocks():
    rows = orthogonal_rows(2, 10, 4, torch.Generator().manual_seed(0))
    for block in (rows[:, :4], rows[:, 4:8]):
        gram = block @ block.transpose(-1, -2)
        off = gram - torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))
        assert off.abs().max() < 1e-10


def test_projection_rows_have_the_law_of_gaussian_rows():
    rows = orthogonal_rows(500, 8, 4, torch.Generator().manual_seed(0))
    flat = rows.reshape(-1, 4)
    torch.testing.assert_close(
        flat.T @ flat / len(flat), torch.eye(4), rtol=0.1, atol=0.06
    )


def test_distance_to_softmax_falls_as_the_inverse_root_of_features():
    """200 draws a size (heads draw independently), short vectors: beyond them the error
    saturates, since an average of values is bounded.
    """
    draws, size = 200, 5
    q, k = 0.2 * torch.randn(2, 6, 1, size)
    v = torch.randn(6)
    exact = torch.softmax(torch.einsum("ihe,jhe->hij", q, k), dim=-1)[0] @ v
    graph = torch.zeros(6, dtype=torch.int64)
    sizes, errors = [32, 64, 128, 256, 512], []
    for m in sizes:
        features = PositiveFeatures(draws, size, m, seed=m)
        phi_q = features.queries(q.expand(-1, draws, -1))
        phi_k = features.keys(k.expand(-1, draws, -1), graph, 1)
        rows = torch.einsum("ihm,jhm->hij", phi_q, phi_k)
        estimates = (rows / rows.sum(-1, keepdim=True)) @ v
        errors.append(float((estimates - exact).square().mean().sqrt()))
    assert -0.6 < log_slope(sizes, errors) < -0.4
