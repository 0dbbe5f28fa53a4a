"""Models that are not what their options say: checkpoints would lose their parts."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import molflt
from molflt.errors import UsageError
from molflt.replaced_parts import refuse_replaced_parts
from tests.builders import energy_model, model_of, molecules


class Twice(nn.Module):
    """A map of weights, or a layer around another."""

    def __init__(self, base=None):
        super().__init__()
        self.base = base

    def forward(self, x):
        return 2 * (x if self.base is None else self.base(x))


class OwnNorm(nn.LayerNorm):
    """A layer of one's own."""


def another_activation(model):
    model.encoder.layers[0].mlp[1] = nn.GELU()


def another_setting(model):
    model.encoder.norm.eps = 1e-3


def another_class(model):
    model.encoder.norm = OwnNorm(model.encoder.width)


def an_adapter(model):
    model.encoder.embedding.filter = Twice(model.encoder.embedding.filter)


def a_parametrisation(model):
    mixed = model.encoder.embedding.mix
    parametrize.register_parametrization(mixed, "weight", Twice())


def pruned_weights(model):
    prune.l1_unstructured(model.encoder.embedding.mix, "weight", 0.5)


def quantised_maps(model):
    torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, inplace=True)


def a_function(model):
    model.encoder.embedding.mix.forward = lambda x: x


def a_function_of_the_encoder(model):
    model.encoder.forward = lambda *_, **__: None


def a_part_more(model):
    model.encoder.more = nn.Linear(2, 2)


def a_weight_more(model):
    model.encoder.scale = nn.Parameter(torch.ones(3))


def another_shape(model):
    model.encoder.embedding.species = nn.Embedding(119, 16)
    model.encoder.embedding.species.weight = nn.Parameter(torch.zeros(130, 16))


def another_model(model):
    model.__class__ = type("Own", (molflt.FLTModel,), {})


LOST = {
    another_activation: r"layers\.0\.mlp\.1, which is GELU.* would make it SiLU",
    another_setting: r"encoder\.norm, .*eps=0\.001.* would make it .*eps=1e-05",
    another_class: r"encoder\.norm, which is tests\.test_replaced_parts\.OwnNorm",
    an_adapter: r"embedding\.filter, which is tests\..*Twice: .* make it Linear",
    a_parametrisation: r"embedding\.mix, which is ParametrizedLinear",
    pruned_weights: r"embedding\.mix\.weight_orig, which has the shape \(16, 16\)",
    quantised_maps: r"embedding\.filter, which is Linear.*dtype=torch\.qint8",
    a_function: r"embedding\.mix, which is Linear with a forward of its own",
    a_function_of_the_encoder: "forward that the encoder alone has",
    a_part_more: r"encoder\.more \(Linear\), which loading would leave out",
    a_weight_more: r"encoder\.scale, which has the shape \(3,\)",
    another_shape: r"species\.weight, which has the shape \(130, 16\)",
    another_model: "the model Own: loading would make it FLTModel",
}


@pytest.mark.filterwarnings("ignore")  # of torch, about its quantised maps
@pytest.mark.parametrize("replace", LOST, ids=lambda f: f.__name__)
def test_parts_that_a_checkpoint_would_lose_are_refused(replace, tmp_path):
    model = model_of()
    replace(model)
    with pytest.raises(UsageError, match=LOST[replace]):
        molflt.save_model(model, tmp_path / "own.ckpt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_far_heads": 0, "matrix_head_width": 4},
        {"density_elements": "HO"},
        {"form": "additive", "estimator": "favor"},
        {"form": "additive", "spectrum": "box"},
    ],
)
def test_what_comes_back_as_it_is_can_be_saved(options, tmp_path):
    model = energy_model(options, dtype=torch.float64)
    model.requires_grad_(False)
    handle = model.encoder.norm.register_forward_hook(lambda *_: None)  # who watches
    state = torch.get_rng_state()
    molflt.save_model(model, tmp_path / "own.ckpt")
    assert torch.equal(torch.get_rng_state(), state)
    handle.remove()
    again = molflt.load(tmp_path / "own.ckpt")
    refuse_replaced_parts(again)
    water = molecules()[1]
    assert torch.equal(again(water)["energy"], model(water)["energy"])


class Own(molflt.FLTEncoder):
    """An encoder whose parts are its own, whenever it is made."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = OwnNorm(self.width)


class Odd(molflt.FLTEncoder):
    """An encoder whose config its __init__ does not take."""

    def __init__(self):
        super().__init__(width=16, num_layers=1)


def test_parts_that_an_encoder_of_ones_own_always_has_are_kept(tmp_path):
    encoder = Own(width=16, num_layers=1)
    molflt.save_model(
        molflt.FLTModel(encoder, model_of().targets), tmp_path / "own.ckpt"
    )
    again = molflt.load(tmp_path / "own.ckpt", encoder_class=Own)
    assert type(again.encoder.norm) is OwnNorm


def test_an_encoder_that_cannot_be_made_again_is_refused(tmp_path):
    model = molflt.FLTModel(Odd(), model_of().targets)
    with pytest.raises(UsageError, match=r"could not be loaded, as Odd\(\*\*config\)"):
        molflt.save_model(model, tmp_path / "own.ckpt")
