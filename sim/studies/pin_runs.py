"""PIN-Lite replayed: Tables 2 and 3, and the number of the student's blocks."""

from sim.studies.measuring import OVER_FLOAT
from sim.studies.study import (
    CENTRAL,
    FEDERATED,
    Claim,
    Job,
    Match,
    Replay,
    Study,
    Subject,
    both,
    in_both_ways,
)

_HEADS = (
    "compress.prune_rounds=[1]",
    "compress.prune_ratio=0.5",
    "compress.targets=attention",
    "compress.importance=l1",
    "compress.voters=server",
)

JOBS = (
    *in_both_ways("distilled"),
    *in_both_ways("pruned", *_HEADS),
    *in_both_ways("alpha-0.3", "distill.soft_weight=0.7"),
    *in_both_ways("alpha-0.7", "distill.soft_weight=0.3"),
    Job("layers-1", ("system.student_layers=1",)),
    Job("layers-3", ("system.student_layers=3",)),
)

TABLE_2 = Replay(
    "pin_lite/table_2",
    (
        Match("Base (Teacher)", {CENTRAL: Subject("distilled-central", "teacher")}),
        Match("Distilled", both("distilled")),
        Match("Pruned", both("pruned")),
        Match("Distilled, dynamic INT8", both("distilled", "int8"), published=False),
    ),
    (
        Claim("the student is as accurate as its teacher", "Distilled", "Base (Teacher)"),
        Claim("pruning heads costs accuracy", "Distilled", "Pruned"),
        Claim("pruning heads costs EPS", "Distilled", "Pruned", "eps"),
    ),
)

TABLE_3 = Replay(
    "pin_lite/table_3",
    (
        Match("alpha 0.3, beta 0.3", both("alpha-0.3")),
        Match("alpha 0.5, beta 0.3", both("distilled")),
        Match("alpha 0.7, beta 0.3", both("alpha-0.7")),
        Match("1 block", {FEDERATED: Subject("layers-1")}, published=False),
        Match("3 blocks", {FEDERATED: Subject("layers-3")}, published=False),
    ),
    (
        Claim("alpha .5 is more accurate than .3", "alpha 0.5, beta 0.3", "alpha 0.3, beta 0.3"),
        Claim("alpha .5 is more accurate than .7", "alpha 0.5, beta 0.3", "alpha 0.7, beta 0.3"),
        Claim("alpha .5 has a higher EPS than .3", "alpha 0.5, beta 0.3", "alpha 0.3, beta 0.3", "eps"),
        Claim("alpha .5 has a higher EPS than .7", "alpha 0.5, beta 0.3", "alpha 0.7, beta 0.3", "eps"),
    ),
    columns=("soft_weight", "num_parameters", "accuracy", "eps"),
)

QUANTISED = Replay(
    "pin_lite/quantised",
    (
        Match("INT8 student (later)", both("distilled", "int8")),
        Match("Dynamic INT8 on a CPU (later)", both("distilled", OVER_FLOAT)),
    ),
    columns=("accuracy", "size_mb", "eps"),
)

PIN = Study(
    preset="pin_lite",
    title="PIN-Lite",
    jobs=JOBS,
    replays=(TABLE_2, TABLE_3, QUANTISED),
    differences=(
        "data: 1,440 drawn clips of 1.6 s in place of LAV-DF; 216 test clips of people that no training saw",
        "4 frames of 80 pixels and 80 steps of sound, not 30 of 128 and 400: fewer MACs, lower latency",
        "the teacher is trained from nothing on the server's third of the clips, at most 8 epochs; the "
        "student "
        "for 10 epochs there, then 3 rounds of 2 epochs on the clients' clips",
        "central is one client with all clients' clips; federated is 8 clients with different mixes",
        "the soft loss is the KL of two Bernoulli distributions: the published one is zero for one logit",
        "pruning removes 2 of 4 heads of every block; the published one zeroes rows and removes nothing",
        "MB and latency are of ONNX files in ONNX Runtime, one thread of a CPU; the published ones of "
        "PyTorch",
        "EPS is of valid places only, and its shuffled baseline stands beside it; the source has none",
    ),
    full_differences=(
        "the soft loss is the KL of two Bernoulli distributions: the published one is zero for one logit",
        "pruning removes 2 of 4 heads of every block; the published one zeroes rows and removes nothing",
        "MB and latency are of ONNX files in ONNX Runtime, one thread of a CPU; the published ones of "
        "PyTorch",
        "the student's 20 epochs are 20 rounds; half of the training people are the server's, for the "
        "teacher",
        "EPS is of valid places only, and its shuffled baseline stands beside it; the source has none",
    ),
)
