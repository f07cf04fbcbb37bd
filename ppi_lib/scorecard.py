"""Which method of attribution to trust: all measures of faithfulness over many pairs, with intervals.

Intervals draw proteins, not pairs, as `resample` says.

Shape letters: B pairs, T patches of both proteins, M measures, S draws.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from tqdm.auto import tqdm

from ppi_lib.attribute import explain_pairs, read_batches
from ppi_lib.attribution import METHODS, AttributionConfig, score_patches
from ppi_lib.errors import InputError
from ppi_lib.explained import PatchAttribution
from ppi_lib.faithfulness import FRACTIONS, remove_at_random, remove_by_score, sensitivity
from ppi_lib.model import PPIClassifier
from ppi_lib.pair_inputs import Baseline, Pair, Source, as_read
from ppi_lib.resample import draw_counts

RATIOS = {"comprehensiveness_ratio": ("comprehensiveness", "comprehensiveness_random")}
_RANKED = {"comprehensiveness": False, "sufficiency": True, "deletion": True, "insertion": False, "infidelity": True}
"""What decides the default, and whether less is better. Sensitivity says how steady a map is, not how true."""


class Scorecard(NamedTuple):
    table: pd.DataFrame
    """A row for each `method` and `measure`: `value`, `low`, `high`."""
    pairs: pd.DataFrame
    """A row for each pair and method, with each measure."""
    curves: pd.DataFrame
    """Mean logit by `method` and `fraction`: `deletion` and `insertion`."""
    agreement: pd.DataFrame
    """Mean rank correlation of the methods' scores, method by method."""
    default: str
    """The method with the best mean rank over comprehensiveness, sufficiency, deletion, insertion and infidelity."""


def rank_correlation(first: Float[np.ndarray, " T"], second: Float[np.ndarray, " T"]) -> float:
    """Return Spearman's correlation; NaN if all scores of one are the same."""
    ranks = [pd.Series(scores).rank() for scores in (first, second)]
    return float(ranks[0].corr(ranks[1])) if all(r.nunique() > 1 for r in ranks) else float("nan")


def drawn_means(
    values: Float[np.ndarray, "B M"], pairs: Sequence[Pair], *, draws: int = 1000, seed: int = 0
) -> Float[np.ndarray, "S M"]:
    """Return the means over pairs, first as they are and then over drawn proteins; NaN doesn't count."""
    _, numbers = np.unique(np.array(pairs, dtype=str).ravel(), return_inverse=True)
    first, second = numbers.reshape(-1, 2).T
    known, filled, means = ~np.isnan(values), np.nan_to_num(values), []
    for counts in draw_counts(int(numbers.max()) + 1, len(pairs), draws, seed):
        weights = counts[:, first] * np.where(first == second, 1, counts[:, second])
        with np.errstate(invalid="ignore"):
            means.append((weights @ filled) / (weights @ known))
    return np.concatenate(means)


