"""PIN-Lite: the tables of its paper, and the numbers made public later."""

from sim.studies.rows import CONTRADICTS, PublishedTable, row

_PAPER = "PIN-Lite paper"

TABLES = (
    PublishedTable(
        "pin_lite/table_1",
        "Teacher and student",
        f"{_PAPER}, Table 1",
        (
            row("Teacher", embed_dim=256, num_heads=8, num_layers=3, num_parameters=15e6),
            row("Student", embed_dim=128, num_heads=4, num_layers=2, num_parameters=1.69e6),
        ),
        (
            "backbones: ResNet-18 and MobileNetV3-Small",
            "parameters are printed as 15M and 1.69M; built and counted they are 14,998,732 and 1,694,508",
        ),
    ),
    PublishedTable(
        "pin_lite/table_2",
        "Benchmark",
        f"{_PAPER}, Table 2",
        (
            row(
                "Base (Teacher)",
                size_mib=57.32,
                num_parameters=15e6,
                macs_g=18.71,
                latency_ms=82.5,
                accuracy=97.37,
                f1=98.21,
                eps=1.0,
            ),
            row(
                "Distilled",
                size_mib=6.62,
                num_parameters=1.69e6,
                macs_g=0.78,
                latency_ms=37.6,
                accuracy=97.53,
                f1=98.34,
                eps=0.60,
            ),
            row(
                "Pruned",
                size_mib=6.62,
                num_parameters=1.69e6,
                macs_g=0.78,
                latency_ms=39.4,
                accuracy=97.38,
                f1=98.24,
                eps=0.58,
            ),
        ),
        (
            "sizes are printed as MB and are 2^20 bytes: the state dicts built from the description have "
            "57.31 and 6.60",
            "printed as FLOPs; the numbers are multiply-accumulates without attention",
            "parameters are printed as 15M and 1.69M",
            f"{CONTRADICTS}the pruned student has the size, parameters and FLOPs of the distilled one, "
            "and is slower: nothing was removed (the published code sets rows to zero)",
        ),
    ),
    PublishedTable(
        "pin_lite/table_3",
        "Weights of the losses",
        f"{_PAPER}, Table 3",
        (
            row("alpha 0.3, beta 0.3", alpha=0.3, beta=0.3, soft_weight=0.7, accuracy=97.1, eps=0.55),
            row("alpha 0.5, beta 0.3", alpha=0.5, beta=0.3, soft_weight=0.5, accuracy=97.5, eps=0.60),
            row("alpha 0.7, beta 0.3", alpha=0.7, beta=0.3, soft_weight=0.3, accuracy=96.8, eps=0.48),
        ),
        (
            "alpha weighs the hard loss: soft_weight = 1 - alpha; beta weighs the attention loss",
            "the published code trains with beta 5",
            "KL over a single logit, as in the published code, is zero: its soft loss taught nothing",
        ),
    ),
    PublishedTable(
        "pin_lite/findings",
        "Gains named in the text",
        f"{_PAPER}, section 5.1",
        (row("Distilled over teacher", times_smaller=8.6, speedup=2.2),),
        (f"{CONTRADICTS}57.32 / 6.62 of Table 2 is 8.66, which rounds to 8.7, not 8.6",),
    ),
    PublishedTable(
        "pin_lite/quantised",
        "Quantisation",
        f"{_PAPER}, section 6.1; numbers made public later",
        (
            row("Quantised (paper)", weight_bits=8, accuracy=52.0),
            row("INT8 student (later)", weight_bits=8, size_mb=4.60, accuracy=98.7),
            row("4 bits, all layers (later)", weight_bits=4, eps=0.302),
            row("4 bits, softmax, LayerNorm and gates in float (later)", weight_bits=4, eps=0.560),
            row("Dynamic INT8 on a CPU (later)", weight_bits=8, speedup=1.01),
        ),
        (
            "the 52 % model is the quantised teacher, not the student, in the published code",
            "the INT8 student's accuracy is printed as 0.987, its size as MB: whether of 10^6 or "
            "2^20 bytes is not said",
        ),
    ),
)
