"""Classifiers to and from the Hugging Face Hub.

What is published is a checkpoint's folder with a model card: what the model was trained on, what it reaches, and where
it ends. For the model alone `PPIClassifier` has `from_pretrained`, `save_pretrained` and `push_to_hub`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError

from ppi_lib.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ppi_lib.errors import InputError
from ppi_lib.files import make_folder, write_atomically
from ppi_lib.model import PPIClassifier

_FILES = ["model.safetensors", "config.json", "adapters.safetensors", "README.md"]
LIMITS = (
    "A probability is meant for pairs of which half interact; among all pairs of a proteome far fewer do.",
    "Metrics hold for proteins like those of the test; proteins unlike the training data are less sure.",
    "It sees sequences alone, no structure, cell or time. A high probability is no proof of a contact.",
)
_CARD = """---
library_name: ppi_lib
tags:
- biology
- protein-protein-interaction
- pytorch_model_hub_mixin
---

# {title}

Predicts from sequence whether two proteins interact: ppi_lib's v5 architecture, {layers} encoder layers, {width} wide,
{parameters:,} parameters.

```python
from ppi_lib.hub import load_published
from ppi_lib.model import PPIClassifier

checkpoint = load_published("{title}")           # the model, its embedder and its threshold
model = PPIClassifier.from_pretrained("{title}") # the model alone
```

## Data

{data}

Input: {embedding}. Residues after the {max_residues:,}th are cut off.

## Metrics

{metrics}

## Limits

{limits}
"""


def model_card(
    model: PPIClassifier,
    *,
    title: str = "owner/name",
    data: str = "Not stated.",
    embedding: str = "patches of residue embeddings; the embedder is not stated",
    metrics: Mapping[str, float | str] | None = None,
    limits: Sequence[str] = LIMITS,
) -> str:
    """Return the card of a model, in Markdown; what isn't given is said to be not stated."""
    values = {name: value if isinstance(value, str) else f"{value:.3f}" for name, value in (metrics or {}).items()}
    rows = [f"| {name} | {value} |" for name, value in values.items()]
    return _CARD.format(
        title=title,
        **vars(model.config),
        parameters=sum(p.numel() for p in model.parameters()),
        data=data,
        embedding=embedding,
        metrics="\n".join(["| metric | value |", "|---|---|", *rows]) if rows else "Not stated.",
        limits="\n".join(f"- {limit}" for limit in limits),
    )


def publish_checkpoint(
    checkpoint: Checkpoint,
    folder: str | Path,
    *,
    metrics: Mapping[str, float | str],
    data: str | None = None,
    limits: Sequence[str] = (),
    repo_id: str | None = None,
    private: bool = True,
) -> Path:
    """Write a checkpoint with a model card to `folder`, and return it; with `repo_id` push it to the Hub as well.

    `metrics` are those of the test, e.g. `{"test AUROC": "0.670 [0.653, 0.685]"}`; `data` says what the model was
    trained and tested on, by default the dataset of the provenance; `limits` come on top of `LIMITS`. The provenance
    is published as it is: look at it first. To push, log in with `hf auth login`.
    """
    data = data or checkpoint.provenance.get("dataset")
    if not metrics or not data:
        missing = "metrics" if not metrics else "data"
        raise InputError(f"{missing} is empty; expected what the model card shall say. Give {missing}=...")
    card = make_folder(folder) / "README.md"
    if card.exists() and "library_name: ppi_lib" not in card.read_text(encoding="utf-8"):
        raise InputError(f"{card}: a file that is no model card of ours. Choose another folder, or move it away.")
    info = checkpoint.embedding
    text = model_card(
        checkpoint.model,
        title=repo_id or Path(folder).name,
        data=data,
        embedding=f"`{info.embedder}` version {info.version}, {info.width} wide, patches of {info.patch} residues",
        metrics={**metrics, "threshold of the probability (fixed on validation pairs)": checkpoint.called_from},
        limits=[*LIMITS, *limits],
    )
    save_checkpoint(checkpoint, folder)
    write_atomically(card, lambda path: path.write_text(text, encoding="utf-8"))
    if repo_id is not None:
        _push(folder, repo_id, private)
    return Path(folder)


def _push(folder: str | Path, repo_id: str, private: bool) -> None:
    api = HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=_FILES, delete_patterns=_FILES)
    except (OSError, HTTPError, HFValidationError) as error:
        raise InputError(
            f"repo_id is {repo_id!r}: not pushed ({error}). Log in with `hf auth login`, check the network and the "
            f"name; the files lie in {folder}."
        ) from error


def fetch(place: str | Path, **options: Any) -> Path:
    """Return the folder `place`, or download the Hub's repository of that name with the `options` of its download."""
    if Path(place).is_dir():
        return Path(place)
    try:
        return Path(snapshot_download(str(place), allow_patterns=_FILES, **options))
    except (OSError, HTTPError, HFValidationError) as error:
        raise InputError(
            f"{place}: there is no such folder, and the Hub gave no repository of this name ({type(error).__name__}). "
            "Check the name. Without a network, set HF_HUB_OFFLINE=1 to use what was downloaded before, or copy "
            "model.safetensors and config.json to a folder by hand and give the folder."
        ) from error


def load_published(place: str | Path, *, revision: str | None = None, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint from a folder or from a repository `owner/name` of the Hub; `revision` is a commit or tag."""
    return load_checkpoint(fetch(place, revision=revision), device=device)
