"""What the detectors see: MFCC of the sound, normalised pixels of the face.

MFCC after Davis and Mermelstein, IEEE TASSP 28(4), 1980, with the HTK book's mel scale. torch is
imported only where pixels become a tensor, so that the processes that read clips start fast.
"""

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

HOP_S = 0.02
"""Time between two MFCC steps, s: one step belongs to [i * HOP_S, (i + 1) * HOP_S)."""
WINDOW_S = 0.025
"""Length of the Hamming window, s, centred on its step."""
NUM_MEL = 40
"""Triangular filters between 20 Hz and 8 kHz."""

_SAMPLE_RATE = 16_000
_HOP = 320
_WINDOW = 400
_NUM_FFT = 512
_LOW_HZ, _HIGH_HZ = 20.0, 8000.0
_PRE_EMPHASIS = 0.97
_POWER_FLOOR = 1e-8  # about the noise of 16-bit samples
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def num_steps(duration_s: float) -> int:
    """MFCC steps of that much sound."""
    return round(duration_s / HOP_S)


def mfcc(audio: NDArray[np.float32], num_mfcc: int, *, steps: int | None = None) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients in fixed units.

    Nothing is normalised per clip: loudness and noise floor tell something about a recording.
    Instead each coefficient is shifted and scaled by a constant (`mfcc_scale`) that brings speech
    to about zero mean and unit deviation.

    Args:
        audio: (samples,) float32 mono at 16 kHz, full scale 1.
        num_mfcc: coefficients kept, 1 to 40, the energy (c0) first.
        steps: length of the result; None: as long as the sound. What is missing is zero.

    Returns:
        (steps, num_mfcc) float32.
    """
    valid = num_steps(len(audio) / _SAMPLE_RATE)
    emphasised = np.concatenate([audio[:1], audio[1:] - np.float32(_PRE_EMPHASIS) * audio[:-1]])
    margin = (_WINDOW - _HOP) // 2
    padded = np.pad(emphasised, (margin, _WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][:valid]
    spectrum = np.fft.rfft(windows * np.hamming(_WINDOW), _NUM_FFT)
    power = (spectrum.real**2 + spectrum.imag**2) / _NUM_FFT
    log_mel = np.log(np.maximum(power @ mel_filters().T, _POWER_FLOOR))
    shift, scale = mfcc_scale(num_mfcc)
    coefficients = (log_mel @ dct_basis()[:num_mfcc].T - shift) / scale
    length = valid if steps is None else steps
    out = np.zeros((length, num_mfcc), dtype=np.float32)
    out[:valid] = coefficients[:length]
    return out


def mfcc_scale(num_mfcc: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The constants (shift, scale), each (num_mfcc,), that `mfcc` applies.

    c0 is shifted by -75 and scaled by 25, c_k scaled by 8 / k^0.75: fitted by eye to the spread of
    40-band MFCC over recorded sentences; digital silence has c0 = -1.66.
    """
    index = np.arange(num_mfcc, dtype=np.float64)
    scale = 8.0 / np.maximum(index, 1.0) ** 0.75
    shift = np.zeros(num_mfcc)
    shift[0], scale[0] = -75.0, 25.0
    return shift, scale


@functools.cache
def mel_filters() -> NDArray[np.float64]:
    """(NUM_MEL, 257) triangles of peak 1, their corners evenly spaced in mel = 2595 log10(1 + f / 700)."""
    low, high = 2595 * np.log10(1 + np.array([_LOW_HZ, _HIGH_HZ]) / 700)
    corners = 700 * (10 ** (np.linspace(low, high, NUM_MEL + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_NUM_FFT, 1 / _SAMPLE_RATE)
    left, peak, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (bins - left) / (peak - left), (right - bins) / (right - peak)
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    filters.flags.writeable = False
    return filters


@functools.cache
def dct_basis() -> NDArray[np.float64]:
    """(NUM_MEL, NUM_MEL) orthonormal DCT-II: row k is a cosine of k half periods."""
    index = np.arange(NUM_MEL)
    basis: NDArray[np.float64] = np.cos(np.pi / NUM_MEL * index[:, None] * (index + 0.5)) * np.sqrt(
        2 / NUM_MEL
    )
    basis[0] /= np.sqrt(2)
    basis.flags.writeable = False
    return basis


def normalise_frames(frames: "NDArray[np.uint8] | Tensor") -> "Tensor":
    """Pixels as the ImageNet backbones expect them.

    Args:
        frames: (..., H, W, 3) uint8 RGB; an array must be writable memory, as `ShardView.batch` gives.

    Returns:
        (..., 3, H, W) float32, contiguous: (x / 255 - mean) / std per channel.
    """
    import torch

    pixels = torch.from_numpy(frames) if isinstance(frames, np.ndarray) else frames
    shape = (3, 1, 1)
    scale = 1 / (255 * torch.tensor(IMAGENET_STD, device=pixels.device)).view(shape)
    shift = -(torch.tensor(IMAGENET_MEAN) / torch.tensor(IMAGENET_STD)).to(pixels.device).view(shape)
    channels_first = pixels.movedim(-1, -3).contiguous()  # as bytes: a quarter of the memory traffic
    return channels_first.to(torch.float32).mul_(scale).add_(shift)
