"""Settings of private training: which mechanism, how much noise, how far each contribution is cut."""

from dataclasses import dataclass

from fl.settings.limits import NOT_NEGATIVE, POSITIVE, Limit, setting

_INSIDE = Limit(low=0, low_open=True, high=1, high_open=True)


@dataclass(frozen=True)
class PrivacySettings:
    """Differential privacy of a run; each mechanism's own file in `fl.privacy` says what it protects."""

    mechanism: str = setting(
        "none",
        Limit(choices=("none", "central_gaussian", "local_gaussian", "dp_sgd")),
        doc="who adds noise; central_gaussian: a trusted server, local_gaussian: clients, dp_sgd: each step",
    )
    target_epsilon: float = setting(
        0.0, NOT_NEGATIVE, doc="the noise is set so that all rounds spend this; 0: use noise_multiplier"
    )
    noise_multiplier: float = setting(
        1.0,
        NOT_NEGATIVE,
        doc="standard deviation of the noise, as a multiple of clip_norm; 0: none, no guarantee",
    )
    delta: float = setting(1e-5, _INSIDE, doc="of (epsilon, delta); below 1 / number of units protected")
    budget_epsilon: float = setting(
        0.0, NOT_NEGATIVE, doc="the run ends before a round that would spend more; 0: target_epsilon, if set"
    )
    clip_norm: float = setting(
        1.0, NOT_NEGATIVE, doc="a contribution's largest Euclidean norm; 0: not clipped, only without noise"
    )
    clipping: str = setting(
        "fixed",
        Limit(choices=("fixed", "adaptive")),
        doc="adaptive: clip_norm is the first, then follows a quantile of the norms (central_gaussian)",
    )
    clip_quantile: float = setting(
        0.5, _INSIDE, doc="adaptive: share of the contributions that are to be left unclipped"
    )
    clip_rate: float = setting(0.2, POSITIVE, doc="adaptive: how fast the norm follows, per round")
    count_noise_multiplier: float = setting(
        10.0,
        POSITIVE,
        doc="adaptive: noise of the count of unclipped contributions, as a multiple of its sensitivity, 1/2",
    )
    secret_noise: bool = setting(
        False,
        doc="sampling and noise from the system's entropy, not from the seed: no equal rerun",
    )
