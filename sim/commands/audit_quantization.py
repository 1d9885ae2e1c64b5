"""`python -m sim audit quantization RUN`: what each way of quantising costs a run's student."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from fl.data.shards import take
from fl.errors import RequestError
from sim.audits.quantization import Splits, audit_quantization
from sim.audits.variants import RECIPES
from sim.commands.arguments import Parser, add_fpr, check_fpr, run_parser
from sim.finished import open_run


def main(argv: Sequence[str]) -> int:
    """Draw the picture, and print the table, or with ``--json`` one object.

    Returns:
        0; 1 if the shipped variant breaks the tolerance, which a line on standard error says.

    Raises:
        RequestError: the request is wrong, or something of the run is not in the cache.
    """
    asked = _parser().parse_args(argv)
    if not 0 < asked.tolerance <= 1:
        raise RequestError(f"--tolerance must be in (0, 1], got {asked.tolerance:g}; it is a probability")
    if asked.qat < 0:
        raise RequestError(f"--qat must be at least 0 epochs, got {asked.qat}; 0 leaves it out")
    check_fpr(asked.fpr)
    unknown = [name for name in asked.variants if name not in RECIPES]
    if unknown:
        raise RequestError(f"--variants must be of {', '.join(RECIPES)}, got {unknown[0]!r}")
    run = open_run(asked.run, asked.cache_dir)
    stores = run.stores(("public", "validation", "test"))
    test = take(stores["test"])
    teacher_maps = run.teacher_outputs(stores["test"]).maps[test.rows]
    splits = Splits(stores["public"], take(stores["validation"]), test, teacher_maps)
    audit, scores = audit_quantization(run, splits, asked)
    from sim.report.quantization import print_audit
    from sim.report.quantization_figure import draw_quantization

    figures = draw_quantization(audit, test.labels, scores, asked.run / "figures")
    audit = replace(audit, figures=tuple(str(path) for path in figures))
    if asked.json:
        told = {**asdict(audit), "passed": audit.passed}
        sys.stdout.write(json.dumps(told, indent=2, allow_nan=False) + "\n")
    else:
        print_audit(audit)
    if audit.passed:
        return 0
    sys.stderr.write(
        f"fedpin: check not passed: student.int8.onnx moves a fake probability by "
        f"{audit.shipped.quality.change_max:.4f}, more than --tolerance {audit.tolerance:g}\n"
    )
    return 1


def _parser() -> Parser:
    parser = run_parser(
        "quantization", "Float against each INT8 variant of a run's student, on its test split."
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.01,
        help="largest change of the fake probability that passes (0.01)",
    )
    parser.add_argument(
        "--variants",
        type=lambda text: text.split(",") if text else [],
        default=list(RECIPES),
        metavar="NAME,...",
        help=f"which to make: {','.join(RECIPES)} (all)",
    )
    parser.add_argument(
        "--qat",
        type=int,
        default=0,
        metavar="EPOCHS",
        help="add a variant fine-tuned with rounding on the public clips (0: none)",
    )
    parser.add_argument(
        "--one-class",
        action="store_true",
        help="add the ablation: everything quantised, the head too, calibrated on real clips only",
    )
    parser.add_argument(
        "--no-layers",
        dest="layers",
        action="store_false",
        help="leave out the sweep that finds the layers that lose most (it quantises each alone)",
    )
    add_fpr(parser)
    return parser
