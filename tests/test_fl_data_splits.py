import logging
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.data.clips import REAL, Clip
from fl.data.grouping import divide, find_units
from fl.data.splits import SPLITS, assign_splits
from fl.errors import DataError, RequestError
from fl.settings import SplitSettings

BY_IDENTITY = SplitSettings(scheme="by_identity")
LEAKY = SplitSettings(scheme="random_crops_leaky")


def clip(name: str, identity: str, *, category: str = REAL, source="", donor="", split="", **more) -> Clip:
    label = int(category != REAL)
    return Clip(
        Path("/corpus") / f"{name}.mp4",
        label,
        category,
        identity,
        source or name,
        "",
        split,
        donor=donor,
        **more,
    )


def real_and_fake(num_people: int, methods=("A", "B"), **more) -> list[Clip]:
    """One real clip and a fake by each method for everybody; no donors."""
    return [
        clip(f"{person:03d}-{category}", f"p{person:03d}", category=category, source=f"s{person:03d}", **more)
        for person in range(num_people)
        for category in (REAL, *methods)
    ]


def everybody_swapped(num_people: int) -> list[Clip]:
    """As in Celeb-DF: three real clips of each, and everybody's face in everybody else's place."""
    people = [f"p{person:02d}" for person in range(num_people)]
    reals = [clip(f"{one}-{take}", one) for one in people for take in range(3)]
    fakes = [
        clip(f"{one}-{other}", one, category="Swap", source=f"{one}-0", donor=other)
        for one in people
        for other in people
        if one != other
    ]
    return reals + fakes


def assign(clips, scheme=BY_IDENTITY, public_share=0.35, seed=0) -> list[Clip]:
    return assign_splits(clips, scheme, public_share, seed)


def shares(clips, category=None) -> dict[str, float]:
    counts = Counter(clip.split for clip in clips if category in (None, clip.category))
    return {split: counts[split] / counts.total() for split in SPLITS}


def split_of(clips) -> dict[tuple[Path, int], str]:
    return {(clip.path, clip.crop): clip.split for clip in clips}


@st.composite
def corpora(draw) -> list[Clip]:
    """People with real and forged clips, some of which borrow a donor, in any order."""
    num_people = draw(st.integers(8, 30))
    clips = []
    for number in range(draw(st.integers(num_people * 2, 120))):
        person = number % num_people
        category = draw(st.sampled_from([REAL, "A", "B", "C"]))
        donor = draw(st.integers(0, num_people - 1)) if category == "A" and draw(st.booleans()) else person
        clips.append(
            clip(
                f"{number:03d}",
                f"p{person}",
                category=category,
                source=f"s{person}-{draw(st.integers(0, 2))}",
                donor=f"p{donor}" if donor != person else "",
            )
        )
    return draw(st.permutations(clips))


@given(corpora(), st.integers(0, 5))
@settings(max_examples=60)
def test_nobody_and_no_recording_is_in_two_splits_and_all_is_there_or_counted(clips, seed):
    made = assign(clips, SplitSettings(scheme="by_identity", seed=seed), seed=seed)
    homes: dict[tuple[str, str], set[str]] = {}
    for one in made:
        for person in {one.identity, one.donor} - {""}:
            homes.setdefault(("person", person), set()).add(one.split)
        homes.setdefault(("source", one.source), set()).add(one.split)
        homes.setdefault(("group", one.group), set()).add(one.split)
    assert {len(splits) for splits in homes.values()} == {1}
    assert {one.split for one in made} == set(SPLITS)
    kept = {one.path for one in made}
    assert len(kept) == len(made)
    assert all(one.donor for one in clips if one.path not in kept)


