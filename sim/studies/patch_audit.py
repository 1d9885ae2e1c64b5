"""The patch audit (LaDeDa to Tiny-LaDeDa): what its document states, and what is known of its networks.

The document prints no result of its own.
"""

from sim.studies.rows import CONTRADICTS, PublishedTable, row

_DOCUMENT = "Deepfake Patch-Audit document"
_FACTS = "built from the description and counted"

TABLES = (
    PublishedTable(
        "patch_audit/networks",
        "Networks",
        _FACTS,
        (
            row("LaDeDa5", num_parameters=13_510_721),
            row("LaDeDa9", num_parameters=13_641_793, macs_g=21.23, image_size=256),
            row("LaDeDa17", num_parameters=14_166_081),
            row("LaDeDa33", num_parameters=16_263_233),
            row("Tiny-LaDeDa", num_parameters=1_297, macs_g=0.0568, image_size=256),
        ),
        ("multiply-accumulates of one picture of 256 x 256",),
    ),
    PublishedTable(
        "patch_audit/teacher",
        "The teacher on public sets",
        "LaDeDa, by its authors",
        (
            row("Standard sets", mean_average_precision=99.0),
            row("WildRF", mean_average_precision=93.7),
        ),
        ('"about 99 %": the mean over several sets, not one of them',),
    ),
    PublishedTable(
        "patch_audit/training",
        "Training",
        f"{_DOCUMENT}, train.yaml",
        (
            row("Student", epochs=50, batch_size=32, learning_rate=0.001),
            row("Distillation", temperature=4.0, alpha=0.5, soft_weight=0.5),
        ),
        ("alpha weighs the distillation loss: soft_weight = alpha",),
    ),
    PublishedTable(
        "patch_audit/patches",
        "Patches",
        f"{_DOCUMENT}, base.yaml and dataset.yaml",
        (row("Patches", patch_size=224, stride=16), row("Picture", image_size=224)),
        (
            f"{CONTRADICTS}a patch of 224 in a picture resized to 224 is one patch; LaDeDa9's patches are "
            "9 x 9, 27 x 27 of them",
        ),
    ),
    PublishedTable(
        "patch_audit/split",
        "Split",
        f"{_DOCUMENT}, dataset.yaml",
        (
            row("Training", percent_of_total=70),
            row("Validation", percent_of_total=15),
            row("Testing", percent_of_total=15),
        ),
    ),
    PublishedTable(
        "patch_audit/quantisation",
        "Quantisation audit",
        f"{_DOCUMENT}, quant.yaml; tolerance: its audit",
        (row("Dynamic range", weight_bits=8, calibration_samples=100, tolerance=0.01),),
        ("dynamic range is preferred, full INT8 optional", "no measured difference is printed"),
    ),
    PublishedTable(
        "patch_audit/thresholds",
        "Thresholds searched, by F1",
        f"{_DOCUMENT}, quant.yaml",
        (row("0.3", threshold=0.3), row("0.5", threshold=0.5), row("0.7", threshold=0.7)),
        ("named a range; three values are printed, and a grid is searched", "no F1 is printed"),
    ),
    PublishedTable(
        "patch_audit/jpeg",
        "JPEG shift test",
        f"{_DOCUMENT}, section Distribution Shift Robustness",
        (),
        ('"configurable quality levels": no quality and no result is printed',),
    ),
)
