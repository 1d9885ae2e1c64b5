"""Checks of a private run that no single setting's limit can express; no heavy import."""

from fl.errors import RequestError
from fl.privacy.accountant import LEAST_NOISE
from fl.settings import Experiment, PrivacySettings


def check_privacy(experiment: Experiment) -> None:
    """Refuse what a mechanism cannot account for.

    Raises:
        RequestError: the first that does not fit; key, limit, value and remedy are in the message.
    """
    if experiment.privacy.mechanism != "central_gaussian":
        return
    _check_noise(experiment.privacy)
    _check_clipping(experiment.privacy)
    num_clients = experiment.partition.num_clients
    if experiment.privacy.delta >= 1 / num_clients:
        raise RequestError(
            f"privacy.delta must be below 1 / partition.num_clients = {1 / num_clients:g}, "
            f"got {experiment.privacy.delta:g}: that would allow to give one client away; "
            f"set privacy.delta={0.01 / num_clients:.0e}"
        )
    if experiment.fleet.kind != "uniform":
        raise RequestError(
            f"fleet must be uniform with privacy=central_gaussian, got {experiment.fleet.kind!r}: all "
            "clients must contribute to the same values; add fleet=uniform"
        )
    if experiment.strategy.aggregator != "mean":
        raise RequestError(
            "strategy.aggregator must be mean with privacy=central_gaussian, got "
            f"{experiment.strategy.aggregator!r}: the noise is made for a sum; set strategy.aggregator=mean"
        )
    if experiment.strategy.over_sampling:
        raise RequestError(
            "strategy.over_sampling must be 0 with privacy=central_gaussian, got "
            f"{experiment.strategy.over_sampling:g}: whose reply counts would depend on the others'; "
            "set strategy.over_sampling=0"
        )
    if experiment.compress.prune_rounds and experiment.compress.voters not in ("server", "random"):
        raise RequestError(
            "compress.voters must be server or random with privacy=central_gaussian, got "
            f"{experiment.compress.voters!r}: clients' votes are not accounted for; "
            "add compress.voters=server compress.importance=l1"
        )


def _check_noise(privacy: PrivacySettings) -> None:
    if privacy.target_epsilon:
        return
    if 0 < privacy.noise_multiplier < LEAST_NOISE:
        raise RequestError(
            f"privacy.noise_multiplier must be 0 or at least {LEAST_NOISE:g}, got "
            f"{privacy.noise_multiplier:g}; less protects nothing"
        )
    if not privacy.noise_multiplier and privacy.budget_epsilon:
        raise RequestError(
            f"privacy.budget_epsilon must be 0 without noise, which has no finite epsilon, got "
            f"{privacy.budget_epsilon:g}; set privacy.noise_multiplier or privacy.target_epsilon"
        )


def _check_clipping(privacy: PrivacySettings) -> None:
    if privacy.clip_norm:
        return
    if privacy.target_epsilon or privacy.noise_multiplier:
        raise RequestError(
            "privacy.clip_norm must be above 0 with noise, got 0: what is not clipped has no sensitivity; "
            "set privacy.clip_norm=1, or privacy.noise_multiplier=0 privacy.target_epsilon=0"
        )
    if privacy.clipping == "adaptive":
        raise RequestError(
            "privacy.clip_norm must be above 0 with privacy.clipping=adaptive, which begins with it, got 0; "
            "set privacy.clip_norm=1"
        )
