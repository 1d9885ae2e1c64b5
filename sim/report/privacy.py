"""The tables of `python -m sim audit privacy`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fl.privacy.data_flow import UNITS
from sim.progress import MAX_COLUMNS, clean
from sim.report.cells import number_table, percent, three

if TYPE_CHECKING:
    from fl.attacks.rates import TruePositives
    from fl.privacy.data_flow import Flow
    from sim.audits.privacy import PrivacyAudit


def print_privacy(audit: "PrivacyAudit") -> None:
    """Membership, canaries, inversion, the verdict, then what must be known to read them."""
    console = Console(width=MAX_COLUMNS, file=sys.stdout)

    def line(text: str) -> None:
        console.print(Text(clean(text)))

    line(f"Privacy of {audit.run}: {promise(audit.accounted_epsilon, audit.delta)}")
    line(f"privacy.mechanism={audit.mechanism} protects: {UNITS[audit.mechanism]}")
    for text in flow_lines(audit.data_flow):
        line(text)
    console.print(_attacks(audit))
    reasons = dict.fromkeys(at.reason for attack in audit.attacks for at in attack.rates.at if at.reason)
    line(
        "AUC: 0.5 is chance. TPR: members found while at most that share of the others is accused, both in "
        "%; 95 % intervals." + "".join(f" -: {reason}." for reason in reasons)
    )
    if audit.canaries:
        console.print(_canaries(audit))
        for one in audit.canaries:
            line(
                f"{one.canary} canaries: {one.what}. Epsilon is at least {one.bound.epsilon:.3f} with "
                f"confidence {1 - one.bound.significance:g}; so many canaries could show up to "
                f"{one.bound.resolution:.2f}."
            )
    if audit.inversion:
        side = audit.inversion.side
        from sim.audits.gradient_inversion import NOISED  # its module needs torch, and the audit has it

        noisy = any(row.network.endswith(NOISED) for row in audit.inversion.rows)
        console.print(_inversions(audit))
        line(
            f"One client's clip of {audit.inversion.num_frames} frames of {side} x {side} pixels, its "
            "gradient in the clear: more than any client sends. The last row needs no gradient."
            + (" Noised: that gradient, as long as the cut allows, with the run's noise." if noisy else "")
        )
    for note in audit.notes:
        line(note)
    for path in audit.figures:
        console.print(Text(clean(path)), soft_wrap=True)
    line(f"{'PASS' if audit.passed else 'FAIL'}: {verdict(audit)}")


def promise(epsilon: float | None, delta: float) -> str:
    """What was accounted, in words."""
    return (
        "no epsilon is accounted" if epsilon is None else f"accounted epsilon {epsilon:.3f}, delta {delta:g}"
    )


def verdict(audit: "PrivacyAudit") -> str:
    """Why it passed, or not."""
    held = [one for one in audit.canaries if one.accounted is not None]
    if not held:
        return "nothing is promised that could be refuted"
    return "; ".join(
        f"canaries prove {one.bound.epsilon:.3f} {'<=' if one.passed else '>'} {one.accounted:.3f} accounted"
        for one in held
    )


def flow_lines(flows: Sequence["Flow"]) -> list[str]:
    """What clients hold to send, one line for each way in which it is sent, or not."""
    ways = dict.fromkeys(flow.treatment for flow in flows)
    return [
        f"{way[0].upper() + way[1:]}: "
        + ", ".join(f"{flow.message} {flow.name}" for flow in flows if flow.treatment == way)
        for way in ways
    ]


def _attacks(audit: "PrivacyAudit") -> Table:
    table = number_table(
        "attack\n", "the attacker has\n", "clips\nin/out", "AUC\n", "[95 %]\n", "TPR at\nFPR .1",
        "\nFPR 1", "\n[95 %]", left=2,
    )  # fmt: skip
    for attack in audit.attacks:
        rates = attack.rates
        low, high = rates.auc_ci95
        members = "" if attack.members == "clients" else f" ({attack.members})"
        table.add_row(
            attack.name,
            attack.sees + members,
            f"{rates.num_members}/{rates.num_non_members}",
            three(rates.auc),
            f"{low:.2f} {high:.2f}",
            percent(rates.at[0].tpr),
            percent(rates.at[1].tpr),
            _interval(rates.at[1]),
        )
    return table


def _interval(at: "TruePositives") -> str:
    return "-" if at.ci95 is None else f"{percent(at.ci95[0])} {percent(at.ci95[1])}"


def _canaries(audit: "PrivacyAudit") -> Table:
    table = number_table("canary", "number", "in", "guessed", "right", "AUC", "epsilon >=", "accounted")
    for one in audit.canaries:
        bound = one.bound
        counts = [bound.num_canaries, bound.num_included, bound.num_guesses, bound.num_correct]
        accounted = "none" if one.accounted is None else three(one.accounted)
        table.add_row(one.canary, *map(str, counts), three(bound.auc), three(bound.epsilon), accounted)
    return table


def _inversions(audit: "PrivacyAudit") -> Table:
    table = number_table("gradient of", "method", "PSNR dB", "SSIM", "distance left", left=2)
    for row in audit.inversion.rows if audit.inversion else ():
        ratio = "exact" if row.psnr_db is None else f"{row.psnr_db:.1f}"
        left = "" if row.distance is None else f"{row.distance:.4f}"
        table.add_row(row.network, row.method, ratio, three(row.ssim), left)
    return table
