import numpy as np
import pytest

from gliomask.errors import UsageError
from gliomask.networks.catalogue import NETWORKS, network

pytestmark = pytest.mark.train

PAPER = {"sparse": (127_876, 30), "input-sparse": (130_180, 30), "dense": (181_124, 38)}

LAYERS = {
    "sparse": "image module1_fine1 module1_fine2 module1_coarse_down module1_coarse1 module1_coarse2 module1_coarse_up module1_join module2_fine1 "
    "module2_fine2 module2_coarse_down module2_coarse1 module2_coarse2 module2_coarse_up module2_join head1 head2 logits probabilities",
    "dense": "image module1_fine1 module1_fine2 module1_wide1 module1_wide2 module1_coarse_down module1_coarse1 module1_coarse2 module1_point "
    "module1_coarse_up module1_join module2_fine1 module2_fine2 module2_wide1 module2_wide2 module2_coarse_down module2_coarse1 module2_coarse2 "
    "module2_point module2_coarse_up module2_join head1 head2 logits probabilities",
}
LAYERS["input-sparse"] = LAYERS["sparse"]


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def built(request, keras):
    keras.utils.set_random_seed(0)
    return NETWORKS[request.param], NETWORKS[request.param].build()


def test_the_catalogue_holds_the_papers_networks():
    assert {entry.name: (entry.parameters, entry.receptive_field) for entry in NETWORKS.values()} == PAPER


def test_parameters_are_the_papers(built):
    entry, model = built
    assert model.count_params() == PAPER[entry.name][0]
    assert sum(np.prod(variable.shape) for variable in model.trainable_variables) == PAPER[entry.name][0]


def test_layer_names_are_stable(built):
    # Weights are stored by these names: a new name would orphan every model file.
    entry, model = built
    assert sorted(layer.name for layer in model.layers) == sorted(LAYERS[entry.name].split())
    assert {variable.path.split("/")[1] for variable in model.variables} == {"kernel", "bias"}


@pytest.mark.parametrize("size", [(2, 2), (2, 46), (34, 18), (64, 64)])
def test_any_even_height_and_width(built, size):
    _, model = built
    image = np.random.default_rng(0).standard_normal((2, *size, 4)).astype(np.float32)
    probabilities = np.asarray(model(image))
    assert probabilities.shape == (2, *size, 4)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    assert probabilities.min() >= 0


def test_other_numbers_of_channels_and_classes(keras):
    for entry in NETWORKS.values():
        assert entry.build(channels=3, classes=2).output.shape == (None, None, None, 2)


@pytest.mark.parametrize("axis", [1, 2], ids=["height", "width"])
def test_receptive_field(keras, built, axis):
    """Exact: with positive kernels, no bias and an image of zeros, a pixel that is switched on raises just the logits that depend on it, since
    neither ReLU nor maximum can hide a positive number among zeros."""
    entry, model = built
    before = model.get_weights()
    for variable in model.variables:
        # 1 / channels keeps the weakest path, one pixel a layer, near one: no underflow.
        variable.assign(np.full(variable.shape, 1 / variable.shape[-2] if variable.path.endswith("kernel") else 0.0))
    length, middle = 96, slice(40, 56)
    impulses = np.zeros((length, length, 4, 4), np.float32)
    impulses[np.arange(length), np.arange(length), 1] = 1
    if axis == 2:
        impulses = impulses.transpose(0, 2, 1, 3)
    logits = np.asarray(keras.Model(model.input, model.get_layer("logits").output)(impulses))
    model.set_weights(before)
    # Whether each pixel of the line is reached from each impulse, anywhere across the line: (impulse, pixel).
    reached = (logits > 0).any(axis=(3 - axis, 3))
    widths = []
    for pixel in range(middle.start, middle.stop):
        seen = np.flatnonzero(reached[:, pixel])
        assert len(seen) == seen[-1] - seen[0] + 1
        assert max(pixel - seen[0], seen[-1] - pixel) <= PAPER[entry.name][1] // 2
        widths.append(len(seen))
    assert max(widths) == PAPER[entry.name][1]


def test_names_and_titles_in_any_case():
    assert network("Dense") is network("densemultiocm") is NETWORKS["dense"]
    with pytest.raises(UsageError, match="sparse, input-sparse, dense"):
        network("unet")
