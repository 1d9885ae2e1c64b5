"""One clip's gradient in the clear, turned back into pictures: the worst case of what an update may show.

No client of a run sends such a gradient: it sends weights after many steps over many clips. It is what
someone would see who got hold of the first step of a client with one clip. A run with noise is attacked a
second time, with the gradient as that run would let it out: as long as the cut allows, plus its noise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from fl.attacks.inversion import Descent, gradient_of, invert_gradient, invert_linear
from fl.data.features import IMAGENET_MEAN, IMAGENET_STD
from fl.data.shards import ShardView
from fl.metrics.similarity import psnr, ssim
from fl.privacy.client_releases import sensitivity_of
from fl.seeds import generator
from sim.audits.attacked_clips import AttackedClips
from sim.progress import Progress

SIDE = 16
"""Of the crop that is attacked, pixels; the face is scaled down to it."""
CONVNET_STEPS = 400
PURPOSE = "privacy inversion"
NOISED = ", noised"
"""Ends the name of a network whose gradient had the run's noise."""

Pictures = NDArray[np.float32]


@dataclass(frozen=True)
class Inversion:
    """One reconstruction.

    Attributes:
        network: whose gradient was turned back.
        method: how.
        psnr_db: mean over the frames; None where not a bit is wrong.
        ssim: mean over the frames, at most 1.
        distance: 1 - cosine of the two gradients that was left; None for the exact method.
        pictures: (frames, SIDE, SIDE, 3) in [0, 1]; not part of the record.
    """

    network: str
    method: str
    psnr_db: float | None
    ssim: float
    distance: float | None
    pictures: Pictures


@dataclass(frozen=True)
class Inverted:
    """All reconstructions of one clip.

    Attributes:
        num_frames: of it.
        rows: the exact one, the control network, the run's student; where the run had noise all three again,
            noised; and the guess without any gradient.
        original: (frames, SIDE, SIDE, 3) in [0, 1]; not part of the record.
    """

    num_frames: int
    rows: tuple[Inversion, ...]
    original: Pictures

    @property
    def side(self) -> int:
        """Of the frames, pixels."""
        return int(self.original.shape[1])


