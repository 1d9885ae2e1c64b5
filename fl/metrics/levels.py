"""Scores of frames and clips brought together: one score for each clip, or for each video."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from fl.errors import DataError

LEVELS = ("frame", "clip", "video")
"""What one row of a table may be: a single picture, what a detector is shown at once, or a whole file."""


@dataclass(frozen=True)
class Rows:
    """A table of scores, one entry per row.

    Attributes:
        labels: 1 = fake, 0 = real.
        scores: probability of fake in [0, 1].
        categories: the manipulation; None where it is not told.
    """

    labels: list[int]
    scores: list[float]
    categories: list[str] | None = None


def average_by(ids: Sequence[str], rows: Rows, level: str = "video") -> Rows:
    """One row for each id, in the order in which they first occur; its score is the mean probability.

    Probabilities are averaged, not logits: one window of which the detector is all but sure has no more
    than its share. A network of pictures has averaged the logits of a clip's frames before that.

    Args:
        ids: whose each row is.
        rows: as many.
        level: what an id names, for the message.

    Raises:
        DataError: lengths differ, an id is empty, a score is not finite, or the rows of one id differ in
            label or category.
    """
    if not len(ids) == len(rows.labels) == len(rows.scores):
        raise DataError(f"each row must have one {level}, got {len(ids)} for {len(rows.labels)} rows")
    places: dict[str, list[int]] = {}
    for place, name in enumerate(ids):
        if not name:
            raise DataError(f"row {place + 1} must name its {level}, got ''; fill in the column {level!r}")
        if not math.isfinite(rows.scores[place]):
            raise DataError(f"row {place + 1} must have a finite score, got {rows.scores[place]}")
        places.setdefault(name, []).append(place)

    def one(values: Sequence[Hashable], what: str, name: str) -> int:
        """The first row of an id, whose rows all have one value."""
        found = dict.fromkeys(values[place] for place in places[name])
        if len(found) > 1:
            raise DataError(
                f"all rows of one {level} must have one {what}, but {level} {name!r} has "
                f"{_listed(found)}; give different videos different ids"
            )
        return places[name][0]

    first = [one(rows.labels, "label", name) for name in places]
    if rows.categories is not None:
        first = [one(rows.categories, "category", name) for name in places]
    return Rows(
        [rows.labels[place] for place in first],
        [math.fsum(rows.scores[at] for at in group) / len(group) for group in places.values()],
        None if rows.categories is None else [rows.categories[place] for place in first],
    )


def _listed(values: Iterable[Hashable]) -> str:
    return " and ".join(str(value) for value in values)
