"""What a private run has spent: where a resumed one goes on, and what is told of it in the end."""

from pathlib import Path

from fl.errors import RunError
from fl.privacy.central_gaussian import CentralGaussian
from fl.privacy.client_account import ClientAccounts
from fl.privacy.release_log import FILE, ReleaseLog
from fl.privacy.statement import spent_line
from fl.settings import PrivacySettings
from server.strategy import DeterministicFedProx
from sim.progress import Progress
from sim.start import Resumed


def open_releases(run_dir: Path, privacy: PrivacySettings) -> ReleaseLog | None:
    """Where releases are written down: with noise that a round done again does not repeat.

    A branch of such a run goes on with what that had released, whatever noise it has itself.
    """
    secret = privacy.mechanism != "none" and privacy.secret_noise
    return ReleaseLog(run_dir) if secret or (run_dir / FILE).is_file() else None


def go_on(strategy: DeterministicFedProx, resumed: Resumed | None, progress: Progress) -> None:
    """The account of the last checkpoint, and of what was released after it.

    Raises:
        RunError: releases that were broken off have spent the budget before any round was done.
    """
    account, releases = strategy.account, strategy.releases
    if account is None:
        return
    if resumed and resumed.privacy:
        account.restore(resumed.privacy)
    if releases and (broken := releases.count_broken(account, resumed.num_releases if resumed else 0)):
        progress.line(f"{broken} releases of rounds that were broken off are counted: {releases.path.name}")
        if resumed is None and account.is_exhausted:
            raise RunError(
                f"privacy.budget_epsilon must allow a round after {broken} that were broken off, which spent "
                f"{account.epsilon.pld:.4g}, got {account.budget:g}; start a run anew, which spends anew"
            )


def tell_spent(
    account: CentralGaussian | ClientAccounts | None, progress: Progress, rounds_done: int, num_rounds: int
) -> None:
    """What a private run has spent, and why it ended early if it did."""
    if account is None:
        return
    spent = account.epsilon
    if rounds_done < num_rounds:
        progress.line(
            f"Ended after round {rounds_done} of {num_rounds}: one more would spend epsilon "
            f"{account.epsilon_after_next:.4g}, above the budget of {account.budget:.4g}"
        )
    progress.line(spent_line(account.unit, spent, account.settings.delta))
