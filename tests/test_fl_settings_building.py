"""Settings travel as JSON and come back the same; what is not settings is refused by key."""

import json
from dataclasses import asdict, replace

import pytest

from fl.errors import RequestError
from fl.settings import Experiment
from fl.settings.building import MAX_JSON_BYTES, from_json, to_json, without_places
from sim.config import build, compose


@pytest.mark.parametrize("name", ["default", "smoke", "thesis_kd_pruning", "few_videos"])
def test_an_experiment_comes_back_as_it_was_sent(name: str) -> None:
    experiment = build(compose([f"experiment={name}"]))
    text = to_json(experiment)
    assert from_json(text) == experiment
    assert len(text) < MAX_JSON_BYTES / 8


def test_what_is_not_named_has_its_default() -> None:
    got = from_json('{"strategy": {"num_rounds": 3}}')
    assert got == replace(Experiment(), strategy=replace(Experiment().strategy, num_rounds=3))


def test_places_do_not_travel() -> None:
    own = build(
        compose(
            [
                "data=lavdf",
                "data.root=/hidden/corpus",
                "cache_dir=/hidden/cache",
                "runs_dir=/hidden/runs",
                "name=hidden",
                "teacher.weights=/hidden/teacher",
                "system.teacher_backbone=/hidden/a",
                "system.student_backbone=/hidden/b",
                "tracking.uri=http://hidden:1",
                "grid.address=hidden:2",
                "seed=3",
            ]
        )
    )
    sent = without_places(own)
    assert "hidden" not in to_json(sent)
    assert (sent.seed, sent.data.corpus, sent.distill) == (3, "lavdf", own.distill)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "experiment must be a JSON object, got '{'"),
        ("[]", "experiment must be a JSON object, got list"),
        ('{"distil": {}}', "there is no setting distil"),
        ('{"data": {"clip": {"frames": 4}}}', "there is no setting data.clip.frames"),
        ('{"seed": 1.5}', "seed must be like 0, got 1.5"),
        ('{"seed": true}', "seed must be like 0, got True"),
        ('{"data": 3}', "data must be a JSON object, got int"),
        ('{"compress": {"prune_rounds": [1, "2"]}}', "compress.prune_rounds must be like (2, 3)"),
        (json.dumps({"name": "x" * MAX_JSON_BYTES}), f"must be at most {MAX_JSON_BYTES} characters"),
    ],
)
def test_what_is_not_settings_is_refused_by_key(text: str, complaint: str) -> None:
    with pytest.raises(RequestError) as refused:
        from_json(text)
    assert complaint in str(refused.value)


def test_a_whole_number_is_a_number() -> None:
    assert from_json('{"distill": {"soft_weight": 0}}').distill.soft_weight == 0
    assert asdict(from_json("{}")) == asdict(Experiment())
