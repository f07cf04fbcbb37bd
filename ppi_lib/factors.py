"""Per-protein factors of the cross-attention: what a protein brings to every pair it is in, computed once.

The choice worth knowing: nothing here approximates. In the first cross-attention layer the query is the same for
all pairs, so a protein brings the log-sum-exp of its scores and the softmax-weighted mean of its values, and a pair
merges two of those; in later layers it brings keys and values, and the two partial softmaxes are merged by their
log-sum-exp. What is left for a pair is the feed-forwards. `scorer.py` does that part.

The biases of keys cancel in the softmax, and those of values pass through it; neither is in the factors.

Shape letters: N proteins, R patches of all of them, K later cross-attention layers (1 in v5), D model width, H heads,
C width of a head.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from ppi_lib.files import write_atomically
from ppi_lib.model import CrossAttention, PPIClassifier
from ppi_lib.store import PatchStore
from ppi_lib.tokens import TokenTable, encode_proteins

_PROTEINS = 512


class Factors(NamedTuple):
    """Factors of many proteins, in the order of `proteins`."""

    proteins: tuple[str, ...]
    counts: Int[Tensor, " N"]
    """Patches of each protein."""
    log_sums: Float[Tensor, "N H"]
    """First layer: log-sum-exp of the scores, float32."""
    values: Float[Tensor, "N D"]
    """First layer: softmax-weighted mean of the values, float32."""
    keys: Float[Tensor, "K R D"]
    later_values: Float[Tensor, "K R D"]

    @property
    def starts(self) -> Int[Tensor, " N"]:
        """First row of each protein in `keys` and `later_values`."""
        return self.counts.cumsum(0) - self.counts

    def places(self, proteins: Iterable[str]) -> Int[Tensor, " B"]:
        """Return the place of each protein."""
        index = {protein: i for i, protein in enumerate(self.proteins)}
        return torch.tensor([index[protein] for protein in proteins], dtype=torch.int64)

    def to(self, device: torch.device) -> "Factors":
        """Return the same on another device; `counts` stays on the CPU."""
        return Factors(self.proteins, self.counts, *(tensor.to(device) for tensor in self[2:]))


def join_factors(a: Factors, b: Factors) -> Factors:
    """Return the factors of two sets, those of `a` first."""
    rows = (torch.cat([x, y]) for x, y in zip(a[1:4], b[1:4], strict=True))
    return Factors(a.proteins + b.proteins, *rows, *(torch.cat(two, 1) for two in zip(a[4:], b[4:], strict=True)))


def save_factors(factors: Factors, path: Path) -> None:
    """Write factors to a safetensors file, in one step."""
    tensors = {name: value.cpu() for name, value in factors._asdict().items() if name != "proteins"}
    metadata = {"proteins": json.dumps(factors.proteins)}
    write_atomically(path, lambda target: save_file(tensors, target, metadata=metadata))


def load_factors(path: Path, device: torch.device) -> Factors:
    """Read what `save_factors` wrote."""
    with safe_open(path, framework="pt") as file:
        proteins = tuple(json.loads(file.metadata()["proteins"]))
        return Factors(proteins, *(file.get_tensor(name) for name in Factors._fields[1:])).to(device)


def first_query(model: PPIClassifier) -> Float[Tensor, "H C"]:
    """Return the first layer's query, the same for all pairs, divided by the root of its width."""
    layer = model.interaction.layers[0]
    query = layer.attention.q_proj(layer.norm1(model.interaction.cls_int))
    query = query.unflatten(0, (layer.attention.heads, -1))
    return query / query.shape[1] ** 0.5


def _first_layer(
    attention: CrossAttention, query: Float[Tensor, "H C"], table: TokenTable
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "N D"]]:
    """Return log-sum-exp of the scores and mean value of each protein."""
    key, value = (f.weight.unflatten(0, (attention.heads, -1)) for f in (attention.k_proj, attention.v_proj))
    token_query = torch.bmm(query[:, None], key)[:, 0]
    log_sums, means = [], []
    for tokens in table.rows[:-1].split(table.counts.tolist()):
        scores = tokens @ token_query.T
        log_sums.append(scores.logsumexp(0))
        means.append(scores.softmax(0).T @ tokens)
    values = torch.bmm(torch.stack(means, dim=1), value.transpose(1, 2))
    return torch.stack(log_sums), values.transpose(0, 1).flatten(1)


@torch.inference_mode()
def make_factors(model: PPIClassifier, tables: Iterable[TokenTable], rows: int, dtype: torch.dtype) -> Factors:
    """Compute the factors of the proteins of some tables with `rows` tokens in all; keys and values in `dtype`."""
    first, *later = (layer.attention for layer in model.interaction.layers)
    keys, values = torch.empty(
        2, len(later), rows, model.config.width, dtype=dtype, device=model.interaction.cls_int.device
    )
    query, parts, proteins, start = first_query(model), [], [], 0
    for table in tables:
        tokens = table.rows[:-1]
        parts.append((table.counts, *_first_layer(first, query, table)))
        proteins += table.index
        for number, attention in enumerate(later):
            for projection, out in ((attention.k_proj, keys), (attention.v_proj, values)):
                out[number, start : start + len(tokens)] = tokens @ projection.weight.T
        start += len(tokens)
    counts, log_sums, means = (torch.cat(part) for part in zip(*parts, strict=True))
    return Factors(tuple(proteins), counts, log_sums, means, keys, values)


def encode_factors(
    model: PPIClassifier, store: PatchStore, proteins: Sequence[str], dtype: torch.dtype, progress: bool = True
) -> Factors:
    """Encode proteins, each once, and compute their factors; the encoder runs in float32.

    It goes by a few hundred proteins, so that the tokens of all are never in memory together.
    """
    store.require(proteins)
    rows = sum(-(-store.length(protein) // store.info.patch) for protein in proteins)
    bar = tqdm(total=len(proteins), desc="encode", unit="protein", disable=not progress)

    def tables() -> Iterator[TokenTable]:
        for start in range(0, len(proteins), _PROTEINS):
            part = proteins[start : start + _PROTEINS]
            yield encode_proteins(model, store, part, progress=False)
            bar.update(len(part))

    factors = make_factors(model, tables(), rows, dtype)
    bar.close()
    return factors
