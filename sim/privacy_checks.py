"""Checks of a private run that no single setting's limit can express; no heavy import."""

from fl.errors import RequestError
from fl.privacy.accountant import LEAST_NOISE
from fl.settings import CompressSettings, Experiment, PrivacySettings


def check_privacy(experiment: Experiment) -> None:
    """Refuse what a mechanism cannot account for.

    Raises:
        RequestError: the first that does not fit; key, limit, value and remedy are in the message.
    """
    mechanism = experiment.privacy.mechanism
    if mechanism == "none":
        return
    _check_noise(experiment.privacy)
    _check_clipping(experiment.privacy)
    _check_votes(experiment.compress, mechanism)
    if mechanism == "dp_sgd":
        _check_examples(experiment)
    else:
        _check_clients(experiment)
    if mechanism == "central_gaussian":
        _check_central(experiment)
    else:
        _check_own_noise(experiment)


def check_secret_noise(privacy: PrivacySettings) -> None:
    """Refuse noise that those who take part can take off again: nodes are sent all settings, seed included.

    Raises:
        RequestError: a mechanism would draw its noise from the seed.
    """
    if privacy.mechanism != "none" and not privacy.secret_noise:
        raise RequestError(
            "privacy.secret_noise must be true on devices, which are told the seed, got false; "
            "add privacy.secret_noise=true"
        )


def _check_clients(experiment: Experiment) -> None:
    """What protects clients."""
    num_clients = experiment.partition.num_clients
    if experiment.privacy.delta >= 1 / num_clients:
        raise RequestError(
            f"privacy.delta must be below 1 / partition.num_clients = {1 / num_clients:g}, "
            f"got {experiment.privacy.delta:g}: that would allow to give one client away; "
            f"set privacy.delta={0.01 / num_clients:.0e}"
        )


def _check_central(experiment: Experiment) -> None:
    """What a trusted server needs: a plain sum of what all who were drawn have sent."""
    strategy = experiment.strategy
    if experiment.fleet.kind != "uniform":
        raise RequestError(
            f"fleet must be uniform with privacy=central_gaussian, got {experiment.fleet.kind!r}: all "
            "clients must contribute to the same values; add fleet=uniform"
        )
    if strategy.aggregator != "mean":
        raise RequestError(
            "strategy.aggregator must be mean with privacy=central_gaussian, got "
            f"{strategy.aggregator!r}: the noise is made for a sum; set strategy.aggregator=mean"
        )
    if strategy.over_sampling:
        raise RequestError(
            "strategy.over_sampling must be 0 with privacy=central_gaussian, got "
            f"{strategy.over_sampling:g}: whose reply counts would depend on the others'; "
            "set strategy.over_sampling=0"
        )
    if strategy.min_replies > 1:
        raise RequestError(
            "strategy.min_replies must be 1 with privacy=central_gaussian, got "
            f"{strategy.min_replies}: a round that closes only with enough clients tells how many there "
            "were; set strategy.min_replies=1"
        )


def _check_votes(compress: CompressSettings, mechanism: str) -> None:
    if compress.prune_rounds and compress.voters not in ("server", "random"):
        raise RequestError(
            f"compress.voters must be server or random with privacy={mechanism}, got {compress.voters!r}: "
            "clients' votes are not accounted for; add compress.voters=server compress.importance=l1"
        )


def _check_own_noise(experiment: Experiment) -> None:
    """What clients need that make their own noise."""
    privacy, mechanism = experiment.privacy, experiment.privacy.mechanism
    if experiment.system.student_norm != "group":
        why = "would mix clips" if mechanism == "dp_sgd" else "could be noised below 0"
        raise RequestError(
            f"system.student_norm must be group with privacy={mechanism}, got "
            f"{experiment.system.student_norm!r}: BatchNorm's statistics {why}; add system.student_norm=group"
        )
    if not privacy.clip_norm:
        raise RequestError(
            f"privacy.clip_norm must be above 0 with privacy={mechanism}, got 0; set privacy.clip_norm=1"
        )
    if privacy.clipping != "fixed":
        raise RequestError(
            f"privacy.clipping must be fixed with privacy={mechanism}, got {privacy.clipping!r}: nobody "
            "may see how many are clipped; add privacy.clipping=fixed"
        )


def _check_examples(experiment: Experiment) -> None:
    """What protects single clips."""
    if experiment.distill.class_weights != "none":
        raise RequestError(
            "distill.class_weights must be none with privacy=dp_sgd, got "
            f"{experiment.distill.class_weights!r}: what a clip weighs would depend on the other clips; "
            "add distill.class_weights=none"
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
