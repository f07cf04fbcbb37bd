"""Protein language models through transformers: ESM-C (`esmc_300m`, `esmc_600m`), ESM-2, or a folder with one.

A model gives one row per residue and one at each end, which are taken off. Proteins of like length share a batch under
an attention mask, so that neither batch nor order changes a result beyond rounding, and rows are pooled to patches as
they come: memory is that of one batch, whatever the number of proteins.

The choice worth knowing: an embedder's name follows from the model's architecture and its version from its weights,
never from where the files lay. So a model from the Hub and a copy of it in a folder are the same embedder.

Shape letters: B proteins, L residues, P patches, E embedding width.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import constants, get_session, snapshot_download
from jaxtyping import Float

from ppi_lib.encoder import pool_residues
from ppi_lib.errors import InputError
from ppi_lib.proteins import MAX_RESIDUES
from ppi_lib.shards import read_json
from ppi_lib.store import StoreInfo

MODELS = {
    "esmc_300m": "biohub/ESMC-300M-hf",
    "esmc_600m": "biohub/ESMC-600M-hf",
    "esm2_650m": "facebook/esm2_t33_650M_UR50D",
}
"""Names, and the Hub's repositories that they stand for."""
PRECISIONS = ("float32", "bfloat16")
_NAMES = {("esmc", 30, 960): "esmc_300m", ("esmc", 36, 1152): "esmc_600m", ("esm", 33, 1280): "esm2_650m"}
_FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "special_tokens_map.json", "vocab*"]
_BATCH_TOKENS = 8192
_PATIENCE = 5.0
_HUB_ID = r"[\w-][\w.-]*/[\w-][\w.-]*"


def is_place(name: str) -> bool:
    """Say whether `name` can be a language model: a name of ours, a folder, or a repository `owner/name`."""
    return name in MODELS or Path(name).is_dir() or bool(re.fullmatch(_HUB_ID, name))


def find_model(name: str) -> Path:
    """Return the folder with a model's files, downloaded from the Hub where they aren't there yet."""
    if Path(name).is_dir():
        return Path(name)
    repository = MODELS.get(name, name)
    try:
        folder = Path(snapshot_download(repository, allow_patterns=_FILES, local_files_only=True))
        if _weights(folder):
            return folder
    except (OSError, ValueError):  # nothing of it is in the cache
        pass
    reason = _reach_hub()
    if reason is None:
        try:
            return Path(snapshot_download(repository, allow_patterns=_FILES))
        except (OSError, ValueError, RuntimeError) as error:  # the Hub's errors are of all three kinds
            reason = f"{type(error).__name__}: {error}"
    raise InputError(
        f"{name}: the model {repository} couldn't be had from the Hugging Face Hub ({reason.splitlines()[0][:200]}). "
        "There are three ways on: give the folder of a copy in place of the name (--embedder FOLDER); download it on a "
        f"machine with a network (`hf download {repository} --local-dir FOLDER`) and bring the folder here; or use "
        "--embedder profile, which needs no model."
    )


def _reach_hub() -> str | None:
    """Return why the Hub can't be reached, None if it can; within seconds, where its client would try for a minute."""
    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    answer = [f"no answer within {_PATIENCE:.0f} seconds"]

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
            answer[0] = None
        except Exception as error:  # whichever the HTTP client raises, the download would fail as well
            answer[0] = f"{type(error).__name__}: {error}"

    thread = threading.Thread(target=ask, daemon=True)  # the look-up of a name has no time limit of its own
    thread.start()
    thread.join(_PATIENCE + 1)
    return answer[0]


def _weights(folder: Path) -> list[Path]:
    """Return the files with a model's weights, none if one of them is missing."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [file for file in (folder / "model.safetensors",) if file.is_file()]
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    files = [folder / name for name in names]
    return files if all(file.is_file() for file in files) else []


def _read_config(folder: Path) -> dict:
    """Return a model's configuration, or raise `InputError` if it is none that can be read here."""
    try:
        config = dict(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{folder}: no language model here (config.json: {error}). Give a folder as `save_pretrained` or "
            "`hf download` leaves it."
        ) from error
    kind = config.get("model_type")
    if kind not in ("esmc", "esm"):
        raise InputError(
            f"{folder}: a model of the architecture {kind!r}; expected ESM-C (esmc) or ESM-2 (esm). Choose another "
            "folder, or embed with that model's own tools and import the result (`ppi import`)."
        )
    # transformers fills what is missing with the sizes of a model of 6 billion parameters
    missing = [n for n in ("hidden_size", "num_hidden_layers", "num_attention_heads") if n not in config]
    if missing:
        raise InputError(
            f"{folder}: its config.json says nothing of {', '.join(missing)}; expected a model in transformers' own "
            "layout, such as biohub/ESMC-300M-hf. Download that one."
        )
    if kind == "esm" and config.get("position_embedding_type") != "rotary":
        raise InputError(
            f"{folder}: has positions for {config.get('max_position_embeddings')} tokens; expected rotary ones, since "
            f"up to {MAX_RESIDUES:,} residues are read. Use ESM-2 or ESM-C in place of ESM-1."
        )
    if not _weights(folder):
        raise InputError(f"{folder}: its weights (*.safetensors) are missing or not all there. Copy them again.")
    return config


