import dataclasses
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fl.errors import RequestError
from fl.settings import Experiment, Limit
from sim.checks import cache_dir
from sim.config import build, compose, expand, groups, validate
from sim.schema import check_limits, describe, mutable, settings, suggest, value_of, within

NUMERIC = [s for s in settings() if s.limit is not None and not s.limit.choices]
FLOATS = [s for s in NUMERIC if s.kind is float]
CHOICES = [s for s in settings() if s.limit is not None and s.limit.choices]
GROUP_FILES = [(group, option) for group, options in groups().items() for option in options]


def request(*overrides: str) -> Experiment:
    experiment = build(compose(overrides))
    validate(experiment)
    return experiment


def replaced(experiment: Experiment, key: str, value: object) -> Experiment:
    """``experiment`` with the value at a dotted path changed."""
    head, _, rest = key.partition(".")
    new = replaced(getattr(experiment, head), rest, value) if rest else value
    return dataclasses.replace(experiment, **{head: new})


def test_without_overrides_the_yaml_files_add_nothing_to_the_dataclasses():
    assert request() == Experiment()


def test_every_override_lands_in_its_field():
    got = request("distill.soft_weight=0.3", "compress.prune_rounds=[2,5]", "data.clip.num_mfcc=20")
    assert got.distill.soft_weight == 0.3
    assert got.compress.prune_rounds == (2, 5)
    assert got.data.clip.num_mfcc == 20
    assert got.teacher == Experiment().teacher


def test_what_is_built_is_frozen_and_of_plain_types():
    got = request("data.clip.window_s=1", "compress.prune_rounds=[]")
    assert type(got.data.clip.window_s) is float
    assert got.compress.prune_rounds == ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        got.data.clip.num_frames = 3


@pytest.mark.parametrize(("group", "option"), GROUP_FILES)
def test_every_group_file_composes_and_only_holds_what_differs_from_the_schema(group: str, option: str):
    text = (resources.files("sim_configs") / group / f"{option}.yaml").read_text()
    rootless = group == "data" and option != "synthetic"
    rootless = rootless or option == "few_videos" or option.endswith("_full")
    overrides = [f"{group}={option}"] + (["data.root=/"] if rootless else [])
    overrides += ["compress.int8=static"] if option == "poisoned_calibration" else []
    if option == "mlflow":
        pytest.importorskip("mlflow", reason="MLflow, an extra, is not installed")
    got = request(*overrides)
    values = yaml.safe_load(text) or {}
    values.pop("defaults", None)
    section = got if text.startswith("# @package _global_") else getattr(got, group)
    named_by_the_group = {"corpus", "scheme", "kind", "name"}
    for path, value in leaves(values):
        assert value_of(section, path) == (tuple(value) if isinstance(value, list) else value)
        default = value_of(Experiment() if section is got else getattr(Experiment(), group), path)
        assert path in named_by_the_group or value_of(section, path) != default, f"{path} repeats the schema"


