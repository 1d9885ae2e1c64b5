"""What a client's own mechanism releases in a round, for the client that makes the noise and for the account.

Both mechanisms are built and accounted from here, so that they cannot differ. All of it follows from the
settings and from the number of clips that a client declares.
"""

from functools import lru_cache

from fl.distill.batches import local_steps
from fl.privacy.accountant import Releases, calibrated_noise
from fl.settings import DistillSettings, PrivacySettings

LOCAL_SENSITIVITY = 2.0
"""Of a clipped update, as a multiple of clip_norm: a client's clips may be exchanged for any others."""


def releases_of_round(
    privacy: PrivacySettings,
    distill: DistillSettings,
    num_clips: int,
    num_rounds: int,
    step_share: float = 1.0,
) -> Releases:
    """What a client releases that is asked once.

    Under "dp_sgd" each step is a release, from a Poisson sample of the clips; under "local_gaussian" the
    whole round is one, of all of them.

    Args:
        privacy: the mechanism, and its noise: given, or to meet a target after all rounds.
        distill: batch size, and local epochs.
        num_clips: that the client declares.
        num_rounds: of the whole run, in each of which it may be asked for all its steps.
        step_share: see `fl.task.RoundTask`.
    """
    rate, steps = 1.0, 1
    if privacy.mechanism == "dp_sgd":
        rate = min(1.0, distill.batch_size / num_clips)
        steps = local_steps(distill, num_clips, 1.0)
    noise = privacy.noise_multiplier / sensitivity_of(privacy.mechanism)
    if privacy.target_epsilon:
        noise = _calibrated(privacy.target_epsilon, privacy.delta, rate, num_rounds * steps)
    if privacy.mechanism == "dp_sgd":
        steps = local_steps(distill, num_clips, step_share)
    return Releases(rate, noise, steps)


_calibrated = lru_cache(calibrated_noise)  # asked in every round, and it takes seconds


def sensitivity_of(mechanism: str) -> float:
    """How far one unit moves what is noised, as a multiple of clip_norm: under what a client does itself."""
    return LOCAL_SENSITIVITY if mechanism == "local_gaussian" else 1.0