def invert_clip(clips: AttackedClips, num_steps: int, progress: Progress) -> Inverted:
    """Attack one clip of a client, drawn by the run's seed.

    Args:
        clips: the run's.
        num_steps: of the descent against the student.
        progress: the display.
    """
    rng = generator(clips.run.experiment.seed, 0, -1, PURPOSE)
    view = clips.members[0]
    chosen = int(rng.integers(len(view)))
    batch = view.batch([chosen])
    original = small_pictures(batch.frames[0])
    frames = torch.from_numpy(original).permute(0, 3, 1, 2).contiguous()
    label = torch.from_numpy(batch.labels)
    known = torch.from_numpy(batch.mfcc), torch.from_numpy(batch.modalities)
    student = clips.run.network.eval()

    def student_loss(pictures: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(student(normalise(pictures)[None], *known).logits, label)

    control = small_convnet(rng)

    def control_loss(pictures: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(control(normalise(pictures)), label)

    easy, long = Descent(CONVNET_STEPS, smoothness=1e-4), Descent(num_steps)
    noises = [noise for noise in (0.0, noise_share(clips)) if noise is not None]
    rows = []
    with progress.stage("Gradient inversion", total=len(noises) * (CONVNET_STEPS + num_steps)) as advance:
        for noise in noises:
            rows.append(exact_linear(frames, label, original, rng, noise))
            attacks = (
                ("small convnet", control, control_loss, frames[:1], easy),
                ("run's student", student, student_loss, frames, long),
            )
            rows += [_descend(*attack, rng, advance, noise) for attack in attacks]
    mean = mean_picture(clips.public[0])
    guess = np.repeat(mean[None], len(original), axis=0)
    rows.append(_judged("none", "mean of the server's clips", guess, original, None))
    return Inverted(len(original), tuple(rows), original)


def noise_share(clips: AttackedClips) -> float | None:
    """Standard deviation of the run's noise on each value, over the largest norm that a unit may have.

    Of the last round, and of the client with the least noise; None of a run without.
    """
    told = clips.rounds[-1]["privacy"]
    if not told or not told.get("noise_multiplier"):
        return None
    return float(told["noise_multiplier"] * sensitivity_of(told["mechanism"]))


def noised(gradient: Sequence[Tensor], share: float, rng: np.random.Generator) -> list[Tensor]:
    """A gradient of norm 1, which is best for an attacker, plus noise of ``share`` on each value."""
    norm = torch.stack([part.square().sum() for part in gradient]).sum().sqrt().clamp(min=1e-12)
    draws = [torch.from_numpy(rng.standard_normal(part.shape).astype(np.float32)) for part in gradient]
    return [part / norm + share * draw for part, draw in zip(gradient, draws, strict=True)]


def exact_linear(
    frames: Tensor, label: Tensor, original: Pictures, rng: np.random.Generator, noise: float = 0.0
) -> Inversion:
    """A clip's pictures from the gradient of a linear layer with bias, batch 1: no search, no error.

    With noise (see `noised`) what is found is cut to [0, 1].
    """
    layer = nn.Linear(frames.numel(), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rng.normal(0, 0.01, layer.weight.shape)))
        layer.bias.zero_()
    loss = F.binary_cross_entropy_with_logits(layer(frames.reshape(1, -1))[:, 0], label)
    gradient = gradient_of(loss, layer)
    weight, bias = noised(gradient, noise, rng) if noise else gradient
    found = invert_linear(weight, bias).reshape(frames.shape)
    name = "linear layer" + (NOISED if noise else "")
    pictures = _to_pictures(found.clamp(0, 1) if noise else found)
    return _judged(name, "dW / db" if noise else "exact: dW / db", pictures, original, None)


def small_convnet(rng: np.random.Generator) -> nn.Module:
    """Three convolutions with sigmoids: on this kind the attack is known to work (Zhu et al. 2019)."""
    network = nn.Sequential(
        nn.Conv2d(3, 12, 5, 2, 2),
        nn.Sigmoid(),
        nn.Conv2d(12, 12, 5, 2, 2),
        nn.Sigmoid(),
        nn.Conv2d(12, 12, 5, 1, 2),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(12 * (SIDE // 4) ** 2, 1),
        nn.Flatten(0),
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.from_numpy(rng.uniform(-0.5, 0.5, parameter.shape)))
    return network


def small_pictures(frames: NDArray[np.uint8]) -> Pictures:
    """Frames (frames, height, width, 3) scaled down to `SIDE`, in [0, 1]."""
    scaled = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames]
    return (np.stack(scaled) / 255).astype(np.float32)


def mean_picture(view: ShardView) -> Pictures:
    """The mean first frame of up to 64 clips, scaled down: what can be guessed without any gradient."""
    mean: Pictures = small_pictures(view.batch(slice(0, 64)).frames[:, 0]).mean(axis=0)
    return mean


def normalise(pictures: Tensor) -> Tensor:
    """(frames, 3, height, width) in [0, 1], as a network takes them."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pictures - mean) / std


def _descend(
    name: str,
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    frames: Tensor,
    descent: Descent,
    rng: np.random.Generator,
    advance: Callable[[int], None],
    noise: float,
) -> Inversion:
    observed = gradient_of(loss(frames), network)
    if noise:
        observed, name = noised(observed, noise, rng), name + NOISED
    found, distance = invert_gradient(network, loss, observed, frames.shape, rng, descent, advance)
    return _judged(name, "descent on the picture", _to_pictures(found), _to_pictures(frames), distance)


def _to_pictures(frames: Tensor) -> Pictures:
    return frames.permute(0, 2, 3, 1).numpy()


def _judged(
    network: str, method: str, pictures: Pictures, original: Pictures, distance: float | None
) -> Inversion:
    ratio = float(np.mean([psnr(one, other) for one, other in zip(pictures, original, strict=True)]))
    alike = float(np.mean([ssim(one, other) for one, other in zip(pictures, original, strict=True)]))
    return Inversion(network, method, ratio if np.isfinite(ratio) else None, alike, distance, pictures)
