"""Stores and embedding: size and speed of a store, memory while embedding, runs that are killed, and a real proteome.

`store`: 20,000 proteins of human lengths, random numbers, width 960, beside a plain file of the same bytes. `memory`:
the peak of a process of its own that embeds 1,000 or 10,000 proteins. `kills`: a process that embeds is killed at 20
random moments and started again each time; its store is compared with that of one run, byte for byte. `bernett`:
`profile` on all proteins of bernett (needs its files, see data/README.md). Writes benchmarks/results/embedding.json.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from training import cpu_name

from ppi_lib.datasets import load_dataset
from ppi_lib.embed import embed_proteins
from ppi_lib.inventory import check_store, describe_store
from ppi_lib.proteins import STANDARD, Proteins
from ppi_lib.store import PatchStore, StoreInfo, StoreWriter

RESULT = Path(__file__).parent / "results" / "embedding.json"
WIDTH = 960


def make_proteins(count: int) -> Proteins:
    """Random sequences with the lengths of human proteins: log-normal, median 465."""
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(np.log(465), 0.7, count), 51, 3000).astype(int)
    letters = np.array(list(STANDARD))
    return Proteins(sequences={f"P{i}": "".join(generator.choice(letters, n)) for i, n in enumerate(lengths)}, notes=())


def seconds(act, times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return taken


def write_plainly(path: Path, block: bytes, size: int) -> None:
    """Write `size` bytes, and wait until they are on the disk, as a shard does."""
    with open(path, "wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        os.fsync(file.fileno())


def measure_store(folder: Path, count: int) -> dict[str, float]:
    lengths = [min(len(sequence), 1502) for sequence in make_proteins(count).sequences.values()]
    pool = np.random.default_rng(1).normal(size=(4096, WIDTH)).astype(np.float16)

    def write() -> None:
        with StoreWriter(folder / "store", StoreInfo("random", "1", WIDTH)) as writer:
            for i, length in enumerate(lengths):
                start, rows = i % 4000, -(-length // 32)
                writer.add(f"P{i}", pool[start : start + rows], length, "0" * 16)

    written = seconds(write, 1)[0]
    size = describe_store(folder / "store").bytes
    plain = seconds(lambda: write_plainly(folder / "plain", pool.tobytes(), size), 1)[0]
    store = PatchStore(folder / "store")
    ids = random.Random(0).sample(store.ids, 2000)
    reads = sorted(taken for p in ids for taken in seconds(lambda: store[p], 1))  # noqa: B023
    everything = seconds(lambda: [store.rows(p) for p in store.ids], 1)[0]
    return {
        "proteins": count,
        "gigabytes": size / 1e9,
        "gigabytes_as_float32_residues": 4 * WIDTH * sum(lengths) / 1e9,
        "open_milliseconds": 1e3 * statistics.median(seconds(lambda: PatchStore(folder / "store"), 20)),
        "read_one_milliseconds_median": 1e3 * statistics.median(reads),
        "read_one_milliseconds_99th": 1e3 * reads[int(0.99 * len(reads))],
        "write_megabytes_per_second": size / written / 1e6,
        "write_plain_megabytes_per_second": size / plain / 1e6,
        "read_and_verify_megabytes_per_second": size / everything / 1e6,
        "check_seconds": seconds(lambda: check_store(folder / "store"), 1)[0],
    }


def save_tiny_model(folder: Path) -> Path:
    """A random ESM-C, small enough that a CPU is done in a minute."""
    from transformers import EsmcConfig, EsmcModel, EsmcTokenizer

    config = EsmcConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
    EsmcModel(config).save_pretrained(folder)
    EsmcTokenizer().save_pretrained(folder)
    return folder


def peak_gigabytes() -> float:
    """Peak memory of this process; `ru_maxrss` would count what its parent had when it was started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def embed_child(count: int, embedder: str, out: str) -> None:
    """Embed in this process, tell the parent when it begins, and print the peak of memory at the end, in GB."""
    proteins = make_proteins(count)
    print("begins", flush=True)
    embed_proteins(proteins, out, embedder=embedder, progress=False)
    print(peak_gigabytes(), flush=True)


def start_child(count: int, embedder: str | Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, __file__, "--child", str(count), str(embedder), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if process.stdout.readline() != "begins\n":
        raise SystemExit("the child didn't begin")
    return process


def measure_memory(folder: Path) -> dict[str, float]:
    peaks = {}
    for name in ("profile", save_tiny_model(folder / "model")):
        for count in (1_000, 10_000):
            out, _ = start_child(count, name, folder / f"{Path(name).name}-{count}").communicate()
            peaks[f"{'profile' if name == 'profile' else 'tiny ESM-C'}, {count} proteins, GB"] = float(out)
    return peaks


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def wait_for_files(folder: Path, more: int, process: subprocess.Popen) -> None:
    """Wait until `process` has put `more` files of shards into `folder`, or is done."""
    before = len(list(folder.glob("shard-*")))
    while process.poll() is None and len(list(folder.glob("shard-*"))) < before + more:
        time.sleep(0.002)


def measure_kills(folder: Path, kills: int, count: int) -> dict[str, float | bool | list[int]]:
    """Kill after none to two more files, and a random moment more."""
    start_child(count, "profile", folder / "whole").communicate()
    generator, held, killed = random.Random(0), [], 0
    for _ in range(kills):
        process = start_child(count, "profile", folder / "killed")
        wait_for_files(folder / "killed", generator.randint(0, 2), process)
        time.sleep(generator.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        there = (folder / "killed" / "store.json").exists()
        held.append(len(PatchStore(folder / "killed")) if there else 0)
    start_child(count, "profile", folder / "killed").communicate()
    ids = PatchStore(folder / "killed").ids
    return {
        "kills": killed,
        "proteins": count,
        "proteins_that_were_whole_after_each_kill": held,
        "same_bytes": contents(folder / "killed") == contents(folder / "whole"),
        "every_protein_once": ids == list(make_proteins(count).sequences),
    }


def measure_bernett(folder: Path) -> dict[str, float]:
    proteins = load_dataset("bernett").proteins
    before = sum(os.times()[:4])
    taken = seconds(lambda: embed_proteins(proteins, folder / "bernett", progress=False), 1)[0]
    return {
        "proteins": len(proteins.sequences),
        "seconds": taken,
        "processor_seconds": sum(os.times()[:4]) - before,
        "gigabytes": describe_store(folder / "bernett").bytes / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=["store", "memory", "kills", "bernett"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        embed_child(int(options.child[0]), *options.child[1:])
        return
    measures = {
        "store": lambda folder: measure_store(folder, 20_000),
        "memory": measure_memory,
        "kills": lambda folder: measure_kills(folder, options.kills, 5_000),
        "bernett": measure_bernett,
    }
    content = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    content |= {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            content[part] = measures[part](Path(folder))
        print(part, json.dumps(content[part], indent=2), flush=True)
        RESULT.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
