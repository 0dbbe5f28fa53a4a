import torch

from molflt.nn.favor import PositiveFeatures, orthogonal_projection


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
    rows = orthogonal_projection(2, 10, 4, torch.Generator().manual_seed(0))
    for block in (rows[:, :4], rows[:, 4:8]):
        gram = block @ block.transpose(-1, -2)
        off = gram - torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))
        assert off.abs().max() < 1e-10


def test_projection_rows_have_the_law_of_gaussian_rows():
    rows = orthogonal_projection(500, 8, 4, torch.Generator().manual_seed(0))
    flat = rows.reshape(-1, 4)
    torch.testing.assert_close(
        flat.T @ flat / len(flat), torch.eye(4), rtol=0.1, atol=0.06
    )
