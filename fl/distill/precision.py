"""The number format of forward passes."""

from contextlib import AbstractContextManager, nullcontext

import torch


def has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def autocast(precision: str) -> AbstractContextManager[object]:
    """The context of a forward pass: "bfloat16" (mixed), or "float32"."""
    if precision == "bfloat16":
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()


def resolve_precision(precision: str) -> str:
    """ "auto" becomes bfloat16 where the CPU has it in hardware, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_fast_bfloat16() else "float32"
