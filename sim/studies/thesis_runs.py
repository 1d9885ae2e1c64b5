"""The EfficientNet-Lite thesis replayed: scaling, Lite, pruning one way and another, distillation, both."""

from collections.abc import Mapping

from sim.studies.study import CENTRAL, Claim, Job, Match, Replay, Study, Subject, both, in_both_ways

LABELS_ONLY = ("distill.soft_weight=0",)
"""The preset has a soft weight of its own, which distill=off would not undo."""
STEPS = "compress.prune_rounds=[1,2]"


def _central(name: str, *overrides: str) -> Job:
    return Job(f"{name}-central", (*overrides, "partition=central"))


def _of(name: str) -> Mapping[str, Subject]:
    return {CENTRAL: Subject(f"{name}-central")}


def _prune(ratio: float, rounds: str, num_rounds: int) -> tuple[str, ...]:
    return (f"compress.prune_ratio={ratio}", rounds, f"strategy.num_rounds={num_rounds}", *_CHANNELS)


_CHANNELS = ("compress.round_to=1",)

JOBS = (
    *in_both_ways("kd-0.25"),
    *in_both_ways("lite0", *LABELS_ONLY),
    *(_central(f"kd-{alpha:g}", f"distill.soft_weight={alpha:g}") for alpha in (0.5, 0.75, 1.0)),
    *(_central(f"b{n}", f"system.student=efficientnet_b{n}", *LABELS_ONLY) for n in range(4)),
    _central("lite2", "system.student=tf_efficientnet_lite2", *LABELS_ONLY),
    _central(
        "local-5", *LABELS_ONLY, *_prune(0.05, "compress.prune_rounds=[1]", 2), "compress.prune_scope=local"
    ),
    _central("global-5", *LABELS_ONLY, *_prune(0.05, "compress.prune_rounds=[1]", 2)),
    _central("one-shot-20", *LABELS_ONLY, *_prune(0.2, "compress.prune_rounds=[1]", 3)),
    *(_central(f"prune-{100 * r:g}", *LABELS_ONLY, *_prune(r, STEPS, 3)) for r in (0.2, 0.25, 0.3)),
    *in_both_ways("prune-35", *LABELS_ONLY, *_prune(0.35, STEPS, 3)),
    *(_central(f"kd-prune-{100 * r:g}", *_prune(r, STEPS, 3)) for r in (0.25, 0.3, 0.4)),
    *in_both_ways("kd-prune-35", *_prune(0.35, STEPS, 3)),
)

