"""How many cores this process may use: fewer than the machine has where it was given a share."""

import os


def usable_cores() -> int:
    """At least 1."""
    return len(os.sched_getaffinity(0)) or 1
