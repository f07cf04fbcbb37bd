"""The speed benchmark's figure and table say what its numbers say."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.summary import BEGIN, END, fill_in, make_table
from ppi_lib.errors import InputError
from ppi_lib.figures_speed import plot_speed

RATES = {"plain": 8.0, "float32": 6800.0, "bfloat16": 13400.0}


def rows() -> list[dict]:
    common = {"work": "all against all", "unit": "pairs", "peak_memory_gb": 1.25}
    forms = (("plain", "plain", "float32"), ("float32", "ppi_lib", "float32"), ("bfloat16", "ppi_lib", "bfloat16"))
    screened = [
        {**common, "form": form, "precision": precision, "per_second": RATES[name], "flop": 22e6, "gflops": 22e-3}
        | {"times_plain": RATES[name] / 8, "fraction_of_peak": 0.5}
        for name, form, precision in forms
    ]
    embedded = {**screened[1], "work": "embedding", "unit": "proteins", "per_second": 300.0, "flop": None}
    return [embedded, *screened]


GROWTH = [
    {"proteins": n, "pairs": n * (n - 1) // 2, "seconds_scoring": n**2 / 1e4, "seconds": 9.0, "peak_memory_gb": 1.2}
    for n in (250, 500, 1000)
]


def test_every_rate_is_a_point_and_the_dotted_line_is_in_proportion():
    figure = plot_speed(pd.DataFrame(rows()), pd.DataFrame(GROWTH[::-1]))
    drawn = {trace.name: list(trace.x) for trace in figure.data if trace.name}
    assert drawn["plain form, float32"] == [8.0]
    assert drawn["ppi_lib, float32"] == [6800.0, 300.0]
    assert drawn["ppi_lib, bfloat16"] == [13400.0]
    straight, seconds, memory = (trace for trace in figure.data if not trace.name)
    pairs = np.array([each["pairs"] for each in GROWTH])
    assert list(seconds.x) == pairs.tolist()
    assert np.allclose(np.array(straight.y) / pairs, 100 / pairs[-1])
    assert list(memory.y) == [1.2] * 3


def test_the_figure_says_what_is_missing():
    with pytest.raises(InputError, match="per_second"):
        plot_speed(pd.DataFrame(rows()).drop(columns="per_second"), pd.DataFrame(GROWTH))


def test_the_table_stands_between_its_marks_and_replaces_the_last_one():
    versions = {"torch": "2.13.0"}
    exact = {"largest_difference": 3e-6, "rank_correlation": 0.99997}
    content = {
        "machine": {"cpu": "a CPU", "capability": "AVX512", "threads": 2, "versions": versions},
        "gemm_peak_gflops": {"float32": 189.3, "bfloat16": 424.1},
        "exactness": {"pairs": 10_000, "float32": exact, "bfloat16": {**exact, "largest_difference": 0.02}},
        "rows": rows(),
        "growth": GROWTH,
    }
    table = make_table(content)
    assert "| all against all | bfloat16 | 13,400 pairs | 1,675 | 0.022 | 50% | 1.25 GB |" in table
    assert "| embedding | float32 | 300 proteins |" in table
    assert "189 GFLOP/s float32, 424 bfloat16" in table
    readme = f"before\n{BEGIN}\n{END}\nafter"
    once = fill_in(readme, table)
    assert once.startswith("before\n") and once.endswith("\nafter")  # noqa: PT018
    assert fill_in(once, table) == once
