"""The patch audit replayed: networks, distillation of patches, quantisation, JPEG and thresholds."""

from sim.studies.study import CENTRAL, Audited, Job, Match, Replay, Study, Subject, both, in_both_ways

JOBS = (
    *in_both_ways("patches"),
    *in_both_ways("labels", "distill=off"),
    *in_both_ways("kl", "distill.attention_loss=kl"),
    Job("static", ("compress.int8=static", "partition=central")),
)

NETWORKS = Replay(
    "patch_audit/networks",
    (
        Match("LaDeDa9", {CENTRAL: Subject("patches-central", "teacher")}),
        Match("Tiny-LaDeDa", both("patches")),
        Match("Tiny-LaDeDa, KL of patches", both("kl"), published=False),
        Match("Tiny-LaDeDa, labels alone", both("labels"), published=False),
        Match("Tiny-LaDeDa, weight-only INT8", both("patches", "int8"), published=False),
        Match("Tiny-LaDeDa, full INT8", {CENTRAL: Subject("static", "int8")}, published=False),
    ),
    columns=("num_parameters", "macs_g", "size_mb", "accuracy"),
)

_VARIANT = {
    "variant": ("name",),
    "bytes": ("size_bytes",),
    "acc. %": ("quality", "accuracy", "%"),
    "AUC": ("quality", "auc"),
    "largest change of probability": ("quality", "change_max"),
    "within .01": ("passed",),
    "threshold kept": ("thresholds", "0", "before", "threshold"),
    "acc. % there": ("thresholds", "0", "before", "accuracy", "%"),
    "threshold by F1 anew": ("thresholds", "0", "after", "threshold"),
    "acc. % there ": ("thresholds", "0", "after", "accuracy", "%"),
}
_JPEG = {
    "network": ("network",),
    "quality": ("level",),
    "AUC": ("auc",),
    "acc. %": ("accuracy", "%"),
    "mean score": ("mean_score",),
    "threshold kept": ("threshold", "before", "threshold"),
    "acc. % there": ("threshold", "before", "accuracy", "%"),
    "threshold anew": ("threshold", "after", "threshold"),
    "acc. % there ": ("threshold", "after", "accuracy", "%"),
}

PATCH = Study(
    preset="patch_audit",
    title="The patch audit",
    jobs=JOBS,
    replays=(NETWORKS,),
    audited=(
        Audited(
            "Quantisation: tolerance and thresholds",
            "patches",
            ("quantization", "--tolerance", "0.01"),
            ("variants",),
            _VARIANT,
        ),
        Audited("JPEG shift", "patches", ("robustness", "--kinds", "jpeg"), ("measurements",), _JPEG),
    ),
    differences=(
        "data: two pictures of 64 pixels of each of 1,440 drawn clips, in place of folders of pictures "
        "at 224 or 256 "
        "(7 x 7 patches, not 27 x 27 or 31 x 31): MACs are of 64 pixels, parameters do not depend on it",
        "LaDeDa9 is trained here from nothing on a third of the clips, at most 8 epochs; the source "
        "loads weights "
        "trained on many thousands of generated pictures. Tiny can learn no more than its teacher knows",
        "its BatchNorm has torch's momentum of .1 unless weights are given: at the source's .001 the "
        "statistics "
        "do not arrive within so few steps, and the teacher answers a constant",
        "patch logits are standardised for each picture: the source's raw ones, down to -1190, swamp "
        "the labels",
        "central is one client with all clients' clips; federated is 4 clients with different mixes",
    ),
    full_differences=(
        "patch logits are standardised for each picture: the source's raw ones, down to -1190, swamp "
        "the labels",
        "the student's 50 epochs are 10 rounds of 5",
    ),
)