SCALING = Replay(
    "thesis_kd_pruning/table_6_2_2_1",
    tuple(Match(f"EfficientNet-B{n}", _of(f"b{n}")) for n in range(4)),
    tuple(
        Claim(f"B0 is more accurate than B{n}", "EfficientNet-B0", f"EfficientNet-B{n}") for n in (1, 2, 3)
    ),
)
LITE0 = Replay("thesis_kd_pruning/figure_6_2_3_1_4", (Match("EfficientNet-Lite0", both("lite0")),))
LITE2 = Replay("thesis_kd_pruning/figure_6_2_3_2_1", (Match("EfficientNet-Lite2", _of("lite2")),))
LOCAL = Replay("thesis_kd_pruning/figure_6_2_4_1_1", (Match("local", _of("local-5")),))
GLOBAL = Replay("thesis_kd_pruning/figure_6_2_4_1_2", (Match("global", _of("global-5")),))
ONE_SHOT = Replay("thesis_kd_pruning/figure_6_2_4_2_1", (Match("one-shot", _of("one-shot-20")),))
ITERATIVE = Replay("thesis_kd_pruning/figure_6_2_4_2_2", (Match("iterative", _of("prune-20")),))
RATIOS = Replay(
    "thesis_kd_pruning/figure_6_2_4_3_1",
    (
        *(Match(f"{p} %", _of(f"prune-{p}")) for p in (20, 25, 30)),
        Match("35 %", both("prune-35")),
    ),
    (Claim("35 % is too much: less accurate than 20 %", "20 %", "35 %"),),
)
ALPHAS = Replay(
    "thesis_kd_pruning/table_6_2_5_1_1",
    (
        Match("alpha 0", both("lite0")),
        Match("alpha 0.25", both("kd-0.25")),
        *(Match(f"alpha {alpha:g}", _of(f"kd-{alpha:g}")) for alpha in (0.5, 0.75, 1)),
    ),
    tuple(
        Claim(f"alpha {alpha:g} is more accurate than none", f"alpha {alpha:g}", "alpha 0")
        for alpha in (0.25, 0.5, 0.75, 1)
    ),
)
TAUGHT = Replay(
    "thesis_kd_pruning/table_6_2_5_1_9",
    (
        Match("EfficientNet-B0", {CENTRAL: Subject("kd-0.25-central", "teacher")}),
        Match("EfficientNet-Lite0", both("lite0")),
        Match("Lite0 + 25 % KD", both("kd-0.25")),
    ),
    (
        Claim("B0 is more accurate than Lite0", "EfficientNet-B0", "EfficientNet-Lite0"),
        Claim("distillation helps Lite0", "Lite0 + 25 % KD", "EfficientNet-Lite0"),
    ),
    columns=("accuracy", "size_mb", "num_parameters"),
)
KD_RATIOS = Replay(
    "thesis_kd_pruning/figure_6_2_5_2_1",
    (
        *(Match(f"{p} %", _of(f"kd-prune-{p}")) for p in (25, 30)),
        Match("35 %", both("kd-prune-35")),
        Match("40 %", _of("kd-prune-40")),
    ),
    (Claim("40 % is too much: less accurate than 25 %", "25 %", "40 %"),),
)
BEST = Replay(
    "thesis_kd_pruning/table_6_2_6_1",
    (
        Match("(Baseline) B0", _of("b0")),
        Match("Lite0", both("lite0")),
        Match("Lite0, 30 %", _of("prune-30")),
        Match("Lite0 + KD, 30 %", _of("kd-prune-30")),
        Match("Lite0 + KD, 35 %", both("kd-prune-35")),
    ),
    (
        Claim("taught while it is tuned, a pruned Lite0 is more accurate", "Lite0 + KD, 30 %", "Lite0, 30 %"),
        Claim("B0 is more accurate than what is left of Lite0", "(Baseline) B0", "Lite0 + KD, 35 %"),
    ),
)

THESIS = Study(
    preset="thesis_kd_pruning",
    title="The EfficientNet-Lite thesis",
    jobs=JOBS,
    replays=(
        SCALING,
        LITE0,
        LITE2,
        LOCAL,
        GLOBAL,
        ONE_SHOT,
        ITERATIVE,
        RATIOS,
        ALPHAS,
        TAUGHT,
        KD_RATIOS,
        BEST,
    ),
    differences=(
        "data: one picture of 64 pixels of each of 1,440 drawn clips in place of 25,000 crops of "
        "FaceForensics++ at 224; people are held apart, where the thesis splits crop by crop; no FaceShifter",
        "random weights in place of ImageNet's; AdamW, 8 epochs on the server's clips, those of 60 % of the "
        "people (what the thesis calls training), then rounds on the clients' clips (its fine-tuning): 2, or "
        "3 where it is pruned",
        "pruned in 2 steps with one epoch after each, not 5 with up to 20; channels are what the ratio "
        "counts, voted on by Taylor importance over all clips of the clients",
        "central is one client with all clients' clips; federated is 8 clients with different mixes",
        "MB and latency are of ONNX files, one clip, one thread; the thesis timed 32 pictures in PyTorch. "
        "The teacher's speed is B0's",
        "alpha 0 is trained on labels alone; a column of categories is missing where our corpus has none",
    ),
    full_differences=(
        "people are held apart, where the thesis splits crop by crop: lower figures are to be expected",
        "training is the server's half of the people, fine-tuning the clients' half",
        "pruned in 2 steps with 4 epochs after each; no early stopping after the first weights",
        "MB and latency are of ONNX files, one clip, one thread; the thesis timed 32 pictures in PyTorch",
    ),
)
