"""What a publication prints: rows of named values, as printed, with the place they stand in."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CONTRADICTS = "contradicts: "
"""How a note begins that names two printed values which cannot both be true."""

ACCURACY_BY_CATEGORY = "accuracy/"
"""Prefix of the accuracy of one category, named as in `fl.data`: a manipulation, or "real"."""

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "percent of the test set",
        ACCURACY_BY_CATEGORY: "percent of the category's test clips",
        "training_accuracy": "percent of the training set",
        "f1": "percent",
        "mean_average_precision": "percent",
        "auc": "share, 0 to 1",
        "eps": "-0.5 to 1",
        "true_negatives": "samples",
        "false_positives": "samples",
        "false_negatives": "samples",
        "true_positives": "samples",
        "size_mb": "10^6 bytes",
        "size_mib": "2^20 bytes",
        "num_parameters": "parameters",
        "macs_g": "10^9 multiply-accumulates",
        "latency_ms": "ms",
        "seconds_per_batch_32": "s, 32 pictures, CPU",
        "speedup": "times as fast",
        "times_smaller": "times",
        "ratio": "share of the channels removed, 0 to 1",
        "alpha": "as the source defines it",
        "beta": "as the source defines it",
        "soft_weight": "share of the soft loss, 0 to 1: `distill.soft_weight`",
        "weight_bits": "bits",
        "temperature": "of the soft targets",
        "embed_dim": "channels",
        "num_heads": "attention heads",
        "num_layers": "transformer layers",
        "phi": "compound coefficient",
        "image_size": "pixels",
        "drop_rate": "share, 0 to 1",
        "patch_size": "pixels",
        "stride": "pixels",
        "epochs": "epochs",
        "batch_size": "pictures",
        "learning_rate": "per step",
        "threshold": "probability of fake",
        "tolerance": "of the probability of fake",
        "calibration_samples": "pictures",
        "num_sampled": "pictures",
        "num_train": "pictures",
        "num_validation": "pictures",
        "num_test": "pictures",
        "percent_of_total": "percent",
    }
)
"""Every key that a row may hold -> its unit."""


@dataclass(frozen=True)
class PublishedRow:
    """One row.

    Attributes:
        label: what the row is of, in the source's words.
        values: exactly the printed numbers, by the keys of `UNITS`; what the source leaves out is absent.
    """

    label: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class PublishedTable:
    """One table, figure or printed block of a publication.

    Attributes:
        key: "preset/place".
        title: what it compares.
        source: document and table, figure or section.
        rows: in the printed order.
        notes: what a reader must know; those that begin with `CONTRADICTS` name values that cannot both hold.
    """

    key: str
    title: str
    source: str
    rows: tuple[PublishedRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def preset(self) -> str:
        """The experiment that replays it."""
        return self.key.partition("/")[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys that any row holds, in the order of their first appearance."""
        return tuple(dict.fromkeys(key for row in self.rows for key in row.values))

    def row(self, label: str) -> PublishedRow:
        """The row of this label.

        Raises:
            KeyError: there is none.
        """
        for row in self.rows:
            if row.label == label:
                return row
        raise KeyError(f"{self.key} has the rows {', '.join(row.label for row in self.rows)}, not {label}")


def row(label: str, **values: float) -> PublishedRow:
    """A row of these values, which nobody can change."""
    return PublishedRow(label, MappingProxyType(values))
