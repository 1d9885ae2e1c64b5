"""Batches: what the network sees, what the teacher answers, and what augmentation may change."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from small_shards import BOTH, FACE, REAL, VOICE, shard

from fl.data.shards import take
from fl.distill.batches import Batch, LiveTeacher, TeacherOutputs, load_batch, shuffled_batches
from fl.distill.predict import predict
from fl.distill.teacher import Teacher, live_teacher, open_outputs, outputs_folder, teacher_outputs
from fl.settings import AugmentSettings
from models.architecture import Architecture

LITE = Architecture("pin_lite", {"num_frames": 4, "num_mfcc": 13})
CLIPS = [REAL, FACE, VOICE, BOTH] * 3


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """A teacher's folder; the small network serves as well as the large one."""
    folder = tmp_path_factory.mktemp("teacher")
    safetensors.torch.save_model(LITE.build(3), str(folder / "weights.safetensors"))
    (folder / "architecture.json").write_text(LITE.to_json())
    return Teacher(LITE, folder, "t", 1.0, 1)


def all_batches(augment: AugmentSettings | None, teacher: LiveTeacher | None = None) -> list[Batch]:
    view = take(shard(CLIPS))
    return list(shuffled_batches(view, teacher, 5, 7, np.random.default_rng(0), augment=augment))


def test_modalities_follow_the_store_and_the_device() -> None:
    store = shard([REAL, VOICE, BOTH], has_audio=[0, 1, 1])
    whole = load_batch(take(store), np.arange(3))
    assert whole.modalities.tolist() == [[1, 0], [1, 1], [1, 1]]
    assert whole.labels.tolist() == [0, 1, 1]
    deaf = load_batch(take(store, lacks="audio"), np.arange(3))
    assert deaf.modalities.tolist() == [[1, 0]] * 3
    assert deaf.labels.tolist() == [0, 0, 1]
    assert not deaf.mfcc.any()
    assert deaf.inputs[2] is deaf.modalities


def test_light_augmentation_is_the_flip_that_was_there_before() -> None:
    # The draws, and so the runs, of the version that knew flips only: order, then mirrored clips.
    view, rng = take(shard(CLIPS)), np.random.default_rng(0)
    expected = []
    for batch in all_batches(AugmentSettings()):
        if not expected:
            order = rng.permutation(len(view))
            expected = [order[start : start + 5] for start in range(0, len(order), 5)]
        chosen = expected.pop(0)
        pixels = load_batch(view, chosen).frames
        mirrored = torch.from_numpy(rng.random(len(chosen)) < 0.5)
        pixels[mirrored] = pixels[mirrored].flip(-1)
        assert torch.equal(batch.indices, torch.from_numpy(chosen))
        assert torch.equal(batch.frames, pixels)


def test_without_augmentation_clips_are_as_they_are() -> None:
    view = take(shard(CLIPS))
    for batch in all_batches(None):
        plain = load_batch(view, batch.indices.numpy())
        assert all(torch.equal(a, b) for a, b in zip(batch.inputs, plain.inputs, strict=True))


def test_dropout_and_masks_reach_the_batches_and_labels_stay_true() -> None:
    batches = all_batches(AugmentSettings(modality_dropout=0.9, time_mask=0.5))
    again = all_batches(AugmentSettings(modality_dropout=0.9, time_mask=0.5))
    assert any((batch.modalities == 0).any() for batch in batches)
    assert any((batch.mfcc == 0).all(dim=2).any() for batch in batches)
    for batch, other in zip(batches, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch.inputs, other.inputs, strict=True))
        for index, label, (video, audio) in zip(
            batch.indices, batch.labels, batch.modalities.tolist(), strict=True
        ):
            clip = CLIPS[int(index)]
            assert float(label) == ((clip.modify_video and video) or (clip.modify_audio and audio))


def test_a_live_teacher_answers_to_what_the_student_sees(teacher: Teacher) -> None:
    network = teacher.load()
    augment = AugmentSettings(rotation_deg=20, modality_dropout=0.5)
    for batch in all_batches(augment, live_teacher(teacher.folder, "float32")):
        with torch.no_grad():
            expected = network(*batch.inputs)
        torch.testing.assert_close(batch.teacher_logits, expected.logits)
        torch.testing.assert_close(batch.teacher_maps, expected.explanation)
        assert not batch.teacher_logits.requires_grad


def test_live_and_cached_agree_on_clips_as_they_are(teacher: Teacher) -> None:
    view = take(shard(CLIPS))
    cached = TeacherOutputs(*predict(teacher.load(), view))
    batch = load_batch(view, np.arange(6), live_teacher(teacher.folder, "float32"))
    torch.testing.assert_close(
        batch.teacher_logits, torch.from_numpy(cached.logits[:6]), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(batch.teacher_maps, torch.from_numpy(cached.maps[:6]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lacks", ["", "audio", "video"])
def test_outputs_for_clients_that_lack_a_modality_are_cached_apart(teacher: Teacher, lacks: str) -> None:
    store, done = shard(CLIPS), []
    outputs = teacher_outputs(teacher.folder, store, "float32", done.append, lacks)
    assert sum(done) == len(store)
    folder = outputs_folder(teacher.folder, store, lacks)
    assert folder.name == {"": "d", "audio": "d-no-audio", "video": "d-no-video"}[lacks]
    assert json.loads((folder / "outputs.json").read_text()) == {"maps": [len(store), 10, 4]}
    expected, _ = predict(teacher.load(), take(store, lacks=lacks))
    np.testing.assert_allclose(outputs.logits, expected, atol=1e-5)
    whole, _ = predict(teacher.load(), take(store))
    assert np.allclose(outputs.logits, whole, atol=1e-5) == (lacks == "")
    teacher_outputs(
        teacher.folder, store, "float32", lambda n: pytest.fail("must come from the cache"), lacks
    )
    assert np.array_equal(open_outputs(folder).logits, outputs.logits)


def test_clips_without_sound_reach_the_teacher_as_such(teacher: Teacher) -> None:
    loud, silent = shard([REAL, BOTH]), shard([REAL, BOTH], has_audio=[0, 1])
    same = replace(loud, has_audio=silent.has_audio)  # the sound is there, the mask says that it is not
    (a, _), (b, _), (c, _) = (predict(teacher.load(), take(s)) for s in (loud, silent, same))
    assert np.array_equal(b, c)
    assert a[0] != b[0]
    assert a[1] == pytest.approx(b[1], abs=1e-5)


def test_bfloat16_stays_near_float32(teacher: Teacher) -> None:
    view = take(shard(CLIPS, has_audio=[1, 0] * 6))
    exact, rough = (
        load_batch(view, np.arange(4), LiveTeacher(teacher.load(), precision)).teacher_logits
        for precision in ("float32", "bfloat16")
    )
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().max() < 0.1


def test_no_batch_is_asked_of_a_folder_that_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        live_teacher(tmp_path, "float32")