def summarise(rows: pd.DataFrame, measures: Sequence[str], *, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Return `value`, `low` and `high` (95%) of the mean of each of `measures` by `method`, and of `RATIOS`."""
    found = []
    for method, part in rows.groupby("method", sort=False):
        pairs = list(zip(part["protein_a"], part["protein_b"], strict=True))
        drawn = drawn_means(part[list(measures)].to_numpy(float), pairs, draws=draws, seed=seed)
        means = dict(zip(measures, drawn.T, strict=True))
        means |= {name: means[a] / means[b] for name, (a, b) in RATIOS.items() if a in means and b in means}
        for measure, (value, *others) in means.items():
            if np.isnan(value):  # random scores have no sensitivity
                continue
            low, high = np.nanquantile(others, [0.025, 0.975])
            found.append({"method": method, "measure": measure, "value": value, "low": low, "high": high})
    return pd.DataFrame(found)


def choose_default(table: pd.DataFrame) -> str:
    """Return the method with the best mean rank over what tells faithfulness."""
    values = table.pivot(index="method", columns="measure", values="value")
    ranks = [values[name].rank(ascending=less) for name, less in _RANKED.items()]
    return str(pd.concat(ranks, axis=1).mean(axis=1).idxmin())


def _agreement(scores: Mapping[str, list[np.ndarray]]) -> pd.DataFrame:
    table = pd.DataFrame(1.0, index=list(scores), columns=list(scores))
    for first in scores:
        for second in scores:
            both = [rank_correlation(*pair) for pair in zip(scores[first], scores[second], strict=True)]
            table.loc[first, second] = np.nanmean(both) if not np.isnan(both).all() else np.nan
    return table


def score_methods(
    model: PPIClassifier,
    source: Source,
    pairs: Sequence[Pair],
    methods: Sequence[str] = METHODS,
    *,
    baseline: Baseline = "protein",
    config: AttributionConfig = AttributionConfig(),
    draws: int = 1000,
    progress: bool = True,
) -> Scorecard:
    """Measure how faithful each of `methods` is on `pairs`, which should be pairs that the model calls interacting.

    Scores drawn at random stand beside them as the method `random`.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise InputError(f"methods hold {unknown or 'nothing'}; expected some of {', '.join(METHODS)}.")
    rows, curves, scores = [], [], {method: [] for method in (*methods, "random")}
    generator = torch.Generator().manual_seed(config.seed)
    bar = tqdm(total=len(pairs), desc="scorecard", unit="pair", disable=not progress)
    with as_read(model) as model:
        for batch in read_batches(model, source, pairs, baseline=baseline, config=config):
            x, chance = batch.patches, remove_at_random(model, batch.patches, config)
            for method in scores:
                if method == "random":
                    found = torch.rand(x.real.shape, generator=generator).to(x.a.device) * x.real
                else:
                    found = score_patches(model, x, batch.tokens, method, config).scores
                removal, numbers = remove_by_score(model, x, found, config), {}
                if method != "random":
                    numbers["sensitivity"] = sensitivity(model, x, found, method, config)
                numbers = {**removal.numbers(), "infidelity": chance.infidelity(found), **numbers}
                rows.append(_rows(batch, method, numbers))
                curves.append(_curves(method, removal))
                scores[method] += [row[real].cpu().numpy() for row, real in zip(found, x.real, strict=True)]
            bar.update(len(x.pairs))
    bar.close()
    return _assemble(rows, curves, scores, draws, config.seed)


def _rows(batch, method: str, numbers: Mapping[str, torch.Tensor]) -> pd.DataFrame:
    names = [(where.protein_a, where.protein_b) for where in batch.coordinates]
    table = pd.DataFrame(names, columns=["protein_a", "protein_b"]).assign(method=method)
    return table.assign(**{name: values.cpu().numpy() for name, values in numbers.items()})


def _curves(method: str, removal) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "method": method,
            "fraction": np.repeat(FRACTIONS, removal.full.shape[0]),
            "deletion": removal.deletion.flatten().cpu().numpy(),
            "insertion": removal.insertion.flatten().cpu().numpy(),
        }
    )


def _assemble(rows, curves, scores, draws: int, seed: int) -> Scorecard:
    every = pd.concat(rows, ignore_index=True)
    measures = [name for name in every if name not in ("protein_a", "protein_b", "method")]
    table = summarise(every, measures, draws=draws, seed=seed)
    means = pd.concat(curves).groupby(["method", "fraction"], sort=False, as_index=False).mean()
    real = {method: found for method, found in scores.items() if method != "random"}
    return Scorecard(table, every, means, _agreement(real), choose_default(table[table["method"] != "random"]))


def randomised(model: PPIClassifier, seed: int = 0) -> PPIClassifier:
    """Return a model of the same sizes whose every weight is drawn anew (Adebayo et al. 2018, arXiv:1810.03292).

    A map that it gives as well tells of the proteins, not of what the model learned. Only the standardisation of the
    input is kept.
    """
    with torch.random.fork_rng():
        torch.manual_seed(10**9 + seed)  # a frozen encoder was drawn with a small seed: never the same one again
        other = PPIClassifier(model.config)
    for name in ("input_mean", "input_scale"):
        getattr(other.encoder.patch_embedding, name).copy_(getattr(model.encoder.patch_embedding, name))
    return other.to(model.encoder.cls_token.device).eval()


def compare_maps(first: Sequence[PatchAttribution], second: Sequence[PatchAttribution]) -> Float[np.ndarray, " B"]:
    """Return the rank correlation of two attributions of each pair, such as those of a model and of `randomised`."""
    return np.array([rank_correlation(one.scores, two.scores) for one, two in zip(first, second, strict=True)])


def swap_partners(
    model: PPIClassifier, source: Source, pairs: Sequence[Pair], partners: Sequence[str], method: str, **options
) -> pd.DataFrame:
    """Ask whether the map of A depends on its partner: explain (A, B), and (A, the partner of the same row).

    Columns: `protein_a`, `protein_b`, `partner`, both logits, `correlation` (of the ranks of A's scores) and `change`
    (how far A's scores move, over their length).
    """
    given = explain_pairs(model, source, pairs, method, **options)
    swapped = [(a, partner) for (a, _), partner in zip(pairs, partners, strict=True)]
    rows = []
    for one, two in zip(given, explain_pairs(model, source, swapped, method, **options), strict=True):
        moved = np.linalg.norm(two.scores_a - one.scores_a) / max(float(np.linalg.norm(one.scores_a)), 1e-12)
        names = one.coordinates.protein_a, one.coordinates.protein_b, two.coordinates.protein_b
        correlation = rank_correlation(one.scores_a, two.scores_a)
        rows.append((*names, one.logit, two.logit, correlation, moved))
    columns = ["protein_a", "protein_b", "partner", "logit", "partner_logit", "correlation", "change"]
    return pd.DataFrame(rows, columns=columns)