@given(corpora(), st.integers(0, 5), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_split_depends_on_the_seed_and_not_on_the_order(clips, seed, rng):
    shuffled = list(clips)
    rng.shuffle(shuffled)
    scheme = SplitSettings(scheme="by_identity", seed=seed)
    made = assign(clips, scheme, seed=seed)
    assert split_of(made) == split_of(assign(shuffled, scheme, seed=seed))
    place = {one.path: position for position, one in enumerate(clips)}
    assert [place[one.path] for one in made] == sorted(place[one.path] for one in made)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)), min_size=20, max_size=80),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
)
@settings(max_examples=60)
def test_shares_are_met_within_some_people_of_each_category(people, validation, test):
    clips = [
        clip(f"{person}-{category}-{number}", f"p{person}", category=category, source=f"s{person}")
        for person, counts in enumerate(people)
        for category, count in zip((REAL, "A", "B"), counts, strict=True)
        for number in range(count)
    ]
    wanted = {"train": 1 - validation - test, "validation": validation, "test": test}
    parts = divide(clips, wanted, seed=0)
    for category in (REAL, "A", "B"):
        held = Counter(part for one, part in zip(clips, parts, strict=True) if one.category == category)
        for part, share in wanted.items():
            assert held[part] == pytest.approx(share * held.total(), abs=3 * 9)


def test_equal_people_are_shared_out_exactly():
    made = assign(real_and_fake(100), public_share=0.4)
    for category in (REAL, "A", "B"):
        assert shares(made, category) == {"public": 0.28, "clients": 0.42, "validation": 0.15, "test": 0.15}


def test_another_seed_gives_another_split():
    clips = real_and_fake(40)
    one, other = (split_of(assign(clips, SplitSettings(scheme="by_identity", seed=seed))) for seed in (0, 1))
    assert one != other
    public, others = (split_of(assign(clips, seed=seed)) for seed in (0, 1))
    assert public != others
    assert {key for key, split in public.items() if split == "test"} == {
        key for key, split in others.items() if split == "test"
    }


def test_pairs_that_lend_each_other_faces_stay_together():
    clips = []
    for pair in range(60):
        one, other = f"p{2 * pair:03d}", f"p{2 * pair + 1:03d}"
        for target, donor in ((one, other), (other, one)):
            clips += [
                clip(f"{target}", target),
                clip(f"{target}-{donor}", target, category="Swap", source=target, donor=donor),
            ]
    made = assign(clips)
    assert len(made) == 240
    assert shares(made, "Swap")["test"] == shares(made, "Swap")["validation"] == 0.15
    assert len({one.group for one in made}) == 60


def test_where_everybody_is_swapped_with_everybody_fakes_across_splits_are_left_out(caplog):
    clips = everybody_swapped(40)
    with caplog.at_level(logging.WARNING, "fedpin.data"):
        parts = divide(clips, {"train": 0.7, "validation": 0.15, "test": 0.15}, seed=0)
        made = assign(clips)
    assert caplog.messages == [
        f"left out {len(clips) - len(made)} of {len(clips)} clips: "
        "fakes whose donor is in another split than their target"
    ]
    kept = Counter(part for one, part in zip(clips, parts, strict=True) if one.label and part is not None)
    assert kept.total() > 0.3 * 40 * 39
    for part, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        assert kept[part] / kept.total() == pytest.approx(share, abs=0.05)
    assert all(part is not None for one, part in zip(clips, parts, strict=True) if not one.label)
    people = {
        split: {p for one in made if one.split == split for p in (one.identity, one.donor)}
        for split in SPLITS
    }
    for split in SPLITS:
        others = set().union(*(people[other] for other in SPLITS if other != split))
        assert people[split] & others <= {""}


def test_donors_that_are_never_seen_tie_those_who_borrow_from_them():
    clips = [clip(f"{i}", f"p{i}", category="Swap", donor=f"unseen{i // 2}") for i in range(8)]
    units = find_units(clips).own.tolist()
    assert [units[i] == units[i + 1] for i in range(0, 8, 2)] == [True] * 4
    assert len(set(units)) == 4


def test_the_official_split_is_kept_and_what_it_lacks_is_cut_from_training():
    clips = real_and_fake(40)
    official = [clip(f"t{i}", f"t{i}", category=REAL if i % 2 else "A", split="test") for i in range(10)]
    made = assign(clips + official, SplitSettings())
    assert {one.path for one in made if one.split == "test"} == {one.path for one in official}
    training = [one for one in made if one.split != "test"]
    assert shares(training)["validation"] == 0.15
    assert split_of(made) == split_of(assign(clips + official, SplitSettings(scheme="official")))


def test_a_complete_official_split_is_not_changed(caplog):
    parts = ["train"] * 6 + ["validation", "test"]
    clips = [
        clip(f"{i}", f"p{i}", category=REAL if i % 2 else "A", split=part) for i, part in enumerate(parts)
    ]
    made = assign(clips, SplitSettings())
    assert [one.split if one.split in parts else "train" for one in made] == parts
    assert not caplog.messages


