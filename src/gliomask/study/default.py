"""The study that is done where no other is declared: what Ben Naceur et al. 2020 varied, one thing at a time."""

from __future__ import annotations

from gliomask.study.config import Experiment, Inference, StudyComparison, StudyConfig

BASELINE = Experiment(name="sparse", title="SparseMultiOCM")
"""Volume normalisation, patches of 64 x 64 drawn equally per class and centred on the pixel drawn, plain cross-entropy,
whole slices, no post-processing. Every other experiment changes one of these."""

EXPERIMENTS = (
    BASELINE,
    # The same network's answers, cleaned: no training and no network needed.
    Experiment(name="post-1", title="post-processing 1", postprocess="1"),
    Experiment(name="post-1+2", title="post-processing 1 and 2", postprocess="1+2"),
    Experiment(name="post-legacy", title="post-processing as published", postprocess="legacy"),
    Experiment(name="post-3d", title="post-processing 3d", postprocess="3d"),
    Experiment(name="uniform-sampling", title="patches drawn anywhere", training={"sampling": "uniform"}),
    Experiment(name="weights-paper", title="paper's weights", training={"class_weights": "paper"}),
    Experiment(name="weights-inverse", title="inverse frequency", training={"class_weights": "inverse-frequency"}),
    # The same network again, cut differently.
    Experiment(name="adjacent", title="adjacent patches", inference=Inference(patches="adjacent")),
    Experiment(name="overlapping", title="overlapping patches", inference=Inference(patches="overlapping")),
    Experiment(name="train-adjacent", title="trained on adjacent patches", training={"placement": "adjacent"}),
    Experiment(name="train-overlapping", title="trained on overlapping patches", training={"placement": "overlapping"}),
    Experiment(name="slice-normalisation", title="normalised per slice", training={"normalisation": "slice"}),
    Experiment(name="input-sparse", title="InputSparseMultiOCM", training={"network": "input-sparse"}),
    Experiment(name="dense", title="DenseMultiOCM", training={"network": "dense"}),
    # Batches of about as many pixels, so that trainings of one budget make about as many steps.
    Experiment(
        name="patch-32", title="patches of 32", training={"patch_size": 32, "patches_per_class": 20, "batch_size": 32}
    ),
    Experiment(
        name="patch-96", title="patches of 96", training={"patch_size": 96, "patches_per_class": 3, "batch_size": 4}
    ),
    Experiment(
        name="patch-128", title="patches of 128", training={"patch_size": 128, "patches_per_class": 1, "batch_size": 2}
    ),
)

COMPARISONS = (
    StudyComparison(
        name="networks",
        title="The three networks",
        question="Does one of the paper's three networks segment better than the others?",
        experiments=("input-sparse", "dense"),
    ),
    StudyComparison(
        name="inference",
        title="Patches in inference",
        question="The paper: overlapping patches beat adjacent ones. Both are cut from the same slices for the same "
        "trained network; whole slices need no cut.",
        baseline="adjacent",
        experiments=("overlapping", "sparse"),
    ),
    StudyComparison(
        name="placement",
        title="Patches in training",
        question="The same question of the patches that a network learns from; `sparse` learns from patches centred "
        "on the pixel drawn.",
        baseline="train-adjacent",
        experiments=("train-overlapping", "sparse"),
    ),
    StudyComparison(
        name="weights",
        title="Weights of the cross-entropy",
        question="The paper: weighted cross-entropy beats the plain one.",
        experiments=("weights-paper", "weights-inverse"),
    ),
    StudyComparison(
        name="sampling",
        title="Equal sampling",
        question="The paper: patches drawn equally per class beat plain training. Here the change is to patches "
        "drawn anywhere in the brain.",
        experiments=("uniform-sampling",),
    ),
    StudyComparison(
        name="postprocessing",
        title="Post-processing",
        question="The paper: each of its two post-processings helps. `post-legacy` is the published code to the "
        "letter; `post-3d` is ours.",
        experiments=("post-1", "post-1+2", "post-legacy", "post-3d"),
    ),
    StudyComparison(
        name="normalisation",
        title="Normalisation",
        question="Intensities normalised per slice, as in the published code, against per volume.",
        experiments=("slice-normalisation",),
    ),
    StudyComparison(
        name="patch-size",
        title="Size of the training patches",
        question=(
            "An output pixel of `sparse` sees 30 x 30 pixels, so larger patches bring no larger view: what changes "
            "is the share of pixels that see the "
            "patch's padded border, and how alike the pixels of a batch are. Every training sees as many pixels."
        ),
        experiments=("patch-32", "patch-96", "patch-128"),
    ),
)


def default_study() -> StudyConfig:
    """Returns the study: 18 experiments of 12 trainings, plain cross-entropy unless a row says otherwise."""
    return StudyConfig(
        training={"dice_weight": 0.0}, baseline=BASELINE.name, experiments=EXPERIMENTS, comparisons=COMPARISONS
    )
