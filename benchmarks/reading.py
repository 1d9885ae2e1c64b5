"""The rate of building a store over that of decoding and finding faces alone; memory; reading of batches.

The floor opens each file with PyAV, decodes its sound and its pictures up to the last one that is wanted,
and runs the Haar cascade over the wanted ones, in one process that is already running: no resampling, no
MFCC, no crops, no checks, no files, no watching.
Floor and store take turns, so that a noisy machine disturbs them alike.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import av
import numpy as np

from fl.data.clips import Clip
from fl.data.corpora import lavdf, synthetic
from fl.data.faces import detect_faces
from fl.data.shards import Shard, build_shard, take
from fl.settings import ClipSettings, SyntheticSettings

CORPUS = SyntheticSettings(num_identities=64, clips_per_identity=4)
REPEATS = 2
"""Each clip is read this often in a pass, so that the start of a reader weighs little, as in use."""
SIZES = (256, 1024)
"""Numbers of clips whose peak memory is compared."""
BATCH_SIZE = 32

_MEASURE = """
import os, re, sys
from pathlib import Path
from benchmarks.reading import corpus_clips
from fl.data.shards import build_shard
from fl.settings import ClipSettings
clips = (corpus_clips(Path(sys.argv[1])) * 4)[: int(sys.argv[2])]
peak_kb = re.compile(r"VmHWM:\\s*(\\d+)")
seen = [0]
def note(num_clips):
    seen[0] += num_clips
    if seen[0] == len(clips):  # the reader is still there
        (reader,) = Path("/proc/self/task", str(os.getpid()), "children").read_text().split()
        for pid in (reader, "self"):
            print(int(peak_kb.search(Path("/proc", pid, "status").read_text())[1]) * 1024)
build_shard(clips, ClipSettings(), Path(sys.argv[3]), max_bad_share=0.5, advance=note)
"""


@dataclass(frozen=True)
class Reading:
    """Medians over interleaved passes, one core.

    Attributes:
        num_clips: read in a pass: 1.6 s, 160 x 160 pixels, H.264 and AAC.
        floor_clips_per_s: decode and Haar cascade alone.
        build_clips_per_s: `build_shard` with one reader, its start included.
        ratio: build over floor, median of the ratios pass by pass.
        peak_bytes: of the building process, at each of ``SIZES``.
        reader_peak_bytes: of its reader, at each of ``SIZES``.
        batch_ms: a shuffled batch of 32 clips from the memory map.
        copy_ms: the same clips' pixels copied within memory.
        num_passes: how often each was run.
    """

    num_clips: int
    floor_clips_per_s: float
    build_clips_per_s: float
    ratio: float
    peak_bytes: tuple[int, ...]
    reader_peak_bytes: tuple[int, ...]
    batch_ms: float
    copy_ms: float
    num_passes: int


def measure(cache_dir: Path, num_passes: int = 5) -> Reading:
    """Measure on a corpus of 256 rendered clips, which is made first if it is not cached."""
    clips = corpus_clips(cache_dir) * REPEATS
    settings = ClipSettings()
    floor_s, build_s = [], []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(num_passes):
            floor_s.append(_timed(lambda: decode_and_detect(clips, settings.num_frames)))
            place = Path(folder, str(index))
            build_s.append(_timed(lambda place=place: build_shard(clips, settings, place, max_bad_share=0.5)))
        shard = build_shard(clips, settings, Path(folder, "0"), max_bad_share=0.5)
        batch_ms, copy_ms = _batch_times(shard)
        peaks = [_peak_bytes(cache_dir, num_clips, Path(folder, f"peak-{num_clips}")) for num_clips in SIZES]
    return Reading(
        num_clips=len(clips),
        floor_clips_per_s=len(clips) / median(floor_s),
        build_clips_per_s=len(clips) / median(build_s),
        ratio=median(floor / build for floor, build in zip(floor_s, build_s, strict=True)),
        peak_bytes=tuple(own for own, _ in peaks),
        reader_peak_bytes=tuple(reader for _, reader in peaks),
        batch_ms=batch_ms,
        copy_ms=copy_ms,
        num_passes=num_passes,
    )


def corpus_clips(cache_dir: Path) -> list[Clip]:
    """The clips of the benchmark's corpus."""
    root = synthetic.build_corpus(CORPUS, cache_dir, lambda num_clips: None, 1)
    return lavdf.read(root)


def decode_and_detect(clips: Sequence[Clip], num_frames: int) -> None:
    """The floor: every file decoded, the cascade over ``num_frames`` of its pictures, spread evenly."""
    for clip in clips:
        with av.open(str(clip.path)) as container:
            video = container.streams.video[0]
            video.codec_context.thread_count = 1
            total = video.frames
            wanted = {int((i + 0.5) * total / num_frames) for i in range(num_frames)}
            pictures = []
            index = -1
            for packet in container.demux(video, container.streams.audio[0]):
                if packet.stream is not video or index < max(wanted):
                    for frame in packet.decode():
                        index += packet.stream is video
                        if packet.stream is video and index in wanted:
                            pictures.append(frame.to_ndarray(format="rgb24"))
        detect_faces(np.stack(pictures))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _batch_times(shard: Shard, num_batches: int = 50) -> tuple[float, float]:
    """Medians in ms: a batch by way of the view, and the same pixels from an array in memory."""
    view, in_memory = take(shard), np.array(shard.frames)
    rng = np.random.default_rng(0)
    mapped_s, copied_s = [], []
    for _ in range(num_batches):
        rows = rng.integers(0, len(shard), BATCH_SIZE)
        mapped_s.append(_timed(lambda rows=rows: view.batch(rows)))
        copied_s.append(_timed(lambda rows=rows: in_memory[rows]))
    return 1000 * median(mapped_s), 1000 * median(copied_s)


def _peak_bytes(cache_dir: Path, num_clips: int, place: Path) -> tuple[int, int]:
    arguments = [sys.executable, "-c", _MEASURE, str(cache_dir), str(num_clips), str(place)]
    told = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    reader, own = map(int, told.split())
    return own, reader
