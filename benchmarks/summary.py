"""The README's table of speeds and figures/speed from benchmarks/results/speed.json, which `speed.py` wrote.

Other machines, `speed.py --out benchmarks/results/speed_NAME.json`, get a sentence each below the table.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from ppi_lib.figures_speed import plot_speed
from ppi_lib.style import save_figure

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- speed: made by benchmarks/summary.py -->", "<!-- end of speed -->"


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def make_table(content: dict) -> str:
    """Return the table and the sentence that says what it was measured on."""
    machine, peaks, exact = content["machine"], content["gemm_peak_gflops"], content["exactness"]
    lines = ["| what | form | a second | times plain | GFLOP/s | of the best product | peak memory |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in content["rows"]:
        form = "plain" if row["form"] == "plain" else row["precision"]
        flop = ("", "") if row["flop"] is None else (number(row["gflops"]), f"{row['fraction_of_peak']:.0%}")
        cells = (f"{number(row['per_second'])} {row['unit']}", number(row["times_plain"]), *flop)
        lines.append(f"| {row['work']} | {form} | {' | '.join(cells)} | {row['peak_memory_gb']:.2f} GB |")
    last, fast, rough, torch = content["growth"][-1], exact["float32"], exact["bfloat16"], machine["versions"]["torch"]
    lines += [
        "",
        f"{machine['cpu']} ({machine['capability']}), {machine['threads']} threads, torch {torch}.",
        f"Best matrix product of the run: {number(peaks['float32'])} GFLOP/s float32, {number(peaks['bfloat16'])} "
        "bfloat16.",
        f"Logits beside the plain form, {exact['pairs']:,} pairs: at most {fast['largest_difference']:.0e} away in",
        f"float32, {rough['largest_difference']:.3f} in bfloat16 (rank correlation {rough['rank_correlation']:.5f}).",
        f"{last['proteins']:,} proteins, {last['pairs']:,} pairs, end to end: {number(last['seconds'])} s, "
        f"{last['peak_memory_gb']:.2f} GB.",
        "",
        "![Speeds, and how a screening grows](figures/speed.svg)",
    ]
    return "\n".join(lines)


def make_sentence(content: dict) -> str:
    """Say how fast another machine trains and screens."""
    machine, peaks, frame = content["machine"], content["gemm_peak_gflops"], pd.DataFrame(content["rows"])
    said = []
    for row in frame[frame["work"].isin(["training", "all against all"]) & (frame["form"] != "plain")].itertuples():
        times, share = f"{number(row.times_plain)} times plain", f"{row.fraction_of_peak:.0%} of the best product"
        said.append(f"{row.work} in {row.precision} {number(row.per_second)} pairs a second ({times}, {share})")
    best = f"best product {number(peaks['float32'])} GFLOP/s float32, {number(peaks['bfloat16'])} bfloat16"
    return f"{machine['cpu']} ({machine['capability']}), {machine['threads']} threads, {best}: {'; '.join(said)}."


def fill_in(readme: str, table: str) -> str:
    """Put the table between its two marks."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=Path, default=ROOT / "benchmarks" / "results" / "speed.json")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--figure", type=Path, default=ROOT / "figures" / "speed")
    options = parser.parse_args()
    content = json.loads(options.speed.read_text())
    others = [json.loads(path.read_text()) for path in sorted(options.speed.parent.glob("speed_*.json"))]
    table = "\n\n".join([make_table(content), *map(make_sentence, others)])
    options.readme.write_text(fill_in(options.readme.read_text(), table))
    speed = pd.DataFrame(content["rows"]).drop(columns=["gemm", "end_to_end", "table"], errors="ignore")
    growth = pd.json_normalize(content["growth"])
    for path in save_figure(plot_speed(speed, growth), options.figure, data={"rates": speed, "growth": growth}):
        if path.suffix == ".png":  # the README shows the SVG
            path.unlink()


if __name__ == "__main__":
    main()
