"""A corpus forged from a folder of real videos of people talking, without labels.

The same manipulations as those of the drawn corpus, the same layout on disk; real windows are re-encoded
like the fakes. People are put into small groups, donors come from the same group, and whole groups go to
one split.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fl.data.clips import REAL
from fl.data.corpora.building import Record, building_place, make_record, run_tasks, write_metadata
from fl.data.corpora.forge import deal_categories, forge_at_random
from fl.data.corpora.listing import (
    check_bad_share,
    compile_pattern,
    list_files,
    may_be_video,
    read_identity,
)
from fl.data.corpora.windows import Found, ScanTask, read_recording, scan_file
from fl.data.corpora.writer import draw_encoding, write_mp4
from fl.errors import DataError
from fl.seeds import derive
from fl.settings import FolderSettings

FORGER_VERSION = 5
SKIPPED_NAME = "skipped.json"
GROUP_SIZE = 2
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WindowPlan:
    """One window of a real video and the fakes to forge from it.

    Attributes:
        found: where the window is.
        identity: who is seen.
        files: names in the corpus: the real clip's, then one for each fake.
        categories: the fakes' manipulations.
    """

    found: Found
    identity: str
    files: tuple[str, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True)
class GroupPlan:
    """People who lend each other faces and voices."""

    name: str
    split: str
    windows: tuple[WindowPlan, ...]
    root: Path
    seed: int


def build_corpus(
    root: Path,
    settings: FolderSettings,
    cache_dir: Path,
    advance: Callable[[int], None],
    num_workers: int,
    max_bad_share: float = 0.2,
) -> Path:
    """Forge a corpus from the videos below ``root`` once; later calls return the same folder.

    Args:
        root: the folder, searched with its subfolders; hidden files are passed over.
        settings: windows, fakes and splits.
        cache_dir: the corpus goes to ``<cache_dir>/corpora/<digest>/``.
        advance: called with the number of clips finished since the last call.
        num_workers: processes to use.
        max_bad_share: more unusable videos than this share end the work. Files whose names say that they
            are no video (``.txt``, ``.csv``, ...) are listed as skipped but do not count.

    Returns:
        The folder with ``train/``, ``dev/``, ``test/``, ``metadata.min.json`` and ``skipped.json``.

    Raises:
        RequestError: no such folder, nothing in it, a bad pattern, or a cache that cannot be written.
        DataError: too many bad files, or too few people for the splits.
    """
    files = list_files(root)
    compile_pattern(settings.identity_pattern)
    with building_place(cache_dir, corpus_digest(root, files, settings)) as (final, rising):
        if rising is not None:
            found, skipped = scan(root, files, settings, num_workers)
            (rising / SKIPPED_NAME).write_text(json.dumps(skipped, indent=1), encoding="utf-8")
            check_bad_share(root, files, skipped, max_bad_share)
            groups = plan_groups(root, found, settings)
            write_metadata(rising, run_tasks(forge_group, groups, rising, advance, num_workers))
    skipped = json.loads((final / SKIPPED_NAME).read_text(encoding="utf-8"))
    check_bad_share(root, files, skipped, max_bad_share)
    for item in skipped:
        log.info("skipped %s: %s", item["file"], item["reason"])
    return final


def corpus_digest(root: Path, files: list[Path], settings: FolderSettings) -> str:
    """Name of the corpus' folder: of the settings and of each file's name, size and time."""
    listing = []
    for file in files:
        status = (root / file).stat()
        listing.append([file.as_posix(), status.st_size, status.st_mtime_ns])
    text = json.dumps({"forger": FORGER_VERSION, **asdict(settings), "files": listing}, sort_keys=True)
    return "folders-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def scan(
    root: Path, files: list[Path], settings: FolderSettings, num_workers: int
) -> tuple[list[tuple[str, Found]], list[dict[str, str]]]:
    """Look for faces in all videos.

    Returns:
        (identity, window) of all that can be used, and {file, reason} of what cannot.
    """
    pattern = compile_pattern(settings.identity_pattern)
    skipped = [
        {"file": file.as_posix(), "reason": "not a video, by its name"}
        for file in files
        if not may_be_video(file)
    ]
    tasks = []
    identities = {}
    for file in filter(may_be_video, files):
        identity = read_identity(pattern, file)
        if identity is None:
            skipped.append(
                {"file": file.as_posix(), "reason": "its name does not match data.folders.identity_pattern"}
            )
            continue
        identities[file.as_posix()] = identity
        tasks.append(ScanTask(file.as_posix(), settings.windows_per_video, settings.window_s))
    found = []
    for result in run_tasks(scan_file, tasks, root, lambda count: None, num_workers):
        if "reason" in result:
            skipped.append({"file": result["file"], "reason": result["reason"]})
        else:
            found.append((identities[result["file"]], Found(**result)))
    return found, skipped


def plan_groups(root: Path, found: list[tuple[str, Found]], settings: FolderSettings) -> list[GroupPlan]:
    """Decide splits, groups, manipulations and names."""
    rng = np.random.default_rng(derive(settings.seed, "folders", "plan"))
    people = sorted({identity for identity, _ in found})
    people = [people[index] for index in rng.permutation(len(people))]
    plans: list[GroupPlan] = []
    for split, size in split_sizes(len(people), settings).items():
        members, people = people[:size], people[size:]
        windows = plan_windows(split, [item for item in found if item[0] in members], settings, rng)
        for index, part in enumerate(np.array_split(np.array(members), max(len(members) // GROUP_SIZE, 1))):
            own = tuple(window for window in windows if window.identity in part)
            if own:
                plans.append(GroupPlan(f"{split}-{index:04d}", split, own, root, settings.seed))
    return plans


def split_sizes(num_people: int, settings: FolderSettings) -> dict[str, int]:
    """People per split: at least 2 (one group) in dev and test unless their share is 0, 4 in train."""
    num_dev = (
        max(round(num_people * settings.validation_share), GROUP_SIZE) if settings.validation_share else 0
    )
    num_test = max(round(num_people * settings.test_share), GROUP_SIZE) if settings.test_share else 0
    num_train = num_people - num_dev - num_test
    if num_train < 2 * GROUP_SIZE:
        raise DataError(
            f"data.root must show at least {2 * GROUP_SIZE} people beside {num_dev} for validation and "
            f"{num_test} for the test, got {num_people} in all: add videos of other people, or check "
            "data.folders.identity_pattern"
        )
    return {"train": num_train, "dev": num_dev, "test": num_test}


def plan_windows(
    split: str, found: list[tuple[str, Found]], settings: FolderSettings, rng: np.random.Generator
) -> list[WindowPlan]:
    """Names and manipulations of a split's clips; the fakes of one window differ in manipulation."""
    count, fakes = len(found), settings.fakes_per_real
    deck = deal_categories(count * fakes, rng)
    order = rng.permutation(count)
    plans = []
    for position, (identity, window) in enumerate(found):
        first = position * (1 + fakes) + 1
        plans.append(
            WindowPlan(
                found=window,
                identity=identity,
                files=tuple(f"{split}/{first + index:06d}.mp4" for index in range(1 + fakes)),
                categories=tuple(deck[int(order[position]) + index * count] for index in range(fakes)),
            )
        )
    return plans


def forge_group(plan: GroupPlan, folder: Path) -> list[Record]:
    """Read, forge and encode all clips of a group into ``folder``; returns their entries."""
    records = []
    for window in plan.windows:
        target = read_recording(plan.root, window.found)
        donors = [other for other in plan.windows if other.identity != window.identity]
        for file, category in zip(window.files, (REAL, *window.categories), strict=True):
            rng = np.random.default_rng(derive(plan.seed, "folders", file))
            donor = read_recording(plan.root, donors[int(rng.integers(len(donors)))].found)
            made = forge_at_random(category, target, donor, rng)
            write_mp4(folder / file, made.recording, draw_encoding(rng))
            records.append(
                make_record(
                    made,
                    file=file,
                    split=plan.split,
                    category=category,
                    identity=window.identity,
                    source=window.found.file,
                    group=plan.name,
                    original=None if category == REAL else window.files[0],
                )
            )
    return records
