"""`python -m sim audit ACTION RUN`: does a finished run's student hold what it should?"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from sim.commands.arguments import choose_action

USAGE = """\
usage: python -m sim audit ACTION RUN [--json]

Actions
  baselines      student and teacher beside an SVM, a decision tree and a random forest trained on the
                 student's own clips: training and test accuracy, AUC, EER, F1, confusion matrix, all
                 from one table, baselines.csv; one plot in the run's figures
  compression    the dense student pruned to several shares and fine-tuned alike, float and INT8 of each:
                 size, latency, accuracy, EPS; the trade-offs as a plot in the run's figures
  explanation    deletion and insertion curves of the teacher's and the student's maps, beside a random
                 order and moved maps: are they faithful? One plot in the run's figures
  privacy        what an attacker gets: membership inference, canaries, gradient inversion; exit code 1
                 if canaries prove a larger epsilon than was accounted
  quantization   float against each INT8 variant on the test split; exit code 1 if the variant that
                 the run shipped, student.int8.onnx, breaks the tolerance
  robustness     teacher, student, pruned and INT8 under JPEG, resizing, blur, noise and H.264; one
                 plot each in the run's figures

  python -m sim audit baselines runs/first
  python -m sim audit compression runs/first --ratios 0.25 0.5
  python -m sim audit explanation runs/first --num-clips 40
  python -m sim audit privacy runs/first --shadows 16
  python -m sim audit quantization runs/first --tolerance 0.01
  python -m sim audit robustness runs/first --kinds jpeg h264

`python -m sim audit ACTION --help` says more of one.
"""


def _baselines(argv: Sequence[str]) -> int:
    from sim.commands.audit_baselines import main

    return main(argv)


def _compression(argv: Sequence[str]) -> int:
    from sim.commands.audit_compression import main

    return main(argv)


def _explanation(argv: Sequence[str]) -> int:
    from sim.commands.audit_explanation import main

    return main(argv)


def _privacy(argv: Sequence[str]) -> int:
    from sim.commands.audit_privacy import main

    return main(argv)


def _quantization(argv: Sequence[str]) -> int:
    from sim.commands.audit_quantization import main

    return main(argv)


def _robustness(argv: Sequence[str]) -> int:
    from sim.commands.audit_robustness import main

    return main(argv)


ACTIONS: Mapping[str, Callable[[Sequence[str]], int]] = MappingProxyType(
    {
        "baselines": _baselines,
        "compression": _compression,
        "explanation": _explanation,
        "privacy": _privacy,
        "quantization": _quantization,
        "robustness": _robustness,
    }
)


def main(argv: Sequence[str]) -> int:
    """Audit a run.

    Returns:
        0; 1 if a check did not pass.

    Raises:
        RequestError: the request is wrong, or what it needs is not in the cache.
    """
    chosen = choose_action("audit", USAGE, ACTIONS, argv)
    return 0 if chosen is None else chosen[1](argv[1:])
