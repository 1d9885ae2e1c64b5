"""How alike two pictures are: PSNR and SSIM."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float64]

_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03


def psnr(picture: Floats, original: Floats) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 1]; infinite where the two are equal."""
    error = float(np.mean((np.asarray(picture, np.float64) - original) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(picture: Floats, original: Floats) -> float:
    """Structural similarity in [-1, 1], 1 where the two are equal.

    Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", equation
    13, in a Gaussian window of deviation 1.5 pixels, the mean over pixels and colours.

    Args:
        picture: (height, width, 3), in [0, 1].
        original: likewise.
    """
    x, y = np.asarray(picture, np.float64), np.asarray(original, np.float64)

    def blur(values: Floats) -> Floats:
        return np.asarray(gaussian_filter(values, (_SIGMA, _SIGMA, 0), truncate=3.5))

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _K1**2) / (mean_x**2 + mean_y**2 + _K1**2)
    structure = (2 * covariance + _K2**2) / (var_x + var_y + _K2**2)
    return float((luminance * structure).mean())
