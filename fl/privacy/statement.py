"""What a run promises on privacy, in words, from its records: whom, how much, trusting whom, and what not."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fl.privacy.accountant import Epsilon
from fl.privacy.data_flow import NOT_COVERED, SENSITIVITY, UNITS

TRUSTED: Mapping[str, str] = MappingProxyType(
    {
        "none": "the server, and whoever sees the student or the records",
        "central_gaussian": "the server: it sees each client's update, clips it and makes the noise; nobody "
        "else is",
        "local_gaussian": "nobody but the client itself, which makes the noise",
        "dp_sgd": "nobody but the client itself, which makes the noise",
    }
)
"""Mechanism -> who must keep what they see to themselves."""

_ALWAYS_OPEN = (
    "the server's own clips: teacher, first weights, BatchNorm, calibration and tests use them as they are",
    "other runs on the same clients, whatever their seed, and branches of this one: each spends anew",
    "a person whose clips several clients hold",
    "the simulator's own books: sizes of shards in summary.json and the figures",
)
_SERVERS_BOOKS = (
    "who took part and when (clients, bytes and seconds in rounds.jsonl): sampling only helps as long as "
    "that stays with the server"
)
_SEEDED = (
    "this run's noise came from its seed, which its settings tell: whoever knows it can take the noise off; "
    "a real release needs privacy.secret_noise=true"
)


def privacy_statement(
    rounds: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """What is promised, as pairs of a heading and a sentence.

    Args:
        rounds: lines of ``rounds.jsonl``, oldest first.
        settings: of the run, by dotted key; runs of before there was privacy lack it.
    """
    mechanism = str(settings.get("privacy.mechanism", "none"))
    last = next((record["privacy"] for record in reversed(rounds) if record.get("privacy")), None)
    rows = [
        ("mechanism", mechanism),
        ("unit of privacy", UNITS[mechanism]),
        ("trusted", TRUSTED[mechanism]),
    ]
    if mechanism == "none" or last is None:
        return [
            *rows,
            ("epsilon", "none is accounted"),
            ("not covered", "all that clients send; `audit privacy` measures what an attacker makes of it"),
        ]
    return [
        *rows,
        ("epsilon, delta", _spent(last, len(rounds))),
        ("meaning", _meaning(last)),
        ("noise", _noise(last, SENSITIVITY[mechanism])),
        ("not covered", "; ".join(_open(mechanism, bool(settings.get("privacy.secret_noise"))))),
    ]


def spent_line(unit: str, spent: Epsilon, delta: float) -> str:
    """What a run has spent, in one line."""
    if math.isinf(spent.pld):
        return f"Privacy of each {unit}: none, as there was no noise"
    return (
        f"Privacy of each {unit}: epsilon {spent.pld:.4g} (by Rényi divergence {spent.rdp:.4g}), "
        f"delta {delta:g}"
    )


def _spent(last: Mapping[str, Any], num_rounds: int) -> str:
    if last["epsilon"] is None:
        return "no epsilon: there was no noise, so nothing bounds what can be told"
    whose = ", of the client that spent most" if last.get("clients") else ""
    broken = last.get("num_broken")
    again = f" and {broken} that were broken off and done again with other noise" if broken else ""
    after = f"after {num_rounds} rounds{again}{whose}"
    return (
        f"epsilon {last['epsilon_pld']:.4g} at delta {last['delta']:g} {after}, by "
        f"privacy loss distributions; {last['epsilon_rdp']:.4g} by Rényi divergence. Both are upper bounds, "
        "by dp-accounting"
    )


def _meaning(last: Mapping[str, Any]) -> str:
    if last["epsilon"] is None:
        return "nothing is promised"
    factor = math.exp(min(last["epsilon"], 700.0))
    shown = (
        f"{factor:,.3g}"
        if factor < 1000
        else f"{factor:,.0f}"
        if factor < 1e6
        else f"e^{last['epsilon']:.4g}"
    )
    local = last["mechanism"] == "local_gaussian"
    which = "with one client's clips as with any others" if local else f"with one {last['unit']} as without"
    return (
        f"whatever one sees of the result is at most {shown} times as likely {which}, "
        f"but for a probability of {last['delta']:g}"
    )


def _noise(last: Mapping[str, Any], sensitivity: str) -> str:
    parts = [f"{last['noise_multiplier']:.4g} times the sensitivity ({sensitivity})"]
    if last.get("clip_norm"):
        parts.append(f"clip_norm {last['clip_norm']:.4g} in the last round")
    if last.get("sampling_rate"):
        parts.append(f"each takes part with probability {last['sampling_rate']:g}")
    return "; ".join(parts)


def _open(mechanism: str, secret: bool) -> tuple[str, ...]:
    kept = tuple(text for text in NOT_COVERED if not text.startswith("the seed"))
    books = (_SERVERS_BOOKS,) if mechanism == "central_gaussian" else ()
    return (*(() if secret else (_SEEDED,)), *books, *kept, *_ALWAYS_OPEN)
