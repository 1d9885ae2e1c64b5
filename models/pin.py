"""PinPoint (teacher) and PIN-Lite (student): audio-visual detectors with gated cross-attention.

Source: PIN-Lite paper skeleton, section 3 and Table 1. With 30 frames of 128x128 and 13 MFCC the
teacher has 14,998,732 parameters and the student 1,694,508, as published (57.32 and 6.62 MiB).

Shapes go through `int`, which changes nothing here; in an exported graph only the batch stays free
then, and no operator is left that computes shapes.
"""

import math
from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn

from models.output import DetectorOutput

NUM_OFFSETS = 11
"""Classes of the audio-offset head: -5 to +5 steps of the video."""


class VideoEncoder(nn.Module):
    """A 2-D backbone applied to each frame, pooled and projected to the embedding.

    Kept as a module of its own (no recurrence inside), so that its dependency graph can be traced
    and its channels pruned apart from the rest.
    """

    def __init__(self, backbone: nn.Module, num_features: int, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Linear(num_features, dim)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: (images, 3, height, width), normalised.

        Returns:
            (images, dim).
        """
        embedded: Tensor = self.projection(self.backbone(images).mean(dim=(2, 3)))
        return embedded


class AudioEncoder(nn.Module):
    """Two convolutions over time, LayerNorm, and a GRU: MFCC to tokens.

    Attributes:
        kept_units: places in the token that the GRU's units fill, rising; all of them unless units
            were removed. The other places hold zero, so that the token keeps its width.
    """

    def __init__(self, num_mfcc: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.kept_units = tuple(range(dim))
        self.conv1 = nn.Conv1d(num_mfcc, 64, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(64, 128, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(128)
        self.gru = nn.GRU(128, dim, batch_first=True)

    def forward(self, mfcc: Tensor) -> Tensor:
        """Encode (batch, audio_steps, num_mfcc) to (batch, audio_steps, dim)."""
        x = torch.relu(self.conv1(mfcc.transpose(1, 2)))
        x = torch.relu(self.conv2(x)).transpose(1, 2)
        tokens: Tensor = self.gru(self.norm(x))[0]
        return tokens if len(self.kept_units) == self.dim else self._spread(tokens)

    def _spread(self, tokens: Tensor) -> Tensor:
        """(..., units left) to (..., dim): each unit in its place, zero where one was removed."""
        unit_at = {place: unit for unit, place in enumerate(self.kept_units)}
        zero = len(self.kept_units)
        sources = torch.tensor([unit_at.get(place, zero) for place in range(self.dim)], device=tokens.device)
        return torch.cat([tokens, torch.zeros_like(tokens[..., :1])], dim=-1).index_select(-1, sources)


class Attention(nn.Module):
    """Multi-head attention with separate projections, so that whole heads can be removed.

    The number of heads is derived from the width of ``query``: no further state to keep in step.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.head_dim = dim // num_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        for linear in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    @property
    def num_heads(self) -> int:
        """Heads that are left."""
        return self.query.out_features // self.head_dim

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from ``queries`` to ``keys``.

        Args:
            queries: (batch, num_queries, dim).
            keys: (batch, num_keys, dim), used as keys and values.

        Returns:
            The attended values, (batch, num_queries, dim), and the attention weights,
            (batch, num_heads, num_queries, num_keys).
        """
        num_queries, num_keys = int(queries.shape[1]), int(keys.shape[1])
        heads = (self.num_heads, self.head_dim)
        q = self.query(queries).reshape(-1, num_queries, *heads).transpose(1, 2)
        k = self.key(keys).reshape(-1, num_keys, *heads).transpose(1, 2)
        v = self.value(keys).reshape(-1, num_keys, *heads).transpose(1, 2)
        weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(self.head_dim), dim=-1)
        attended = (weights @ v).transpose(1, 2).reshape(-1, num_queries, math.prod(heads))
        return self.out(attended), weights


class GatedCrossAttentionBlock(nn.Module):
    """Audio tokens look at video tokens, are gated, look at each other, and pass a feed-forward."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.cross = Attention(dim, num_heads)
        self.gate = nn.Linear(dim, dim)
        self.self_attention = Attention(dim, num_heads)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)

    def forward(self, audio: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        """One block.

        Args:
            audio: (batch, audio_steps, dim).
            video: (batch, video_frames, dim).

        Returns:
            The new audio tokens and the cross-attention averaged over heads,
            (batch, audio_steps, video_frames).
        """
        crossed, weights = self.cross(self.norm1(audio), self.norm1(video))
        audio = audio + crossed
        audio = audio * torch.sigmoid(self.gate(audio))
        normed = self.norm2(audio)
        audio = audio + self.self_attention(normed, normed)[0]
        audio = audio + self.contract(nn.functional.gelu(self.expand(self.norm2(audio))))
        return audio, weights.mean(dim=1)


class PinDetector(nn.Module):
    """PinPoint and PIN-Lite, which differ only in backbone and sizes."""

    def __init__(
        self,
        video: VideoEncoder,
        *,
        num_frames: int,
        num_mfcc: int,
        dim: int,
        num_heads: int,
        num_layers: int,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.video = video
        self.audio = AudioEncoder(num_mfcc, dim)
        self.video_position = nn.Parameter(torch.randn(num_frames, dim) * 0.02)
        self.blocks = nn.ModuleList(GatedCrossAttentionBlock(dim, num_heads) for _ in range(num_layers))
        self.head = nn.Linear(dim, 1)
        self.offset_head = nn.Linear(dim, NUM_OFFSETS)

    def forward(self, frames: Tensor, mfcc: Tensor, modalities: Tensor | None = None) -> DetectorOutput:
        """Classify clips.

        Args:
            frames: (batch, num_frames, 3, height, width), normalised RGB.
            mfcc: (batch, audio_steps, num_mfcc), standardised; any number of steps.
            modalities: (batch, 2), 1 where the clip has video and where it has audio, else 0; what an
                absent modality's input holds does not matter. None: all present.

        Returns:
            Logits (batch,), positive for fake, the last block's cross-attention
            (batch, audio_steps, num_frames), and the offset logits (batch, 11). Without audio the
            attention's queries are the steps' positions; without video its keys are the frames'.
        """
        return self.fuse(*self.encode(frames, mfcc, modalities))

    def encode(self, frames: Tensor, mfcc: Tensor, modalities: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens of each modality before they meet; zero where it is absent.

        Returns:
            Video tokens (batch, num_frames, dim) and audio tokens (batch, audio_steps, dim).
        """
        if modalities is None:
            return self._see(frames), self.audio(mfcc)
        if self.training:
            seen, heard = modalities.unbind(dim=1)
            video = self._encode_present(self._see, frames, seen)
            return video, self._encode_present(self.audio, mfcc, heard)
        video, audio = self._see(frames), self.audio(mfcc)
        seen, heard = modalities[:, :1].unsqueeze(2), modalities[:, 1:].unsqueeze(2)
        return video * seen.to(video.dtype), audio * heard.to(audio.dtype)

    def _encode_present(self, encoder: Callable[[Tensor], Tensor], inputs: Tensor, present: Tensor) -> Tensor:
        """Encode only the clips that have the modality: for training, where BatchNorm learns from them.

        Blank pictures would spoil its statistics. An encoder that meets no clip gets no gradient.

        Args:
            encoder: turns (clips, places, ...) into tokens (clips, places, dim).
            inputs: (batch, places, ...).
            present: (batch,), 1 or 0.

        Returns:
            Tokens (batch, places, dim), zero where the modality is absent.
        """
        chosen = present > 0
        if bool(chosen.all()):
            return encoder(inputs)
        if not bool(chosen.any()):
            return inputs.new_zeros(len(inputs), inputs.shape[1], self.dim)
        some = encoder(inputs[chosen])
        tokens = some.new_zeros(len(inputs), *some.shape[1:])
        tokens[chosen] = some
        return tokens

    def _see(self, frames: Tensor) -> Tensor:
        num_frames, channels, height, width = (int(size) for size in frames.shape[1:])
        tokens: Tensor = self.video(frames.reshape(-1, channels, height, width))
        return tokens.reshape(-1, num_frames, self.dim)

    def fuse(self, video: Tensor, audio: Tensor) -> DetectorOutput:
        """Positions, gated cross-attention blocks, the mean over audio time, and the heads."""
        video = video + self.video_position
        audio = audio + sinusoidal_position(int(audio.shape[1]), self.dim).to(audio)
        weights = audio
        for block in self.blocks:
            audio, weights = block(audio, video)
        pooled = audio.mean(dim=1)
        return DetectorOutput(self.head(pooled).squeeze(-1), weights, self.offset_head(pooled))


def sinusoidal_position(num_steps: int, dim: int) -> Tensor:
    """Sinusoidal positions (Vaswani et al. 2017, section 3.5), (num_steps, dim); dim is even."""
    rate = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    angle = torch.arange(num_steps)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def resnet18_features(pretrained: bool | str) -> tuple[nn.Module, int]:
    """ResNet-18 without pooling and classifier (11,176,512 parameters), and its channels."""
    net = timm.create_model("resnet18", num_classes=0, global_pool="", **weights_from(pretrained))
    return net, 512


def mobilenetv3_small_features(pretrained: bool | str) -> tuple[nn.Module, int]:
    """MobileNetV3-Small up to its 576 channels (927,008 parameters), and its channels."""
    net = timm.create_model("mobilenetv3_small_100", **weights_from(pretrained))
    return nn.Sequential(net.conv_stem, net.bn1, net.blocks), 576


def weights_from(pretrained: bool | str) -> dict[str, Any]:
    """timm's arguments for no weights (False), its own download (True), or a local file (a path)."""
    if isinstance(pretrained, str):
        return {"pretrained": True, "pretrained_cfg_overlay": {"file": pretrained}}
    return {"pretrained": pretrained}
