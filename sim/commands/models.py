"""`python -m sim models [--json]`: every network of the zoo and what it costs."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from sim.commands.arguments import Parser


@dataclass(frozen=True)
class ModelRow:
    """One network, dense, at its published input.

    Attributes:
        name: the builder's name.
        system: the pair that it belongs to; null for none.
        role: "teacher" or "student"; null for none.
        num_parameters: buffers left out.
        macs: multiply-accumulates of one clip.
        macs_without_attention: counted as published, see `fl.metrics.cost.Macs`.
        size_bytes: of the state dict's tensors, float32.
        inputs: name -> shape.
    """

    name: str
    system: str | None
    role: str | None
    num_parameters: int
    macs: int
    macs_without_attention: int
    size_bytes: int
    inputs: dict[str, tuple[int, ...]]


def main(argv: Sequence[str]) -> int:
    """Print the table, or with ``--json`` a list of objects."""
    parser = Parser(prog="python -m sim models", description="Every network of the zoo and what it costs.")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    asked = parser.parse_args(argv)
    if asked.json:
        sys.stdout.write(json.dumps([asdict(row) for row in model_rows()], indent=2) + "\n")
    else:
        _print_table(list(model_rows()))
    return 0


def model_rows() -> Iterator[ModelRow]:
    """Build each network of the zoo, with weights of no meaning, and count."""
    import torch
    from torch import Tensor

    from fl.metrics.cost import count_macs, count_parameters, example_inputs, size_bytes
    from models.architecture import Architecture
    from models.names import SYSTEMS
    from models.output import INPUTS
    from models.zoo import BUILDERS, IMAGE_NETWORKS, REFERENCE_INPUT

    places = {
        name: (system, role)
        for system, pair in SYSTEMS.items()
        for role, name in zip(("teacher", "student"), pair, strict=True)
    }
    pin = {key: REFERENCE_INPUT[key] for key in ("num_frames", "num_mfcc")}
    image_size, audio_steps = REFERENCE_INPUT["image_size"], REFERENCE_INPUT["audio_steps"]
    for name in (*BUILDERS, *IMAGE_NETWORKS):
        inputs: tuple[Tensor, ...]
        if name in BUILDERS:
            network = Architecture(name, pin).build()
            inputs = example_inputs(pin, image_size=image_size, audio_steps=audio_steps)
        else:
            network = Architecture(name).build()
            inputs = (torch.zeros(1, 1, 3, *[IMAGE_NETWORKS[name].image_size] * 2),)
        macs = count_macs(network, *inputs)
        system, role = places.get(name, (None, None))
        yield ModelRow(
            name=name,
            system=system,
            role=role,
            num_parameters=count_parameters(network),
            macs=macs.total,
            macs_without_attention=macs.without_attention,
            size_bytes=size_bytes(network),
            inputs={key: tuple(tensor.shape) for key, tensor in zip(INPUTS, inputs, strict=False)},
        )


def _print_table(rows: Sequence[ModelRow]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Networks, dense, at the published input (M = 10^6, G = 10^9, MB = 10^6 bytes)")
    for heading in ("name", "role", "frames"):
        table.add_column(heading, no_wrap=True)
    for heading in ("parameters", "G MACs", "G MACs*", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.role or "-",
            " x ".join(str(size) for size in row.inputs["frames"][1:]),
            f"{row.num_parameters:,}",
            f"{row.macs / 1e9:.3f}",
            f"{row.macs_without_attention / 1e9:.3f}",
            f"{row.size_bytes / 1e6:.2f}",
        )
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    console.print("* as published: without attention, each normalised element four", highlight=False)
    for name, shape in rows[0].inputs.items():
        console.print(f"{name}: {' x '.join(str(size) for size in shape)}", highlight=False)
