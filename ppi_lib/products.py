"""The large matrix products of a screening, in its precision and in the order in which the processor multiplies.

A bfloat16 product on a CPU first puts the weight into the order of the processor's matrix units. `Product` does that
once. (oneDNN through the operators that torch's own compiler calls; where they are missing it is `F.linear`.)

Shape letters: I and O input and output width.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class Product:
    """`x @ weight.T + bias` in `dtype`; `rows` is how many rows of x usually come."""

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"], dtype: torch.dtype, rows: int):
        self.weight, self.bias = weight.to(dtype), bias.to(dtype)
        self.packed = pack(self.weight, rows)

    def __call__(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        if self.packed is None:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


def pack(weight: Float[Tensor, "O I"], rows: int) -> Tensor | None:
    """Return a bfloat16 weight in oneDNN's order; None where that is not to be had, or another precision."""
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        return None
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return None
        return torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    except (AttributeError, RuntimeError):  # a torch without oneDNN
        return None
