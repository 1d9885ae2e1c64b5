from collections import Counter
from pathlib import Path

import av
import pytest
from corpus_trees import TREES, rendered_corpus

from fl.data.corpora.catalogue import READERS, read_corpus
from fl.errors import RequestError
from fl.settings import DataSettings, SplitSettings
from sim.checks import check_consistency
from sim.config import build, compose


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> dict[str, Path]:
    roots = {name: tmp_path_factory.mktemp(name) for name in TREES}
    for name, write in TREES.items():
        write(roots[name], rendered_corpus())
    return roots


def test_every_corpus_that_is_read_has_a_tree():
    assert set(TREES) == set(READERS)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("scheme", ["auto", "by_identity"])
def test_a_tree_becomes_a_table_without_leaks(trees, name, scheme):
    clips = read_corpus(DataSettings(corpus=name, root=str(trees[name])), SplitSettings(scheme=scheme), 0)
    assert len(clips) >= 44
    assert all(clip.path.is_file() for clip in clips)
    parts: dict[tuple[str, str], set[str]] = {}
    for clip in clips:
        parts.setdefault(("source", clip.source), set()).add(clip.split)
        parts.setdefault(("group", clip.group), set()).add(clip.split)
        for person in {clip.identity, clip.donor} - {""}:
            parts.setdefault(("person", person), set()).add(clip.split)
    assert {len(splits) for splits in parts.values()} == {1}
    sizes = Counter((clip.split, clip.label) for clip in clips)
    assert all(
        sizes[split, label] for split in ("public", "clients", "validation", "test") for label in (0, 1)
    )


@pytest.mark.parametrize("name", [name for name in TREES if name != "images"])
def test_the_trees_files_are_videos(trees, name):
    clips = read_corpus(DataSettings(corpus=name, root=str(trees[name])), SplitSettings(), 0)
    with av.open(str(clips[0].path)) as container:
        assert len(list(container.decode(video=0))) == 20


@pytest.mark.parametrize("name", TREES)
def test_the_settings_of_each_corpus_pass_the_checks(trees, name):
    experiment = build(compose([f"data={name}", f"data.root={trees[name]}", "split=by_identity"]))
    assert experiment.data.corpus == name
    check_consistency(experiment)


def test_what_is_made_is_not_read():
    with pytest.raises(RequestError, match=r"data\.corpus must be one of lavdf.* got 'synthetic'"):
        read_corpus(DataSettings(), SplitSettings(), 0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=images", "data.root=/", "data.clip.require_audio=true"], "pictures have no sound"),
        (["split.validation_share=0.5", "split.test_share=0.5"], "must be below 1, got 0.5 [+] 0.5"),
        (["split=random_crops_leaky", "split.crops_per_video=20"], "must be at most 40.*got 4 [*] 20"),
        (["data=celebdf"], "data.root must name the folder of the corpus for data=celebdf"),
    ],
)
def test_requests_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(RequestError, match=message):
        check_consistency(build(compose(overrides)))
