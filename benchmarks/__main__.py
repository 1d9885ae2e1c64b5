"""`make bench`: every measured ratio, with commit and hardware, as text and as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.reading import BATCH_SIZE, SIZES, Reading
from benchmarks.reading import measure as measure_reading
from sim.__main__ import set_quiet


def main() -> None:
    """Measure, print, and write benchmarks/results.json."""
    set_quiet()
    from benchmarks import augmentation, lite0
    from benchmarks.simulator import measure
    from sim import checks
    from sim.config import build, compose
    from sim.provenance import commit, hardware, versions

    told_of_reading = measure_reading(checks.cache_dir(build(compose([]))))
    print_reading(told_of_reading)
    ratios = measure()
    print(f"A round of the default experiment, median of {ratios.num_passes} interleaved passes:")
    print(f"  plain PyTorch loop, 1 process   {ratios.floor_s:6.2f} s   1.00")
    print(f"  in-process grid                 {ratios.inprocess_s:6.2f} s   {ratios.inprocess_ratio:.2f}")
    print(f"  Ray grid, 2 workers             {ratios.ray_s:6.2f} s   {ratios.ray_ratio:.2f}")
    print(f"  start-up of Ray and its workers {ratios.ray_start_s:6.2f} s   (apart)")
    comparison = augmentation.measure()
    print("\n".join(augmentation.describe(comparison)))
    lite = lite0.measure(checks.cache_dir(build(compose([]))))
    print("\n".join(lite0.describe(lite)))
    told = {
        "reading": asdict(told_of_reading),
        "simulator": asdict(ratios),
        "augmentation": asdict(comparison),
        "lite0": asdict(lite),
        "hardware": hardware(),
        "versions": versions(),
        **commit(),
    }
    path = Path(__file__).parent / "results.json"
    path.write_text(json.dumps(told, indent=2) + "\n")
    print(f"written to {path}")


def print_reading(told: Reading) -> None:
    """The rates, the memory and the batches, in a few lines."""
    print(f"Reading {told.num_clips} clips with one reader, median of {told.num_passes} interleaved passes:")
    print(f"  decode and Haar cascade alone   {told.floor_clips_per_s:6.1f} clips/s   1.00")
    print(f"  building the store              {told.build_clips_per_s:6.1f} clips/s   {told.ratio:.2f}")
    for num_clips, own, reader in zip(SIZES, told.peak_bytes, told.reader_peak_bytes, strict=True):
        print(f"  peak memory at {num_clips:5d} clips     {own / 1e6:6.1f} MB, reader {reader / 1e6:.1f} MB")
    batch, copy = f"{told.batch_ms:6.2f} ms", f"{told.copy_ms:.2f} ms in memory"
    print(f"  a batch of {BATCH_SIZE} from the map       {batch}   ({copy})")


if __name__ == "__main__":
    main()