def leaves(values: dict, prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_an_override_wins_over_the_experiment_and_the_experiment_over_the_group():
    assert request("experiment=smoke").teacher.max_epochs == 2
    assert request("experiment=smoke", "teacher=thorough").teacher == Experiment().teacher
    assert request("experiment=smoke", "distill.epochs=3").distill.epochs == 3
    assert request("experiment=smoke").strategy.num_rounds == 2


BAD = [
    ("distill.soft_weight=1.4", "distill.soft_weight must be in [0, 1], got 1.4"),
    ("distill.soft_weight=nan", "distill.soft_weight must be in [0, 1], got nan"),
    ("distill.learning_rate=inf", "distill.learning_rate must be above 0, got inf"),
    ("compress.prune_ratio=1", "compress.prune_ratio must be in [0, 1), got 1.0"),
    ("distill.epochs=0", "distill.epochs must be at least 1, got 0"),
    ("distill.epochs=abc", "distill.epochs must be a whole number, got 'abc'"),
    ("distill.epochs=1.5", "distill.epochs must be a whole number, got 1.5"),
    ("distill.epochs=null", "distill.epochs must be a whole number, got null"),
    ("augment.flip=maybe", "augment.flip must be true or false, got 'maybe'"),
    (
        "compress.prune_rounds=[a]",
        "prune_rounds must be a list of whole numbers, e.g. [4,6], got 'a'",
    ),
    ("compress.prune_rounds=4", "prune_rounds must be a list of whole numbers, e.g. [4,6], got 4"),
    (
        "compress.calibration=one_class",
        "compress.calibration=one_class is an ablation of compress.int8=static",
    ),
    (
        "distill.attention_loss=sigmoid_mse",
        "distill.attention_loss=sigmoid_mse needs maps of logits, but pin_lite's are weights",
    ),
    (
        "system.teacher=resnet18",
        "system.teacher and system.student must take the same input, got resnet18 and pin_lite",
    ),
    (
        "strategy.num_byzantine=1",
        "strategy.num_byzantine must be 0 for strategy.aggregator=mean, which withstands no bad client",
    ),
    ("adversary.share=1.5", "adversary.share must be in [0, 1], got 1.5"),
    ("compress.prune_rounds=[3,3]", "compress.prune_rounds must rise without repeats, got [3,3]"),
    ("compress.prune_rounds=[0]", "must lie within 1 and strategy.num_rounds = 5, got [0]"),
    ("strategy.num_rounds=2", "must lie within 1 and strategy.num_rounds = 2, got [2,3]"),
    ("compress.voters=server", "compress.importance must be l1, l2 or random with compress.voters=server"),
    (
        "partition.scheme=x",
        "partition.scheme must be one of iid, dirichlet, dirichlet_label, identity, manipulation, quality, "
        "zipf, lognormal, got 'x'",
    ),
    (
        "fleet.weak_devices=[fridge]",
        "fleet.weak_devices must be one of camera, laptop, phone, got 'fridge'",
    ),
    ("fleet.weak_devices=camera", "fleet.weak_devices must be a list of names, e.g. [camera], got 'camera'"),
    ("fleet.weak_ratio=1", "fleet.weak_ratio must be in (0, 1), got 1.0"),
    ("fleet=mixt", "fleet must be one of mixed, uniform, got 'mixt'; did you mean mixed?"),
    ("distill.soft_wieght=1", "no setting distill.soft_wieght; did you mean distill.soft_weight?"),
    ("distil.soft_weight=1", "no setting distil.soft_weight; did you mean distill.soft_weight?"),
    ("soft_weight=1", "no setting soft_weight; did you mean distill.soft_weight?"),
    ("+distill.soft_wieght=1", "no setting distill.soft_wieght; did you mean distill.soft_weight?"),
    ("expriment=smoke", "no setting expriment; did you mean experiment?"),
    ("zzz=1", "no setting zzz; `python -m sim run --help` lists them"),
    (
        "data=synthetc",
        "data must be one of celebdf, dfdc, faceforensics, folders, images, lavdf, synthetic, table, "
        "got 'synthetc'; did",
    ),
    ("data.clip=5", "data.clip is a section"),
    ("distill=3", "'distill=3' cannot be read"),
    ("seed=1,2", "seed must be one value, got '1,2'; add -m for a sweep"),
    ("seed=${nope}", "seed: Interpolation key 'nope' not found"),
    ("seed=${runs_dir}", "seed must be a whole number, got 'runs'"),
    ("a b", "'a b' cannot be read; write key=value"),
    ("data.root", "'data.root' cannot be read; write key=value"),
    ("data=folders", "data.root must name the folder of the corpus for data=folders, got ''"),
    ("data.root=/", "data.root must be empty for data=synthetic"),
    ("name=../up", "name must be a plain folder name"),
    ("name=..", "name must be a plain folder name"),
    ("data.clip.window_s=1.7", "data.clip.window_s must be at most data.synthetic.duration_s = 1.6, got 1.7"),
    ("data.clip.num_frames=41", "data.clip.num_frames must be at most 40, the frames in data.clip.window_s"),
    ("data.synthetic.frame_size=161", "frame_size must be even (H.264), got 161; use 162"),
    ("teacher.weights=no.safetensors", "teacher.weights must be an existing safetensors file"),
    ("runs_dir=/dev/null/runs", "runs_dir must be a folder, but '/dev/null' is a file"),
    ("cache_dir=/dev/null", "cache_dir must be a folder, but '/dev/null' is a file"),
]


@pytest.mark.parametrize(("override", "message"), BAD)
def test_a_wrong_request_is_refused_in_one_line(override: str, message: str):
    with pytest.raises(RequestError) as refused:
        request(override)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


BAD_TOGETHER = [
    (("data=folders", "data.root=/no/such"), "data.root must be a folder, but '/no/such' does not exist"),
    (("data=lavdf", "data.root=/dev/null"), "data.root must be a folder, but '/dev/null' is a file"),
    (
        ("data=folders", "data.root=/", "data.clip.window_s=2"),
        "must be at most data.folders.window_s = 1.6, got 2",
    ),
    (("data=folders", "data.root=/", "data.folders.identity_pattern='(a'"), "must be a regular expression"),
    (("data=folders", "data.root=/", "data.folders.identity_pattern='a+'"), "must have a group"),
    (
        ("data=folders", "data.root=/", "data.folders.validation_share=0.5", "data.folders.test_share=0.5"),
        "must be below 1, got 0.5 + 0.5",
    ),
    (("data.synthetic.dev_share=0.5", "data.synthetic.test_share=0.5"), "must be below 1, got 0.5 + 0.5"),
    (
        ("fleet=mixed", "fleet.weak_devices=[camera,phone,laptop]"),
        "fleet.weak_devices must leave one of camera, laptop, phone at full width, got [camera,phone,laptop]",
    ),
    (("fleet=mixed", "fleet.weak_devices=[]"), "[] is that of 0 with partition.num_clients = 8"),
    (("fleet=mixed", "partition.num_clients=1"), "[camera] is that of 1 with partition.num_clients = 1"),
    (
        ("fleet=mixed", "fleet.weak_devices=[phone]", "partition.num_clients=2"),
        "[phone] is that of 0 with partition.num_clients = 2 (camera, laptop in turn); name other devices",
    ),
    (("grid=inprocess", "grid.address=10.0.0.1:6379"), "grid.address must be 'local' for grid=inprocess"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD_TOGETHER)
def test_settings_that_do_not_fit_each_other_are_refused(overrides: tuple[str, ...], message: str):
    with pytest.raises(RequestError) as refused:
        request(*overrides)
    assert message in str(refused.value)


def test_an_unknown_key_in_a_users_own_experiment_is_refused(tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndistill:\n  soft_wieght: 1\n")
    with pytest.raises(RequestError, match=r"wieght; did you mean distill.soft_weight\?"):
        request(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(RequestError, match=r"cache_dir must be a folder that can be written.*read-only"):
        request(f"cache_dir={tmp_path}/new/folder")


def test_the_cache_is_the_settings_then_the_environments_then_the_homes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FEDPIN_CACHE", "/elsewhere")
    assert cache_dir(dataclasses.replace(Experiment(), cache_dir="/here")) == Path("/here")
    assert cache_dir(Experiment()) == Path("/elsewhere")
    monkeypatch.delenv("FEDPIN_CACHE")
    assert cache_dir(Experiment()) == Path.home() / ".cache" / "fedpin"


def test_a_sweep_is_every_combination_in_order():
    assert expand(["distill.soft_weight=0,0.5", "experiment=smoke", "seed=1,2"]) == [
        ["distill.soft_weight=0", "experiment=smoke", "seed=1"],
        ["distill.soft_weight=0", "experiment=smoke", "seed=2"],
        ["distill.soft_weight=0.5", "experiment=smoke", "seed=1"],
        ["distill.soft_weight=0.5", "experiment=smoke", "seed=2"],
    ]
    assert [job[0] for job in expand(["seed=range(3)"])] == ["seed=0", "seed=1", "seed=2"]
    assert len(expand(["experiment=glob(*)"])) == len(groups()["experiment"])


def test_a_sweep_in_a_file_is_expanded_too(tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 7,8\n"
    (tmp_path / "experiment" / "seeds.yaml").write_text(text)
    jobs = expand([f"hydra.searchpath=[file://{tmp_path}]", "experiment=seeds"])
    assert [request(*job).seed for job in jobs] == [7, 8]


@given(setting=st.sampled_from(NUMERIC), value=st.floats() | st.integers(-3, 700))
def test_a_value_passes_exactly_when_it_keeps_to_its_limit(setting, value):
    limit = setting.limit
    inside = (
        abs(value) < float("inf")
        and (limit.low is None or limit.low < value or (value == limit.low and not limit.low_open))
        and (limit.high is None or value < limit.high or (value == limit.high and not limit.high_open))
    )
    experiment = replaced(Experiment(), setting.key, value)
    if inside:
        check_limits(experiment)
    else:
        with pytest.raises(RequestError, match=f"^{setting.key} must be "):
            check_limits(experiment)


@hypothesis_settings(max_examples=8)
@given(setting=st.sampled_from(FLOATS), value=st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_the_way_through_overrides(setting, value):
    assert value_of(build(compose([f"{setting.key}={value!r}"])), setting.key) == value


def test_every_choice_of_every_setting_is_accepted_by_its_limit():
    for setting in CHOICES:
        default = setting.default if isinstance(setting.default, tuple) else (setting.default,)
        assert set(default) <= set(setting.limit.choices)
        assert not within("no such choice", setting.limit)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Limit(low=0, high=1, high_open=True), "in [0, 1)"),
        (Limit(low=0, low_open=True, high=0.5), "in (0, 0.5]"),
        (Limit(low=0, low_open=True), "above 0"),
        (Limit(low=1), "at least 1"),
        (Limit(high=2), "at most 2"),
        (Limit(high=2, high_open=True), "below 2"),
        (Limit(choices=("a", "b")), "one of a, b"),
    ],
)
def test_limits_are_named_as_in_mathematics(limit: Limit, text: str):
    assert describe(limit) == text


def test_the_schema_is_the_settings_but_mutable():
    schema = mutable(Experiment)()
    assert dataclasses.asdict(schema) == dataclasses.asdict(Experiment())
    schema.distill.epochs = 9
    assert mutable(Experiment)().distill.epochs == Experiment().distill.epochs


def test_nothing_near_gives_no_suggestion():
    assert suggest("qqq", ["distill.epochs"]) == ""
    assert (
        suggest("distill.epoch", ["distill.epochs", "teacher.max_epochs"]) == "; did you mean distill.epochs?"
    )


def test_a_request_is_checked_without_anything_heavy():
    code = (
        "import sys; from sim.config import build, compose, expand, validate; expand(['seed=1,2']);"
        "validate(build(compose([])));"
        "print(*sorted({'torch','flwr','ray','cv2','av','onnxruntime','sklearn','numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
