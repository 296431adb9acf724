"""A second network, asked where the first suspects tumour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gliomask.arrays import Mask, Probabilities
from gliomask.labels import Label
from gliomask.predict.brain import NetworkShape, PatchPlan, predict_brain
from gliomask.predict.tiles import Predict
from gliomask.preprocess.channels import Prepared
from gliomask.progress import Progress

SUSPICION = 0.1
"""Probability of tumour above which a second network is asked. Below, the mean exceeds one half only where the second
is more than 90 % sure. Lower ones let specks in, and the boxes round them cost time: at 0.01 twice the pixels (17
patients)."""


def suspects(probabilities: Probabilities) -> Mask:
    """Returns (I, J, K), True where probabilities (I, J, K, 4) give tumour any chance."""
    return np.asarray(probabilities[..., Label.BACKGROUND] < 1 - SUSPICION)


def consult(
    prepared: Prepared,
    probabilities: Probabilities,
    network: NetworkShape,
    plan: PatchPlan,
    predict: Predict,
    in_flight: int = 1,
    progress: Progress = lambda done, total: None,
) -> None:
    """Averages a second network's probabilities into those of a first, in place, where the first gives tumour any
    chance.

    Elsewhere the mean would be background anyway, unless the second were all but certain of what the first excludes, so
    most of the brain need not go through the second network.

    Args:
        prepared: the normalised case, as both networks take it.
        probabilities: (I, J, K, 4), the first network's.
        network: what the second takes.
        plan: how to cut for it.
        predict: the second network.
        in_flight: see `predict_brain`.
        progress: likewise.
    """
    suspected = suspects(probabilities)
    if suspected.any():
        second = predict_brain(
            replace(prepared, brain=suspected), network, plan, predict, progress, in_flight=in_flight
        )
        probabilities[suspected] = (probabilities[suspected] + second[suspected]) / 2
