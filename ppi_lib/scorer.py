"""`PairScorer`: the logits of pairs from their proteins' factors.

A chunk of pairs goes through each step at once, as large matrix products into buffers that are used again. Where a
pair needs one protein's numbers, its pairs are taken together: on each side the pairs stand in groups of one protein,
and groups of equal size are one batched product. Any list of pairs can be scored; it is fastest when every protein of
a chunk has many pairs there (32 proteins against 32).

The choice worth knowing: in bfloat16 only what goes into a product is rounded; the residual stream, the attention,
the norms and the end of the head are float32.

Shape letters: B pairs of a chunk, G groups of M pairs each (a group: the pairs of one protein on one side), P patches,
D model width, F feed-forward width, H heads, C width of a head. Masks: True = real, False = padding.
"""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ppi_lib.factors import Factors
from ppi_lib.model import CrossAttention, CrossAttentionLayer, PPIClassifier

CHUNK = 1024
"""Pairs that go through a step at once: on a CPU their activations stay in the last cache."""
_GROUPS = 64


class _Run(NamedTuple):
    """Some groups of equal size, one after another."""

    proteins: Int[Tensor, " G"]
    pairs: slice


class _Side(NamedTuple):
    """One protein of each pair of a chunk, and the order in which its pairs stand in groups."""

    order: Int[Tensor, " B"] | None
    """None: they do already."""
    back: Int[Tensor, " B"] | None
    runs: list[_Run]

    def gather(self, x: Tensor) -> Tensor:
        """Bring rows in the order of pairs into groups."""
        return x if self.order is None else x.index_select(0, self.order)

    def restore(self, x: Tensor) -> Tensor:
        """Bring rows in groups into the order of pairs."""
        return x if self.back is None else x.index_select(0, self.back)


def _make_side(places: Int[Tensor, " B"], counts: Int[Tensor, " N"], device: torch.device) -> _Side:
    """Put groups of equal size side by side, and among them those of like length."""
    proteins, group, sizes = torch.unique(places, return_inverse=True, return_counts=True)
    by_length = torch.argsort(counts[proteins], stable=True)
    ordered = by_length[torch.argsort(sizes[by_length], stable=True)]
    order = torch.argsort(torch.argsort(ordered)[group], stable=True)
    proteins, sizes = proteins[ordered], sizes[ordered]
    runs, start = [], 0
    for same in proteins.split(torch.unique_consecutive(sizes, return_counts=True)[1].tolist()):
        for part in same.split(_GROUPS):
            end = start + len(part) * int((places == part[0]).sum())
            runs.append(_Run(part, slice(start, end)))
            start = end
    if torch.equal(order, torch.arange(len(order))):
        return _Side(None, None, runs)
    return _Side(order.to(device), torch.argsort(order).to(device), runs)


class _Scored(NamedTuple):
    """The scores of each pair's query on one protein's tokens, as a softmax that is not yet divided by its sum."""

    largest: Float[Tensor, "B H"]
    total: Float[Tensor, "B H"]
    """Sum of the exponentials of the scores less the largest."""
    runs: list[tuple[Float[Tensor, "G H M P"], Float[Tensor, "G H P C"]]]
    """Those exponentials and the values, in groups."""


