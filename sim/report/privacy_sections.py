"""The part of a run's page that `python -m sim audit privacy` fills: read from its ``audit.json``."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sim.report.cells import percent, three
from sim.report.page import Block, Cell, Note, PageTable, Section

FILE = "audits/privacy/audit.json"
"""Under the run's folder."""


def privacy_audit_sections(folder: Path) -> Iterator[Section]:
    """One section; none where the run was not audited.

    Args:
        folder: of the run.
    """
    path = folder / FILE
    if not path.is_file():
        return
    try:
        audit = json.loads(path.read_text())
        blocks: list[Block] = [*_verdict(audit), _attacks(audit), *_canaries(audit), *_inversions(audit)]
        blocks += [Note(str(text)) for text in audit["notes"]]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        text = f"{FILE} cannot be read ({error!r}); run `python -m sim audit privacy` again."
        yield Section("Attacks on privacy", [Note(text, warning=True)])
        return
    yield Section("Attacks on privacy", blocks)


def _verdict(audit: Mapping[str, Any]) -> Iterator[Note]:
    if not audit["passed"]:
        yield Note("Canaries prove a larger epsilon than was accounted: the guarantee does not hold.", True)
    epsilon = audit["accounted_epsilon"]
    spent = (
        "no epsilon is accounted" if epsilon is None else f"epsilon {epsilon:.3f}, delta {audit['delta']:g}"
    )
    yield Note(f"Accounted: {spent} (privacy.mechanism={audit['mechanism']}; {audit['unit']}).")


def _attacks(audit: Mapping[str, Any]) -> PageTable:
    rows: list[list[Cell]] = []
    for attack in audit["attacks"]:
        rates = attack["rates"]
        low, high = rates["auc_ci95"]
        rows.append(
            [
                attack["name"],
                attack["sees"],
                attack["members"],
                f"{rates['num_members']} / {rates['num_non_members']}",
                f"{three(rates['auc'])} [{low:.2f}, {high:.2f}]",
                *(_rate(at) for at in rates["at"]),
            ]
        )
    shares = [f"TPR %, FPR {100 * at['fpr']:g} %" for at in audit["attacks"][0]["rates"]["at"]]
    headings = ["attack", "the attacker has", "members", "clips in / out", "AUC [95 %]", *shares]
    caption = "Membership inference: which clips were trained on? AUC 0.5 is chance; -: too few non-members."
    return PageTable("membership", caption, headings, rows, text=True)


def _rate(at: Mapping[str, Any]) -> str:
    if at["tpr"] is None:
        return "-"
    low, high = at["ci95"]
    return f"{percent(at['tpr'])} [{percent(low)}, {percent(high)}]"


def _canaries(audit: Mapping[str, Any]) -> Iterator[PageTable]:
    rows: list[list[Cell]] = []
    for one in audit["canaries"]:
        bound, accounted = one["bound"], one["accounted"]
        rows.append(
            [
                f"{bound['num_canaries']} {one['canary']}s: {one['what']}",
                f"{bound['num_correct']} of {bound['num_guesses']}",
                (three(bound["epsilon"]), "good" if one["passed"] else "bad"),
                "none" if accounted is None else three(accounted),
                three(bound["resolution"]),
            ]
        )
    if rows:
        headings = ["canaries", "guessed rightly", "epsilon is at least", "accounted", "could show at most"]
        caption = "One-run audit with canaries (Steinke et al. 2023), 95 % confidence."
        yield PageTable("canaries", caption, headings, rows, text=True)


def _inversions(audit: Mapping[str, Any]) -> Iterator[PageTable]:
    rows: list[list[Cell]] = [
        [
            row["network"],
            row["method"],
            "exact" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}",
            three(row["ssim"]),
        ]
        for row in audit["inversion"] or ()
    ]
    if rows:
        headings = ["gradient of", "method", "PSNR, dB", "SSIM"]
        caption = (
            "One clip's gradient in the clear, turned back into pictures; noised: as long as the cut "
            "allows, with the run's noise; the last row has no gradient."
        )
        yield PageTable("inversion", caption, headings, rows, text=True)
