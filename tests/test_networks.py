import numpy as np
import pytest

from gliomask.errors import UsageError
from gliomask.networks.catalogue import NETWORKS, network

pytestmark = pytest.mark.train

EXPECTED = {
    "sparse": (127_876, 30),
    "input-sparse": (130_180, 30),
    "dense": (181_124, 38),
    "unet": (1_670_660, 204),
    "plain-unet": (7_769_316, 204),
}
"""Parameters and receptive field: the paper's for its networks."""

LAYERS = {
    "sparse": "image module1_fine1 module1_fine2 module1_coarse_down module1_coarse1 module1_coarse2 "
    "module1_coarse_up module1_join module2_fine1 "
    "module2_fine2 module2_coarse_down module2_coarse1 module2_coarse2 module2_coarse_up module2_join head1 head2 "
    "logits probabilities",
    "dense": "image module1_fine1 module1_fine2 module1_wide1 module1_wide2 module1_coarse_down module1_coarse1 "
    "module1_coarse2 module1_point "
    "module1_coarse_up module1_join module2_fine1 module2_fine2 module2_wide1 module2_wide2 module2_coarse_down "
    "module2_coarse1 module2_coarse2 "
    "module2_point module2_coarse_up module2_join head1 head2 logits probabilities",
}
LAYERS["input-sparse"] = LAYERS["sparse"]
UNITS = "conv1 conv1_norm relu1 conv2 conv2_norm relu2 sum"
LAYERS["unet"] = " ".join(
    [
        "image stem stem_norm stem_relu logits probabilities",
        *(
            f"{place}_{unit}"
            for place in ("down1", "down2", "down3", "down4", "up1", "up2", "up3")
            for unit in UNITS.split()
        ),
        *(f"{place}_short {place}_short_norm" for place in ("down2", "down3", "down4", "up1", "up2", "up3")),
        *(f"down{level}_pool up{level - 1}_size up{level - 1}_join" for level in (2, 3, 4)),
    ]
)
LAYERS["plain-unet"] = " ".join(
    [
        "image logits probabilities",
        *(
            f"{place}_conv{n} {place}_conv{n}_norm {place}_relu{n}"
            for place in (*(f"down{d}" for d in range(1, 6)), *(f"up{u}" for u in range(1, 5)))
            for n in (1, 2)
        ),
        *(f"down{level}_pool up{level - 1}_size up{level - 1}_join" for level in range(2, 6)),
    ]
)


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def built(request, keras):
    keras.utils.set_random_seed(0)
    return NETWORKS[request.param], NETWORKS[request.param].build()


def test_the_catalogue_says_what_networks_are():
    assert {entry.name: (entry.parameters, entry.receptive_field) for entry in NETWORKS.values()} == EXPECTED


def test_parameters_are_as_expected(built):
    entry, model = built
    assert model.count_params() == EXPECTED[entry.name][0]
    assert sum(np.prod(variable.shape) for variable in model.variables) == EXPECTED[entry.name][0]


def test_layer_names_are_stable(built):
    # Weights are stored by these names: a new name would orphan every model file.
    entry, model = built
    assert sorted(layer.name for layer in model.layers) == sorted(LAYERS[entry.name].split())
    kinds = {"kernel", "bias"} | (
        {"gamma", "beta", "moving_mean", "moving_variance"} if entry.name in ("unet", "plain-unet") else set()
    )
    assert {variable.path.split("/")[1] for variable in model.variables} == kinds


@pytest.mark.parametrize("multiples", [(1, 1), (1, 3), (3, 2)])
def test_any_height_and_width_that_are_multiples(built, multiples):
    entry, model = built
    size = tuple(entry.size_multiple * multiple for multiple in multiples)
    image = np.random.default_rng(0).standard_normal((2, *size, 4 * entry.slices)).astype(np.float32)
    probabilities = np.asarray(model(image))
    assert probabilities.shape == (2, *size, 4)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    assert probabilities.min() >= 0


def test_other_numbers_of_channels_and_classes(keras):
    for entry in NETWORKS.values():
        model = entry.build(sequences=3, classes=2)
        assert (model.input.shape[-1], model.output.shape) == (3 * entry.slices, (None, None, None, 2))


@pytest.mark.parametrize("axis", [1, 2], ids=["height", "width"])
def test_receptive_field(keras, built, axis):
    """Exact: with positive kernels, no bias and an image of zeros, a pixel that is switched on raises just the logits
    that depend on it, since neither ReLU nor maximum can hide a positive number among zeros."""
    entry, model = built
    if axis == 2 and entry.name in ("unet", "plain-unet"):
        pytest.skip("a large network whose kernels are square: the other axis tells as much, in half the time")
    before = model.get_weights()
    for variable in model.variables:
        # 1 / channels keeps the weakest path, one pixel a layer, near one: no underflow. Norms pass on what they get.
        passing = (
            1 / variable.shape[-2] if len(variable.shape) > 1 else float(variable.path.endswith(("gamma", "variance")))
        )
        variable.assign(np.full(variable.shape, passing))
    # As long as any pixel of the middle sees, and some more, so that a wider field would show.
    length = -(-(EXPECTED[entry.name][1] + 2 * entry.size_multiple) // 32) * 32 + 32
    middle = slice(length // 2 - 8, length // 2 + 8)
    impulses = np.zeros((length, length, entry.size_multiple, 4 * entry.slices), np.float32)
    impulses[np.arange(length), np.arange(length), 1] = 1
    if axis == 2:
        impulses = impulses.transpose(0, 2, 1, 3)
    network = keras.Model(model.input, model.get_layer("logits").output)
    logits = np.concatenate([np.asarray(network(impulses[first : first + 32])) for first in range(0, length, 32)])
    model.set_weights(before)
    # Whether each pixel of the line is reached from each impulse, anywhere across the line: (impulse, pixel).
    reached = (logits > 0).any(axis=(3 - axis, 3))
    widths = []
    for pixel in range(middle.start, middle.stop):
        seen = np.flatnonzero(reached[:, pixel])
        assert len(seen) == seen[-1] - seen[0] + 1
        assert max(pixel - seen[0], seen[-1] - pixel) < EXPECTED[entry.name][1] // 2 + entry.size_multiple // 2
        widths.append(len(seen))
    assert max(widths) == EXPECTED[entry.name][1]


def test_names_and_titles_in_any_case():
    assert network("Dense") is network("densemultiocm") is NETWORKS["dense"]
    assert network("ResidualUNet") is NETWORKS["unet"]
    with pytest.raises(UsageError, match="sparse, input-sparse, dense, unet, plain-unet"):
        network("resnet")
