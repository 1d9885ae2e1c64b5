"""The privacy audit: attacks on what a network memorised, canaries, mechanisms right and wrong, the page."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from attacked_run import EXPERIMENT, LITE, clips_of
from torch import nn

from clients.round import run_round
from fl.attacks.one_run import bound_epsilon
from fl.compress.export import load_template, save_model
from fl.compress.sessions import inputs_like
from fl.errors import RequestError
from fl.privacy.central_gaussian import CentralGaussian
from fl.settings import PrivacySettings, StrategySettings
from fl.state import flatten, load_flat, schema_digest
from fl.task import RoundTask
from sim.audits.attacked_clips import AttackedClips, identities_of
from sim.audits.client_canaries import audit_client_canaries
from sim.audits.clip_canaries import accounted_epsilon, draw_clip_canaries, train_with_canaries
from sim.audits.gradient_inversion import NOISED, invert_clip, noise_share
from sim.audits.membership_attacks import membership_attacks
from sim.audits.privacy import PrivacyAudit
from sim.audits.replayed_update import full_width_clients, replay_round, replay_update
from sim.audits.shadow_students import draw_pool, shadow_margins
from sim.commands.audit_privacy import main
from sim.progress import Progress
from sim.report.page import page
from sim.report.privacy import print_privacy
from sim.report.privacy_figures import draw_privacy, inversion_figure
from sim.report.privacy_sections import FILE, privacy_audit_sections


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> AttackedClips:
    return clips_of(tmp_path_factory.mktemp("attacked"))


def memorise(clips: AttackedClips, num_rounds: int) -> nn.Module:
    """A student that one client with all of the run's clips has trained for some rounds."""
    network = LITE.build(0)
    (members,) = clips.members
    client = clips.edge_client(0, members, clips.answers("clients"))
    for index in range(num_rounds):
        task = RoundTask(index, LITE, flatten(network), schema_digest(network), 2e-3)
        load_flat(network, run_round(task, client, LITE.build()).state)
    return network.eval()


