"""How far a classifier's confidence can be believed. NumPy, on the host."""

import numpy as np

BINS = 15


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3): the mean, over examples, of how far the accuracy of those about
    as sure lies from their mean confidence.

    confidence f[N] from 0 to 1, the probability of the predicted class; correct bool[N]; bins of equal width, each with
    its upper end -> from 0 to 1, or NaN where a confidence is. Of few examples it is too large: the bins' accuracies are
    noisy.
    """
    confidence = np.asarray(confidence, np.float64)
    if not np.isfinite(confidence).all():
        return float("nan")
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, confidence - np.asarray(correct, np.float64), bins)
    return float(np.abs(gap).sum() / len(confidence))