class _Weights(NamedTuple):
    """A linear layer in the precision of the products."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


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
        self.linears = {
            module: _Weights(module.weight.to(dtype), module.bias.to(dtype))
            for module in (*model.interaction.modules(), model.head[0])
            if isinstance(module, nn.Linear)
        }
        for attention in (layer.attention for layer in self.layers):
            merged = self.linears[attention.out_proj].weight, _context_bias(attention).to(dtype)
            self.linears[attention.out_proj] = _Weights(*merged)
        first = self.layers[0].attention
        self.base = model.interaction.cls_int + _context_bias(first)
        self.out = first.out_proj.weight.float().unflatten(1, (self.heads, -1)).permute(1, 2, 0).contiguous()
        self.buffers = threading.local()

    def _buffer(self, name: str, rows: int, width: int, dtype: torch.dtype) -> Tensor:
        """Return memory that the next chunk of this thread will use again."""
        held = getattr(self.buffers, name, None)
        if held is None or len(held) < rows:
            held = torch.empty(max(rows, CHUNK), width, dtype=dtype, device=self.device)
            setattr(self.buffers, name, held)
        return held[:rows]

    @torch.inference_mode()
    def score(self, factors: Factors, a: Int[Tensor, " B"], b: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Return the logits, float32, of one chunk of pairs; fastest sorted by `a`."""
        sides = [_make_side(places, factors.counts, self.device) for places in (a, b)]
        log_sums = (factors.log_sums.index_select(0, places.to(self.device)) for places in (a, b))
        share = torch.sub(*log_sums).sigmoid_()
        x = self._read_first(factors, sides, share)
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

    def _read_first(self, factors: Factors, sides: list[_Side], share: Float[Tensor, "B H"]) -> Float[Tensor, "B D"]:
        """Return the query after the first attention: both proteins' mean values, merged head by head."""
        parts = []
        for side, weights, base in zip(sides, (share, 1 - share), (self.base, 0 * self.base), strict=True):
            weights = side.gather(weights)
            x = self._buffer(f"x{len(parts)}", len(weights), len(base), torch.float32)
            for proteins, pairs in side.runs:
                values = factors.values[proteins.to(self.device)].unflatten(1, (self.heads, -1)).transpose(0, 1)
                outs = torch.bmm(values, self.out).transpose(0, 1).contiguous()
                group = (len(proteins), -1)
                torch.baddbmm(base, weights[pairs].unflatten(0, group), outs, out=x[pairs].unflatten(0, group))
            parts.append(side.restore(x))
        return parts[0].add_(parts[1])

    def _feed_forward(self, layer: CrossAttentionLayer, x: Float[Tensor, "B D"]) -> None:
        """Add the feed-forward of x to x."""
        network = layer.feedforward
        for part in x.split(CHUNK):
            first, second = self.linears[network.linear1], self.linears[network.linear2]
            hidden = self._buffer("hidden", len(part), len(first.bias), self.dtype)
            torch.addmm(first.bias, layer.norm2(part).to(self.dtype), first.weight.T, out=hidden)
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

    def _read_later(self, layer, factors: Factors, number: int, sides: list[_Side], x: Float[Tensor, "B D"]) -> None:
        """Add the attention of x to both proteins to x, merged by the log-sum-exp of each."""
        query = self.linears[layer.attention.q_proj](layer.norm1(x).to(self.dtype))
        scored = [self._score(side, query, factors, number) for side in sides]
        a, b = (part.largest + part.total.log() for part in scored)
        share = (a - b).sigmoid_()
        shares = (share / scored[0].total, (1 - share) / scored[1].total)
        a, b = (self._read(*parts, query.shape[1]) for parts in zip(sides, scored, shares, strict=True))
        x.add_(self.linears[layer.attention.out_proj](a.add_(b).to(self.dtype)))

    def _score(self, side: _Side, query: Float[Tensor, "B D"], factors: Factors, number: int) -> _Scored:
        """Hold each pair's query against the keys of its protein on one side; small products, so in float32."""
        query, runs = side.gather(query), []
        largest, total = (query.new_empty(len(query), self.heads, dtype=torch.float32) for _ in range(2))
        for proteins, pairs in side.runs:
            rows, mask = (tensor.to(self.device) for tensor in _rows_of(factors, proteins))
            key, value = (
                table[number].index_select(0, rows.flatten()).float().view(*rows.shape, self.heads, -1).transpose(1, 2)
                for table in (factors.keys, factors.later_values)
            )
            grouped = query[pairs].view(len(proteins), -1, self.heads, key.shape[-1]).transpose(1, 2)
            grouped = grouped.to(torch.float32, memory_format=torch.contiguous_format)
            scores = (grouped @ key.transpose(2, 3)).mul_(key.shape[-1] ** -0.5)
            scores.masked_fill_(~mask[:, None, None], -torch.inf)
            most = scores.amax(dim=-1, keepdim=True)
            runs.append((scores.sub_(most).exp_(), value))
            largest[pairs] = most[..., 0].transpose(1, 2).flatten(0, 1)
            total[pairs] = scores.sum(dim=-1).transpose(1, 2).flatten(0, 1)
        return _Scored(side.restore(largest), side.restore(total), runs)

    def _read(self, side: _Side, scored: _Scored, share: Float[Tensor, "B H"], width: int) -> Float[Tensor, "B D"]:
        """Return the values of each pair's protein on one side, weighted by scores and share."""
        context, share = share.new_empty(len(share), width), side.gather(share)
        for (proteins, pairs), (weights, value) in zip(side.runs, scored.runs, strict=True):
            group = (len(proteins), -1, self.heads)
            weights.mul_(share[pairs].view(*group, 1).transpose(1, 2))
            context[pairs].view(*group, value.shape[-1]).copy_((weights @ value).transpose(1, 2))
        return side.restore(context)

    def _head(self, x: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """Return the logits; of the head only the first product is worth rounding."""
        for module in self.model.head:
            if module in self.linears:
                x = self.linears[module](x.to(self.dtype)).float()
            elif not isinstance(module, nn.Dropout):
                x = module(x)
        return x.squeeze(-1)


def _rows_of(factors: Factors, proteins: Int[Tensor, " G"]) -> tuple[Int[Tensor, "G P"], Bool[Tensor, "G P"]]:
    """Return the rows of the tokens of some proteins, padded to the longest of them, and which are real."""
    counts = factors.counts[proteins, None]
    column = torch.arange(int(counts.max()))
    mask = column < counts
    return torch.where(mask, factors.starts[proteins, None] + column, 0), mask
