"""Refusals of attacks and defences that cannot be, before anything is loaded."""

from fl.errors import RequestError
from fl.settings import Experiment
from server.aggregators.limits import FEWEST, fewest_replies


def check_aggregator(experiment: Experiment) -> None:
    """Refuse an aggregation rule that its theory does not allow for the number of sampled clients.

    Raises:
        RequestError: too few clients, or clients of two widths.
    """
    strategy, num_clients = experiment.strategy, experiment.partition.num_clients
    rule, bad = strategy.aggregator, strategy.num_byzantine
    if rule == "mean":
        if bad:
            raise RequestError(
                f"strategy.num_byzantine must be 0 for strategy.aggregator=mean, which withstands no bad "
                f"client, got {bad}; choose another aggregator"
            )
        return
    if experiment.fleet.kind == "mixed":
        raise RequestError(
            f"strategy.aggregator must be mean with fleet=mixed, got {rule!r}: its theory compares states "
            "of one width; add fleet=uniform"
        )
    sampled, needed = strategy.num_sampled(num_clients), fewest_replies(rule, bad)
    if sampled < needed:
        per_bad, more = FEWEST[rule]
        most = (sampled - more) // per_bad
        fewer = f"set strategy.num_byzantine={most} or less, or " if most >= 0 else ""
        raise RequestError(
            f"strategy.aggregator={rule} needs {per_bad} f + {more} = {needed} clients a round for "
            f"strategy.num_byzantine = f = {bad}, but {sampled} are sampled; {fewer}use more clients"
        )


def check_adversary(experiment: Experiment) -> None:
    """Refuse an attack that would be none.

    Raises:
        RequestError: nobody is malicious, or nothing is there to be attacked.
    """
    adversary, compress = experiment.adversary, experiment.compress
    num_clients = experiment.partition.num_clients
    if adversary.kind == "none":
        return
    if adversary.share and not round(adversary.share * num_clients):
        raise RequestError(
            f"adversary.share must be 0 or make at least one of partition.num_clients = {num_clients} "
            f"malicious, got {adversary.share:g}; raise it to {1 / num_clients:.2g}"
        )
    if adversary.kind == "backdoor" and not (adversary.trigger_size or adversary.trigger_s):
        raise RequestError(
            "adversary.trigger_size and adversary.trigger_s must not both be 0 for a backdoor; set one"
        )
    asked = compress.prune_rounds and compress.voters in ("all", "one_client")
    if adversary.kind == "poisoned_votes" and not asked:
        raise RequestError(
            "adversary=poisoned_votes needs votes: compress.prune_rounds must not be empty and "
            f"compress.voters must be all or one_client, got {list(compress.prune_rounds)} and "
            f"{compress.voters!r}; add compress=iterative"
        )
    if adversary.kind == "poisoned_calibration" and not compress.client_int8:
        raise RequestError(
            "adversary=poisoned_calibration needs clients that quantise their students, got "
            "compress.client_int8=false; leave it true"
        )
    if adversary.kind == "poisoned_calibration" and compress.int8 != "static":
        raise RequestError(
            "adversary=poisoned_calibration needs an INT8 recipe that is calibrated: compress.int8 must be "
            f"static, got {compress.int8!r}; add compress.int8=static"
        )
