"""`PairScorer`: the logits of pairs from their proteins' factors.

A chunk of pairs goes through each step at once, as large matrix products. Where a pair needs one protein's numbers, its
pairs are taken together (`grouping.py`). Any list of pairs can be scored; it is fastest when a chunk is a grid (32
proteins against 32).

The choice worth knowing: in bfloat16 only what goes into a product is rounded, and what comes out of one; the residual
stream, the softmax, the norms and the end of the head are float32.

Shape letters: B pairs of a chunk, G groups of M pairs each (a group: the pairs of one protein on one side), P patches,
D model width, F feed-forward width, H heads, C width of a head. Masks: True = real, False = padding.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ppi_lib.factors import Factors
from ppi_lib.grouping import Grid, Listed, group_pairs
from ppi_lib.model import CrossAttention, CrossAttentionLayer, PPIClassifier
from ppi_lib.products import Product

CHUNK = 1024
"""Pairs that go through a step at once: on a CPU their activations stay in the last cache."""
Sides = tuple[Grid, Grid] | tuple[Listed, Listed]


class _Scored(NamedTuple):
    """The scores of each pair's query on one protein's tokens, as a softmax that is not yet divided by its sum."""

    largest: Float[Tensor, "B H"]
    total: Float[Tensor, "B H"]
    """Sum of the exponentials of the scores less the largest."""
    runs: list[tuple[Float[Tensor, "G H M P"], Float[Tensor, "G H P C"]]]
    """Those exponentials and the values, in groups."""


def _context_bias(attention: CrossAttention) -> Float[Tensor, " D"]:
    """Return what an attention adds whatever it reads: the bias of the values passes through the softmax."""
    return attention.out_proj.bias + attention.out_proj.weight @ attention.v_proj.bias


class PairScorer:
    """Scores pairs of proteins given by their places in `Factors`.

    It holds the model's weights in `dtype`; make a new one when the model has learnt.
    """

    @torch.inference_mode()
    def __init__(self, model: PPIClassifier, dtype: torch.dtype = torch.float32):
        self.dtype, self.device = dtype, model.interaction.cls_int.device
        self.model, self.heads = model, model.config.cross_heads
        self.layers = list(model.interaction.layers)
        self.products = {
            module: Product(module.weight, module.bias, dtype, CHUNK)
            for module in (*model.interaction.modules(), model.head[0])
            if isinstance(module, nn.Linear)
        }
        for attention in (layer.attention for layer in self.layers):
            merged = attention.out_proj.weight, _context_bias(attention)
            self.products[attention.out_proj] = Product(*merged, dtype, CHUNK)
        first = self.layers[0].attention
        self.base = model.interaction.cls_int + _context_bias(first)
        self.out = first.out_proj.weight.float().unflatten(1, (self.heads, -1)).permute(1, 2, 0).contiguous()

    @torch.inference_mode()
    def score(self, factors: Factors, a: Int[Tensor, " B"], b: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Return the logits, float32, of one chunk of pairs; fastest sorted by `a`."""
        sides = group_pairs(a, b, factors.counts, self.device)
        log_sums = (factors.log_sums.index_select(0, places.to(self.device)) for places in (a, b))
        x = self._read_first(factors, sides, torch.sub(*log_sums).sigmoid_())
        self._feed_forward(self.layers[0], x)
        for number, layer in enumerate(self.layers[1:]):
            self._read_later(layer, factors, number, sides, x)
            self._feed_forward(layer, x)
        return self._head(self.model.interaction.norm(x))

    def score_all(
        self, factors: Factors, chunks: Iterable[tuple[Int[Tensor, " _"], Int[Tensor, " _"]]]
    ) -> Iterator[Float[Tensor, " _"]]:
        """Yield the logits of each chunk, on the CPU, in order.

        On a CPU each of torch's threads scores chunks of its own on one core, so that no small step leaves the others
        waiting.
        """
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        if threads == 1:
            yield from (self.score(factors, a, b).cpu() for a, b in chunks)
            return
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                torch.set_num_threads(1)
                yield from pool.map(lambda pair: self.score(factors, *pair), chunks)
            finally:
                pool.shutdown(cancel_futures=True)
                torch.set_num_threads(threads)

    def _read_first(self, factors: Factors, sides: Sides, share: Float[Tensor, "B H"]) -> Float[Tensor, "B D"]:
        """Return the query after the first attention: both proteins' mean values, merged head by head."""
        x = self.base.repeat(len(share), 1)
        for side, weights in zip(sides, (share, 1 - share), strict=True):
            parts = []
            for proteins, grouped in zip(side.runs, side.groups(weights), strict=True):
                values = factors.values[proteins.to(self.device)].unflatten(1, (self.heads, -1)).transpose(0, 1)
                parts.append(torch.bmm(grouped, torch.bmm(values, self.out).transpose(0, 1)))
            side.add(x, parts)
        return x

    def _feed_forward(self, layer: CrossAttentionLayer, x: Float[Tensor, "B D"]) -> None:
        """Add the feed-forward of x to x."""
        first, second = (self.products[linear] for linear in (layer.feedforward.linear1, layer.feedforward.linear2))
        for part in x.split(CHUNK):
            hidden = first(layer.norm2(part).to(self.dtype))
            self._activate(hidden)
            if self.dtype == torch.float32:
                part.add_(second.bias).addmm_(hidden, second.weight.T)
            else:
                part.add_(second(hidden))

    def _activate(self, hidden: Float[Tensor, "B F"]) -> None:
        if self.model.config.activation == "gelu":
            torch.ops.aten.gelu_(hidden)
        else:
            hidden.relu_()

    def _read_later(self, layer, factors: Factors, number: int, sides: Sides, x: Float[Tensor, "B D"]) -> None:
        """Add the attention of x to both proteins to x, merged by the log-sum-exp of each."""
        query = self.products[layer.attention.q_proj](layer.norm1(x).to(self.dtype))
        scored = [self._score(side, query, factors, number) for side in sides]
        a, b = (part.largest + part.total.log() for part in scored)
        share = (a - b).sigmoid_()
        context = torch.zeros_like(query)
        for side, part, weight in zip(sides, scored, (share, 1 - share), strict=True):
            side.add(context, self._read(side, part, weight / part.total))
        x.add_(self.products[layer.attention.out_proj](context))

    def _score(self, side: Grid | Listed, query: Float[Tensor, "B D"], factors: Factors, number: int) -> _Scored:
        """Hold each pair's query against the keys of its protein on one side."""
        largest, total, runs = [], [], []
        for proteins, grouped in zip(side.runs, side.groups(query), strict=True):
            rows, mask = (tensor.to(self.device) for tensor in _rows_of(factors, proteins))
            key, value = (
                table[number].index_select(0, rows.flatten()).view(*rows.shape, self.heads, -1).transpose(1, 2)
                for table in (factors.keys, factors.later_values)
            )
            grouped = grouped.unflatten(2, (self.heads, -1)).transpose(1, 2).contiguous()
            scores = (grouped @ key.transpose(2, 3)).float().mul_(key.shape[-1] ** -0.5)
            scores.masked_fill_(~mask[:, None, None], -torch.inf)
            most = scores.amax(dim=-1, keepdim=True)
            runs.append((scores.sub_(most).exp_(), value))
            largest.append(most[..., 0].transpose(1, 2))
            total.append(scores.sum(dim=-1).transpose(1, 2))
        return _Scored(side.spread(largest), side.spread(total), runs)

    def _read(self, side: Grid | Listed, scored: _Scored, share: Float[Tensor, "B H"]) -> list[Float[Tensor, "G M D"]]:
        """Return the values of each pair's protein on one side, weighted by scores and share, in groups."""
        parts = []
        for (weights, value), grouped in zip(scored.runs, side.groups(share), strict=True):
            weights = weights.mul_(grouped.transpose(1, 2)[..., None]).to(value.dtype)
            parts.append((weights @ value).transpose(1, 2).flatten(2))
        return parts

    def _head(self, x: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """Return the logits; of the head only the first product is worth rounding."""
        for module in self.model.head:
            if module in self.products:
                x = self.products[module](x.to(self.dtype)).float()
            elif not isinstance(module, nn.Dropout):
                x = module(x)
        return x.squeeze(-1)


def _rows_of(factors: Factors, proteins: Int[Tensor, " G"]) -> tuple[Int[Tensor, "G P"], Bool[Tensor, "G P"]]:
    """Return the rows of the tokens of some proteins, padded to the longest of them, and which are real."""
    counts = factors.counts[proteins, None]
    column = torch.arange(int(counts.max()))
    mask = column < counts
    return torch.where(mask, factors.starts[proteins, None] + column, 0), mask