def _import_transformers():
    try:
        import transformers
    except ImportError as error:
        raise InputError(f"{error}. Install what language models need: pip install 'ppi_lib[esmc]'.") from error
    transformers.logging.set_verbosity_error()  # what of a file doesn't fit is checked here
    transformers.logging.disable_progress_bar()
    return transformers


def _load(folder: Path, kind: str, precision: str):
    """Load tokenizer and model, with every weight from the file.

    The precision is the loader's, not cast to afterwards: that would round the frequencies of the positions too.
    """
    transformers = _import_transformers()
    options = {"dtype": getattr(torch, precision), "use_safetensors": True, "output_loading_info": True}
    options |= {"add_pooling_layer": False} if kind == "esm" else {}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="right")
        model, report = transformers.AutoModel.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # transformers has no one exception for files that don't fit
        raise InputError(
            f"{folder}: the model couldn't be loaded ({type(error).__name__}: {str(error).splitlines()[0][:200]}). "
            "Download or copy it again."
        ) from error
    # the head that predicts contacts is not run here, and not every file has it
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("contact_head"))
    if missing or report["mismatched_keys"]:
        raise InputError(
            f"{folder}: {len(missing)} weights of the model are not in its files, e.g. {', '.join(missing[:3])}. "
            "Download or copy it again."
        )
    return tokenizer, model.eval()


def _version(files: Sequence[Path]) -> str:
    """Hash the files of the weights."""
    total = hashlib.sha256()
    for file in files:
        with open(file, "rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()[:12]


class LanguageModel:
    """A language model that turns sequences into patches."""

    def __init__(self, name: str, *, device: str = "auto", precision: str = "float32"):
        if precision not in PRECISIONS:
            raise InputError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
        self.device = _resolve_device(device)
        folder = find_model(name)
        config = _read_config(folder)
        kind, layers, width = config["model_type"], config["num_hidden_layers"], config["hidden_size"]
        self.tokenizer, model = _load(folder, kind, precision)
        self.model = model.to(self.device)
        known = _NAMES.get((kind, layers, width), f"{kind}_{layers}x{width}")
        self.info = StoreInfo(known, _version(_weights(folder)), width, precision=precision)

    def embed(self, sequences: Mapping[str, str]) -> Iterator[tuple[str, Float[np.ndarray, "P E"]]]:
        """Yield the patches of each protein, the longest first."""
        order = sorted(sequences, key=lambda protein: (-len(sequences[protein]), protein))
        while order:
            size = max(1, _BATCH_TOKENS // (len(sequences[order[0]]) + 2))
            batch, order = order[:size], order[size:]
            yield from zip(batch, self.embed_batch([sequences[protein] for protein in batch]), strict=True)

    def embed_batch(self, sequences: Sequence[str]) -> list[Float[np.ndarray, "P E"]]:
        """Return the patches of each sequence, float32."""
        tokens = self._tokenize(sequences)
        with torch.no_grad():
            rows = self.model(**tokens).last_hidden_state[:, 1:-1].float()
            lengths = tokens["attention_mask"].sum(dim=1, keepdim=True) - 2
            mask = torch.arange(rows.shape[1], device=rows.device) < lengths
            patches = pool_residues(rows, mask).values.cpu().numpy()
        counts = [-(-len(sequence) // self.info.patch) for sequence in sequences]
        return [patch[:count] for patch, count in zip(patches, counts, strict=True)]

    def _tokenize(self, sequences: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return a token for each residue and one at each end, or raise `InputError` for a tokenizer that doesn't."""
        tokens = self.tokenizer(list(sequences), return_tensors="pt", padding=True)
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        if not torch.equal(mask.sum(dim=1), lengths + 2) or (ids == self.tokenizer.unk_token_id).any():
            raise InputError(
                f"The tokenizer of {self.info.embedder} doesn't give one known token for each residue and one at each "
                "end. Use the tokenizer that came with the model."
            )
        return {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}


def _resolve_device(device: str) -> torch.device:
    """Return the device; `auto` is the GPU if there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise InputError(f"device is {device!r}: {str(error).splitlines()[0]}. Expected auto, cpu or cuda.") from error