@pytest.mark.slow
def test_what_was_memorised_is_found_and_what_was_not_is_not(
    clips: AttackedClips, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    learnt = replace(clips, run=replace(clips.run, network=memorise(clips, 12)))
    found = list(membership_attacks(learnt, 2, 64, 1, 1, Progress()))
    rates = {(attack.name, attack.members): attack.rates for attack in found}
    assert rates["loss", "clients"].auc_ci95[0] > 0.6
    assert not rates["blind control", "clients"].above_chance
    assert not rates["loss", "public"].above_chance  # the teacher here has learnt nothing
    inversion = invert_clip(learnt, 2, Progress())
    assert inversion.rows[0].psnr_db is None or inversion.rows[0].psnr_db > 80
    audit = PrivacyAudit("runs/x", "none", None, 1e-5, tuple(found), (), inversion, (), ("a note",))
    pictures = draw_privacy(audit, tmp_path / "audits" / "privacy")
    assert [path.name for path in pictures] == ["membership.png", "inversion.png"]
    print_privacy(audit)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "PASS: nothing is promised that could be refuted" in text
    (tmp_path / FILE).write_text(json.dumps(audit.record(), allow_nan=False))
    html = page("run", list(privacy_audit_sections(tmp_path)))
    assert "Attacks on privacy" in html
    assert "LiRA offline" in html


def test_noise_hides_what_a_gradient_in_the_clear_shows(clips: AttackedClips) -> None:
    told = {"mechanism": "local_gaussian", "noise_multiplier": 0.5}
    noisy = replace(clips, rounds=[*clips.rounds[:-1], {**clips.rounds[-1], "privacy": told}])
    assert noise_share(clips) is None
    assert noise_share(noisy) == 1.0  # a local update may be exchanged for any other: twice the norm
    inverted = invert_clip(noisy, 2, Progress())
    rows = {row.network: row for row in inverted.rows}
    clear = {row.network: row for row in invert_clip(clips, 2, Progress()).rows}
    assert set(rows) - set(clear) == {
        name + NOISED for name in ("linear layer", "small convnet", "run's student")
    }
    for name in ("linear layer", "small convnet", "run's student"):
        assert rows[name].ssim == clear[name].ssim  # the clear rows are what they are without noise
    for name in ("linear layer", "small convnet"):
        assert rows[name + NOISED].ssim < 0.5 < rows[name].ssim
    drawn = [
        [bool(axes.images) for axes in line] for line in np.reshape(inversion_figure(inverted).axes, (5, 6))
    ]
    three, one, none = [True] * 3, [True, False, False], [False] * 3
    assert drawn == [three + none, three + three, one + one, three + three, three + none]


def test_the_graph_that_devices_get_is_attacked_too(clips: AttackedClips, tmp_path: Path) -> None:
    """In its place lies the float student, which gives itself away as the checkpoint's does."""
    shipped = replace(clips, run=replace(clips.run, folder=tmp_path))
    network, view = clips.run.network, clips.others[0]
    graph = load_template(LITE, network, inputs_like(view), tmp_path).with_weights(network.state_dict())
    save_model(graph, tmp_path / "student.int8.onnx")
    found = list(islice(membership_attacks(shipped, 0, 20, 1, 0, Progress()), 4))
    assert [attack.sees for attack in found[2:]] == ["last student", "shipped INT8 student"]
    for before, after in zip(found[2].scores, found[3].scores, strict=True):
        np.testing.assert_allclose(after.scores, before.scores, atol=1e-4)
        assert before.scores.std() > 1e-3


def test_a_replayed_update_is_what_the_client_sent(clips: AttackedClips) -> None:
    assert replay_round(clips) == 2
    assert full_width_clients(clips, 2) == [0, 1]
    slow = replay_update(clips, 0, 2)  # a straggler: half of the steps
    again = replay_update(clips, 0, 2)
    np.testing.assert_array_equal(flatten(slow.after), flatten(again.after))
    punctual = replace(
        clips, rounds=[{**r, "clients": {**r["clients"], "stragglers": []}} for r in clips.rounds]
    )
    assert not np.array_equal(flatten(replay_update(punctual, 0, 2).after), flatten(slow.after))
    np.testing.assert_array_equal(flatten(slow.before), flatten(clips.run.network))
    with pytest.raises(RequestError, match="a run of one round has none"):
        replay_round(replace(clips, rounds=clips.rounds[:1]))


def test_shadows_train_on_halves_of_a_pool_of_whole_identities(clips: AttackedClips) -> None:
    pool = draw_pool(clips, 21)
    assert len(pool.members) == len(pool.others) == 10
    assert len(set(identities_of(pool.members))) == len(set(identities_of(pool.others))) == 5
    found, trained = shadow_margins(clips, pool, 2, 1, Progress())
    assert found.shape == trained.shape == (2, 20)
    assert (trained.sum(axis=0) == 1).all()
    assert not np.array_equal(found[0], found[1])


@pytest.mark.slow
def test_canaries_show_that_local_training_without_privacy_memorises(tmp_path: Path) -> None:
    distill = replace(EXPERIMENT.distill, learning_rate=2e-3)
    experiment = replace(EXPERIMENT, distill=distill, strategy=StrategySettings(num_rounds=12))
    clips = clips_of(tmp_path, experiment)
    canaries = draw_clip_canaries(clips, 40)
    assert canaries.client_id == 1
    assert not set(canaries.rows) & set(clips.partition.rows[1])
    before, after = clips.stores["clients"].labels, canaries.store.labels
    assert np.flatnonzero(before != after).tolist() == canaries.rows.tolist()
    bound = bound_epsilon(train_with_canaries(clips, canaries, Progress()), canaries.included, 1e-5)
    assert bound.epsilon > 0.5
    with pytest.raises(RequestError, match="--canaries must be 0, or from 32 to 40"):
        draw_clip_canaries(clips, 41)


def test_central_privacy_keeps_its_promise_and_a_fifth_of_the_noise_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    privacy = PrivacySettings(mechanism="central_gaussian", noise_multiplier=4.0, delta=1e-5)
    experiment = replace(EXPERIMENT, privacy=privacy, strategy=StrategySettings(num_rounds=3, fraction=1.0))
    honest = audit_client_canaries(experiment, 3, seed=0)
    assert honest.accounted == pytest.approx(1.698, abs=1e-3)
    assert honest.passed

    class Quiet:
        def __init__(self, round_index: int) -> None:
            self.rng = np.random.default_rng(round_index)

        def normal(self, mean: float, deviation: float, size: int) -> np.ndarray:
            return self.rng.normal(mean, deviation / 5, size)

    monkeypatch.setattr(CentralGaussian, "_generator", lambda _, round_index: Quiet(round_index))
    broken = audit_client_canaries(experiment, 3, seed=0)
    assert broken.accounted == honest.accounted
    assert broken.bound.epsilon > broken.accounted
    assert not broken.passed


def test_what_a_client_with_canaries_is_promised_is_what_its_own_mechanism_accounts() -> None:
    assert accounted_epsilon(EXPERIMENT, 100) is None
    # One round with a noise of 2 clip_norm over a sensitivity of 2 clip_norm: sigma 1, q 1, T 1.
    local = PrivacySettings(mechanism="local_gaussian", noise_multiplier=2.0, delta=1e-5)
    once = replace(EXPERIMENT, privacy=local, strategy=StrategySettings(num_rounds=1))
    assert accounted_epsilon(once, 100) == pytest.approx(4.3772, abs=2e-3)
    private = replace(EXPERIMENT, privacy=replace(local, mechanism="dp_sgd"))
    more = accounted_epsilon(private, 50)
    fewer = accounted_epsilon(private, 400)
    assert more is not None
    assert fewer is not None
    assert more > fewer  # each clip is in more of the batches


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "RUN must be the folder of a finished run"),
        (["nowhere", "--shadows", "3"], "--shadows must be an even number"),
        (["nowhere", "--canaries", "31"], "--canaries must be 0"),
        (["nowhere", "--clients", "-1"], "--clients must be at least 0"),
        ([], "required: RUN"),
    ],
)
def test_a_wrong_request_is_refused(arguments: list[str], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        main(arguments)


def test_a_page_of_a_run_without_audit_has_no_section_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    assert list(privacy_audit_sections(tmp_path)) == []
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).write_text("{}")
    (section,) = privacy_audit_sections(tmp_path)
    assert "run `python -m sim audit privacy` again" in section.blocks[0].text
