"""Whether a probability means what it says: the expected calibration error."""

import numpy as np
from numpy.typing import ArrayLike

from fl.metrics.detection import check_table

NUM_BINS = 10


def expected_calibration_error(
    labels: ArrayLike, scores: ArrayLike, num_bins: int = NUM_BINS
) -> float | None:
    """Mean gap between the probability of fake that is given and the share of fakes that is found.

    Scores are sorted into bins of equal width; each bin's gap weighs as many clips as it holds (Naeini et
    al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning").

    Args:
        labels: (num_clips,), 1 = fake.
        scores: (num_clips,), probability of fake in [0, 1].
        num_bins: at least 1.

    Returns:
        In [0, 1]; 0 is perfect. None without clips.

    Raises:
        DataError: as in `fl.metrics.detection.detection_metrics`.
    """
    truth, score = check_table(labels, scores)
    if not len(truth):
        return None
    bins = np.minimum((score * num_bins).astype(np.int64), num_bins - 1)
    gaps = np.bincount(bins, weights=score - truth, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(truth))
