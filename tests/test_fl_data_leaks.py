from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_tables import clip
from corpus_trees import rendered_corpus
from hypothesis import given
from hypothesis import strategies as st

from fl.data.corpora import lavdf
from fl.data.inspection import FileFacts
from fl.data.leaks import find_leaks
from fl.data.splits import SPLITS, assign_splits
from fl.settings import SplitSettings

ROOT = Path()


def table(*rows: tuple[str, str, str]):
    """Clips of (identity, category, split), each with a file and source of its own."""
    clips = []
    for place, (identity, category, split) in enumerate(rows):
        name = f"{place}.mp4"
        clips.append(replace(clip(identity, category), path=Path(name), source=name, split=split))
    return clips


def kinds(clips, facts=None):
    return [(problem.kind, problem.file) for problem in find_leaks(clips, facts or {}, ROOT)]


CLEAN = table(
    ("a", "real", "public"), ("b", "real", "clients"), ("c", "real", "validation"), ("d", "FaceSwap", "test")
)


def test_strangers_do_not_leak():
    assert kinds(CLEAN) == []


@pytest.mark.parametrize(
    ("row", "changes", "expected"),
    [
        (3, {"path": CLEAN[1].path}, [("leak_file", "1.mp4")]),
        (3, {"source": CLEAN[0].source}, [("leak_source", "3.mp4")]),
        (1, {"identity": "a"}, [("leak_identity", "1.mp4")]),
        (3, {"donor": "b"}, [("leak_donor", "3.mp4")]),
        (3, {"donor": "stranger"}, []),
    ],
)
def test_each_thing_shared_by_two_splits_is_a_leak(row, changes, expected):
    clips = [*CLEAN[:row], replace(CLEAN[row], **changes), *CLEAN[row + 1 :]]
    assert kinds(clips) == expected


def test_a_donor_who_is_seen_nowhere_but_lent_to_two_splits_leaks():
    clips = [replace(CLEAN[0], donor="x"), *CLEAN[1:3], replace(CLEAN[3], donor="x")]
    assert kinds(clips) == [("leak_donor", "3.mp4")]
    (problem,) = find_leaks(clips, {}, ROOT)
    assert problem.reason == "donor 'x' is in test (1) and in public (1, e.g. 0.mp4)"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(SPLITS)), max_size=20))
def test_exactly_the_identities_of_two_splits_are_reported(rows):
    clips = table(*((identity, "real", split) for identity, split in rows))
    places = {name: {split for other, split in rows if other == name} for name, _ in rows}
    leaking = [name for name, splits in places.items() if len(splits) > 1]
    found = find_leaks(clips, {}, ROOT)
    assert sorted(problem.reason.split("'")[1] for problem in found) == sorted(leaking)


@given(st.integers(0, 5), st.sampled_from(("by_identity", "random_crops_leaky")))
def test_splits_by_identity_do_not_leak_and_random_crops_do(seed, scheme):
    clips = [replace(one, split="") for one in lavdf.read(rendered_corpus())]
    split = assign_splits(clips, SplitSettings(scheme=scheme, seed=seed), 0.35, seed)
    assert bool(kinds(split)) == (scheme == "random_crops_leaky")


def test_equal_bytes_under_two_names_leak(tmp_path):
    rng = np.random.default_rng(0)
    clips = [replace(one, path=tmp_path / one.path) for one in CLEAN]
    contents = [rng.bytes(100), rng.bytes(100), rng.bytes(100)]
    for one, data in zip(clips, [*contents, contents[1]], strict=True):
        one.path.write_bytes(data)
    facts = {one.path: FileFacts(one.path, 100) for one in clips}
    (problem,) = find_leaks(clips, facts, tmp_path)
    assert (problem.kind, problem.file) == ("leak_file", "3.mp4")
    assert "e.g. 1.mp4" in problem.reason


@pytest.mark.parametrize(
    ("flipped", "rows", "expected"),
    [
        (40, (1, 3), [("leak_near_duplicate", "3.mp4")]),
        (40, (0, 1), [("near_duplicate", "1.mp4")]),
        (200, (1, 3), []),
    ],
)
def test_near_fingerprints_are_near_duplicates(flipped, rows, expected):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (4, 768), dtype=np.uint8)
    bits[rows[1]] = bits[rows[0]]
    bits[rows[1], :flipped] ^= 1
    facts = {
        one.path: FileFacts(one.path, fingerprint=np.packbits(row).tobytes())
        for one, row in zip(CLEAN, bits, strict=True)
    }
    assert kinds(CLEAN, facts) == expected


def test_a_forgery_near_its_own_source_is_told_once():
    prints = np.random.default_rng(0).bytes(96)
    clips = [*CLEAN[:3], replace(CLEAN[3], source=CLEAN[0].source)]
    facts = {one.path: FileFacts(one.path, fingerprint=prints) for one in (clips[0], clips[3])}
    assert kinds(clips, facts) == [("leak_source", "3.mp4")]
