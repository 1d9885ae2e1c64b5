"""`make bench`: every measured ratio, with commit and hardware, as text and as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from sim.__main__ import set_quiet


def main() -> None:
    """Measure, print, and write benchmarks/results.json."""
    set_quiet()
    from benchmarks import augmentation
    from benchmarks.simulator import measure
    from sim.provenance import commit, hardware, versions

    ratios = measure()
    print(f"A round of the default experiment, median of {ratios.num_passes} interleaved passes:")
    print(f"  plain PyTorch loop, 1 process   {ratios.floor_s:6.2f} s   1.00")
    print(f"  in-process grid                 {ratios.inprocess_s:6.2f} s   {ratios.inprocess_ratio:.2f}")
    print(f"  Ray grid, 2 workers             {ratios.ray_s:6.2f} s   {ratios.ray_ratio:.2f}")
    print(f"  start-up of Ray and its workers {ratios.ray_start_s:6.2f} s   (apart)")
    comparison = augmentation.measure()
    print("\n".join(augmentation.describe(comparison)))
    told = {
        "simulator": asdict(ratios),
        "augmentation": asdict(comparison),
        "hardware": hardware(),
        "versions": versions(),
        **commit(),
    }
    path = Path(__file__).parent / "results.json"
    path.write_text(json.dumps(told, indent=2) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