def test_by_identity_passes_over_the_official_split():
    clips = real_and_fake(40, split="test")
    assert shares(assign(clips))["test"] == 0.15
    assert shares(assign(real_and_fake(40, split="train"), SplitSettings()))["test"] == 0.15


def test_an_official_split_that_shows_people_twice_is_told(caplog):
    clips = [*real_and_fake(40), clip("again", "p001", split="test"), clip("new", "q", split="test")]
    assign(clips, SplitSettings())
    assert [message for message in caplog.messages if "shows 1 of the 2 identities" in message]


def test_official_is_refused_where_there_is_none():
    with pytest.raises(RequestError, match=r"split\.scheme must be auto or by_identity"):
        assign(real_and_fake(40), SplitSettings(scheme="official"))


def test_random_crops_leak_by_design(caplog):
    clips = [*real_and_fake(30), clip("picture", "q", num_frames=1)]
    made = assign(clips, LEAKY)
    assert len(made) == 30 * 3 * 4 + 1
    assert "figures are too good" in caplog.messages[0]
    crops: dict[Path, set[tuple[int, int]]] = {}
    for one in made:
        crops.setdefault(one.path, set()).add((one.crop, one.num_crops))
    assert crops.pop(Path("/corpus/picture.mp4")) == {(0, 1)}
    assert all(found == {(i, 4) for i in range(4)} for found in crops.values())
    for category in ("A", "B"):
        assert shares(made, category)["test"] == shares(made, category)["validation"] == 18 / 120
    test, rest = ({one.path for one in made if (one.split == "test") == tested} for tested in (True, False))
    assert test & rest
    public, clients = ({one.group for one in made if one.split == split} for split in ("public", "clients"))
    assert not public & clients


@pytest.mark.parametrize("scheme", [BY_IDENTITY, SplitSettings(), LEAKY])
def test_nobody_left_for_a_split(scheme):
    with pytest.raises(
        DataError, match=r"its \d+ identities none is left for .*: add videos of other people"
    ):
        assign(real_and_fake(1), scheme)


def test_few_people_of_whom_each_lends_to_the_next_are_dealt_apart():
    clips = [clip(f"{i}", f"p{i}") for i in range(8)]
    clips += [clip(f"{i}s", f"p{i}", category="A", source=f"{i}", donor=f"p{(i + 1) % 8}") for i in range(8)]
    made = assign(clips)
    assert {one.split for one in made} == set(SPLITS)
    assert sum(not one.label for one in made) == 8


@pytest.mark.parametrize("num_people", [4, 5, 6])
def test_a_handful_of_people_is_enough_for_every_split(num_people):
    assert {one.split for one in assign(real_and_fake(num_people))} == set(SPLITS)


def test_shares_of_zero_leave_a_split_empty():
    made = assign(real_and_fake(20), SplitSettings(scheme="by_identity", validation_share=0, test_share=0.5))
    assert shares(made)["validation"] == 0
    assert shares(made)["test"] == 0.5


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.9])
def test_the_public_share_counts_groups(share):
    clips = [clip(f"{i:02d}", f"p{i}", split="train") for i in range(40)]
    clips += [clip("v", "v", split="validation"), clip("t", "t", split="test")]
    made = assign(clips, SplitSettings(), public_share=share, seed=3)
    assert sum(one.split == "public" for one in made) == round(40 * share)
    assert split_of(made) != split_of(assign(clips, SplitSettings(), public_share=share, seed=4))


def test_groups_that_the_corpus_names_are_kept_whole_and_keep_their_names():
    clips = [
        Clip(Path(f"/c/{i}.mp4"), i % 2, "A" if i % 2 else REAL, f"p{i}", f"s{i}", f"g{i // 4}", "")
        for i in range(64)
    ]
    random.Random(0).shuffle(clips)
    made = assign(clips)
    homes: dict[str, set[str]] = {}
    for one in made:
        assert one.group == f"g{int(one.path.stem) // 4}"
        homes.setdefault(one.group, set()).add(one.split)
    assert {len(splits) for splits in homes.values()} == {1}
