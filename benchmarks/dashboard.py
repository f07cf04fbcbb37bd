"""The dashboard: its share of a training's time, whether many steps slow it or fill memory, button to effect.

A Jupyter kernel trains a `v3` model on random proteins. This program is the kernel's front end: it reads every message,
and clicks by sending what a browser sends. So what a browser itself spends on drawing is not in the numbers. Writes
benchmarks/results/dashboard.json and prints a table.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from queue import Empty

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "dashboard.json"
BATCH, STEPS = 128, 100
PREPARE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from benchmarks.dashboard import Bench
from ppi_lib.dashboard import watch
bench = Bench({{folder!r}})
"""


class Bench:
    """In the kernel: a training without end, and what it took."""

    def __init__(self, folder: str):
        import numpy as np

        from benchmarks.training import make_pairs, make_proteins
        from ppi_lib.embed import embed_proteins

        generator = np.random.default_rng(0)
        self.store = embed_proteins(make_proteins(300, generator), folder, progress=False)
        self.pairs = make_pairs(self.store, BATCH * STEPS, generator)
        self.validation = self.pairs.take(np.arange(BATCH))

    def train(self, epochs: int, callbacks=()) -> dict:
        """Train, and return the seconds of each epoch and the kernel's memory (GB) at its end."""
        from ppi_lib.checkpoint import create_ppi_classifier
        from ppi_lib.encoder import PRESETS
        from ppi_lib.train import TrainConfig, train_classifier

        memory = []

        def note(progress) -> None:
            if progress.step == progress.steps:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e9)

        config = TrainConfig(epochs=epochs, patience=10**6, batch_size=BATCH, micro_batch=BATCH)
        sets = self.store, self.pairs, self.validation, config
        model = create_ppi_classifier(config=PRESETS["v3"])
        result = train_classifier(model, *sets, callbacks=[*callbacks, note], progress=False)
        return {"seconds": result.history["seconds"].tolist(), "memory": memory[::2]}  # a step and its epoch's row


class Kernel:
    """A kernel and its messages."""

    def __init__(self, folder: str):
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3", cwd=str(ROOT))
        self.comms: dict[str, str] = {}
        """Buttons by their name."""
        self.run(PREPARE.format(folder=folder))

    def start(self, code: str) -> str:
        return self.client.execute(code)

    def read(self, seconds: float = 0.05) -> dict | None:
        """Return the next message of the kernel, if one comes."""
        try:
            message = self.client.get_iopub_msg(timeout=seconds)
        except Empty:
            return None
        if message["msg_type"] == "comm_open":
            name = message["content"]["data"].get("state", {}).get("description")
            if name:
                self.comms[name] = message["content"]["comm_id"]
        if message["msg_type"] == "error":
            raise RuntimeError("\n".join(message["content"]["traceback"]))
        return message

    def finish(self, request: str) -> str:
        """Read until a cell is done, and return what it printed."""
        said = ""
        while True:
            message = self.read()
            if message is None or message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                said += message["content"]["text"]
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return said

    def run(self, code: str) -> str:
        return self.finish(self.start(code))

    def click(self, name: str, effect: str) -> float:
        """Click a button, and return the seconds until the dashboard says `effect`."""
        content = {"comm_id": self.comms[name], "data": {"method": "custom", "content": {"event": "click"}}}
        began = time.monotonic()
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))
        self.wait_for(effect)
        return time.monotonic() - began

    def wait_for(self, state: str) -> None:
        while True:
            message = self.read()
            if message and message["msg_type"] == "comm_msg":
                value = message["content"]["data"].get("state", {}).get("value")
                if isinstance(value, str) and value.startswith(state):
                    return


def measure_share(kernel: Kernel, rounds: int, epochs: int) -> dict:
    """Milliseconds of a step without and with the dashboard, in turns."""
    found = {"plain": [], "live": []}
    for _ in range(rounds):
        for name, code in {
            "plain": f"print(bench.train({epochs}))",
            "live": f"print(await watch(bench.train, {epochs}, live=True))",
        }.items():
            seconds = json.loads(kernel.run(code).strip().splitlines()[-1].replace("'", '"'))["seconds"]
            found[name].append(1000 * statistics.median(seconds) / STEPS)
    plain, live = (statistics.median(values) for values in found.values())
    return {"step_ms_plain": plain, "step_ms_live": live, "share": live / plain - 1}


def measure_long(kernel: Kernel, epochs: int) -> dict:
    """Milliseconds of a step, and memory, in the first and the last tenth of a long training."""
    said = kernel.run(f"print(await watch(bench.train, {epochs}, live=True))")
    found = json.loads(said.strip().splitlines()[-1].replace("'", '"'))
    part = max(1, epochs // 10)
    steps = [1000 * second / STEPS for second in found["seconds"]]
    return {
        "steps": epochs * STEPS,
        "step_ms_first_tenth": statistics.median(steps[:part]),
        "step_ms_last_tenth": statistics.median(steps[-part:]),
        "memory_gb_first_tenth": found["memory"][part - 1],
        "memory_gb_end": found["memory"][-1],
    }


def measure_buttons(kernel: Kernel, clicks: int) -> dict:
    """Seconds from a click until the training stands, goes on, or ends."""
    request = kernel.start("print(await watch(bench.train, 10**6, live=True))")
    kernel.wait_for("training")
    times = {"pause": [], "resume": []}
    time.sleep(1)
    for _ in range(clicks):
        times["pause"].append(kernel.click("Pause", "paused"))
        times["resume"].append(kernel.click("Resume", "training"))
    while time.sleep(0) or not _has_epoch(kernel):
        pass
    began = time.monotonic()
    kernel.click("Stop", "stopping")
    kernel.finish(request)
    return {**{name: max(values) for name, values in times.items()}, "stop_and_end_of_cell": time.monotonic() - began}


def _has_epoch(kernel: Kernel) -> bool:
    """Say if the message at hand tells of a best epoch: before there is one, Stop has nothing to keep."""
    message = kernel.read()
    state = message["content"]["data"].get("state", {}) if message and message["msg_type"] == "comm_msg" else {}
    return "best epoch" in str(state.get("value", ""))


def main() -> None:
    import tempfile

    import torch
    from training import cpu_name

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="trainings with and without, in turns")
    parser.add_argument("--epochs", type=int, default=5, help=f"of each of them, {STEPS} steps an epoch")
    parser.add_argument("--steps", type=int, default=10_000, help="of the long training")
    parser.add_argument("--clicks", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kernel = Kernel(folder)
        try:
            found = {
                **measure_share(kernel, given.rounds, given.epochs),
                **measure_long(kernel, given.steps // STEPS),
                "seconds_to_effect": measure_buttons(kernel, given.clicks),
            }
        finally:
            kernel.client.stop_channels()
            kernel.manager.shutdown_kernel(now=True)
    found["machine"] = {"cpu": cpu_name(), "threads": torch.get_num_threads(), "python": sys.version[:6]}
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
