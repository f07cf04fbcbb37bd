"""Files into cells and records, whatever the format; what they mean is the business of `proteins.py`.

The content tells the format: FASTA, Parquet, or text with tabs, commas, semicolons or `|`, gzipped or not.
Every cell stays text, so that a protein called 007 or NA keeps its name.
"""

import csv
import gzip
import io
import re
import string
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ppi_lib.errors import InputError
from ppi_lib.scales import STANDARD

UNKNOWN = "BJOUXZ"
_TO_X = str.maketrans(UNKNOWN, "X" * len(UNKNOWN))
_NOT_RESIDUES = str.maketrans("", "", STANDARD + UNKNOWN)
# Nothing but ASCII: `str.upper` makes residues of letters such as the dotless i, `str.split` drops a no-break space.
_TO_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_NO_BLANKS = str.maketrans("", "", string.whitespace)
_LABELS = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}
# Column names as the field writes them, in lower case without anything but letters and digits.
_PAIR_NAMES = {
    "a": "(protein|uniprot|interactor|ids?interactor|id|accession|gene|node)(id)?[a1](id)?",
    "b": "(protein|uniprot|interactor|ids?interactor|id|accession|gene|node)(id)?[b2](id)?",
    "label": "labels?|(is)?interact(ion|s|ing)|class|target|y",
    "split": "traintest|split|(sub)?set|partition",
}
_PROTEIN_NAMES = {
    "id": "(protein|uniprot)?id|uniprot|protein|(primary)?accession|entry|name",
    "sequence": "(protein|aa|aminoacid)?seq(uence)?s?",
}


class SequenceRows(NamedTuple):
    sequences: dict[str, str]
    changes: dict[str, list]
    """Ids that were in lower case, ended in a stop, or stood twice; id and counts of letters read as X."""


class PairRows(NamedTuple):
    a: np.ndarray
    b: np.ndarray
    labels: np.ndarray | None
    splits: np.ndarray | None
    lines: np.ndarray
    """Line in the file of each pair."""
    unused: list[str]
    """Names of the columns that have no role."""
    doubtful: list[str]
    """The first line, if it is read as names and could be a pair: ID1 and ID2 are genes."""


class _Table(NamedTuple):
    cells: pd.DataFrame
    """Text, stripped; the first row may be a header."""
    lines: np.ndarray
    """Line in the file of each row; in Parquet the row, from 1, and 0 for the column names."""


def _read_bytes(path: str | Path) -> bytes:
    try:
        data = Path(path).read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: begins like gzip, but can't be unpacked ({error}). Copy it again.") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a readable file. Check the path.") from error
    if not data.strip():
        raise InputError(f"{path}: the file is empty; expected at least one record. Check how it was made.")
    return data


def _decode(data: bytes, path: str | Path) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(f"{path}: binary content; expected text in UTF-8. Export it as plain text first.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_cells(text: str, skipped: int, path: str | Path) -> pd.DataFrame:
    """Split `text`, above which `skipped` blank lines stood. Quotes hide separators only in , and ; tables."""
    first = text.partition("\n")[0]
    separator = next((s for s in "\t,;|" if s in first), None)
    if separator is None:
        raise InputError(
            f"{path}: the first line, {first[:40]!r}, has no columns; expected FASTA ('>', for "
            "sequences only), or columns separated by tab, comma, semicolon or |. Convert the file."
        )
    # Between tabs or | a quotation mark is a letter like others: taken as one it would swallow rows.
    quoting = csv.QUOTE_NONE if separator in "\t|" else csv.QUOTE_MINIMAL
    options = dict(
        quoting=quoting, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, index_col=False
    )
    try:
        cells = pd.read_csv(io.StringIO(text), sep=separator, **options).fillna("")
    except pd.errors.ParserError as error:
        raise InputError(
            f"{path}: {str(error).strip()}; expected as many columns as in line 1. Correct that line."
        ) from error
    if separator in "\t|":
        return cells.apply(lambda column: column.str.replace(r'^\s*"([^"]*)"\s*$', r"\1", regex=True))
    broken = np.flatnonzero(cells.apply(lambda column: column.str.contains("\n", regex=False)).any(axis=1))
    if len(broken):
        raise InputError(
            f"{path}, line {broken[0] + 1 + skipped}: a cell goes on into the next line; "
            'expected each quote " to be closed in its line. Remove or close it.'
        )
    return cells


def _read_parquet_cells(data: bytes, path: str | Path) -> pd.DataFrame:
    """Return the cells as text below the column names; True and False are 1 and 0."""
    try:
        body = pd.read_parquet(io.BytesIO(data))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read as Parquet ({error}). Write it again.") from error
    names = pd.DataFrame([[str(name) for name in body.columns]])
    body = body.set_axis(names.columns, axis=1)
    for i in body.columns:
        if pd.api.types.infer_dtype(body[i], skipna=True) == "boolean":
            body[i] = body[i].map({True: "1", False: "0"}).astype(object)
    text = body.astype(object).where(body.notna(), "").astype(str)
    return pd.concat([names, text], ignore_index=True)


def _read_table(data: bytes, path: str | Path) -> _Table:
    if data[:4] == b"PAR1":
        cells, skipped = _read_parquet_cells(data, path), -1
    else:
        text = _decode(data, path)
        skipped = len(text) - len(text.lstrip("\n"))
        cells = _read_cells(text[skipped:], skipped, path)
    cells = cells.apply(lambda column: column.str.strip(string.whitespace))
    cells = cells[(cells != "").any(axis=1)]
    return _Table(cells, cells.index.to_numpy() + 1 + skipped)


def _known_columns(table: _Table, names: Mapping[str, str]) -> dict[str, int]:
    """Which column of the first row bears a usual name of each role; the leftmost where two do."""
    plain = [re.sub("[^a-z0-9]", "", cell.lower()) for cell in table.cells.iloc[0]]
    return {
        role: i for role, known in names.items() for i in reversed(range(len(plain))) if re.fullmatch(known, plain[i])
    }


def accession(name: str) -> str:
    """Return P12345 for `sp|P12345|NAME`, and other names as they are."""
    parts = name.split("|")
    return parts[1] if len(parts) > 1 and parts[0] in ("sp", "tr") and parts[1] else name


def _fasta_records(text: str, path: str | Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, id and sequence of each record."""
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if line.lstrip().startswith(">")]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        words = lines[start].lstrip()[1:].split()
        if not words:
            raise InputError(f"{path}, line {start + 1}: '>' without an id; expected '>P12345'. Name the protein.")
        yield start + 1, accession(words[0]), "".join(lines[start + 1 : stop]).translate(_NO_BLANKS)


def _table_records(table: _Table, path: str | Path) -> Iterator[tuple[int, str, str]]:
    found = _known_columns(table, _PROTEIN_NAMES)
    width = table.cells.shape[1]
    header = "sequence" in found and ("id" in found or width == 2)
    if not header and width != 2:
        raise InputError(
            f"{path}: {width} columns without known names ({', '.join(table.cells.iloc[0])[:60]}); "
            "expected 'accession' and 'sequence'. Name them so in a first line, or leave others out."
        )
    sequence = found["sequence"] if header else 1
    name = found.get("id", 1 - sequence) if header else 0
    columns = (table.lines, table.cells[name], table.cells[sequence])
    for line, protein, residues in zip(*(list(column)[header:] for column in columns), strict=True):
        if re.search(r"\s", protein):
            raise InputError(
                f"{path}, line {line}: the id holds a blank, {protein!r}; expected one word. Take the blank out."
            )
        yield line, accession(protein), residues


def _raw_sequences(path: str | Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, id and sequence of each record of FASTA or of a two-column table."""
    data = _read_bytes(path)
    if data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b">"):
        return _fasta_records(_decode(data, path), path)
    return _table_records(_read_table(data, path), path)


def _clean(raw: str, name: str, place: str, changes: dict[str, list]) -> str:
    """Return the checked sequence in the 21 letters; what was changed goes into `changes`."""
    sequence = raw.translate(_TO_UPPER)
    if sequence != raw:
        changes["lower"].append(name)
    if sequence.endswith("*"):
        sequence = sequence[:-1]
        changes["stop"].append(name)
    if not sequence:
        raise InputError(f"{place}: {name!r} has an empty sequence; expected at least one residue. Leave it out.")
    wrong = sequence.translate(_NOT_RESIDUES)
    if wrong:
        what = {"-": "a gap ", ".": "a gap ", "*": "a stop "}.get(wrong[0], "")
        raise InputError(
            f"{place}: {name!r} has {what}{wrong[0]!r} at residue {sequence.index(wrong[0]) + 1}; "
            "expected letters of amino acids, X if unknown. Correct the sequence or leave it out."
        )
    unknown = {letter: count for letter in UNKNOWN if (count := sequence.count(letter))}
    if unknown:
        changes["unknown"].append((name, unknown))
    return sequence.translate(_TO_X)


def read_sequences(path: str | Path) -> SequenceRows:
    """Read FASTA or a table of sequences; raise `InputError` with the line for what isn't one."""
    sequences, lines, changes = {}, {}, defaultdict(list)
    for line, name, raw in _raw_sequences(path):
        if not name:
            raise InputError(f"{path}, line {line}: the id is empty; expected one per sequence. Name it.")
        sequence = _clean(raw, name, f"{path}, line {line}", changes)
        if name in sequences:
            changes["twice"].append(name)
        if sequences.setdefault(name, sequence) != sequence:
            raise InputError(
                f"{path}: {name!r} stands in lines {lines[name]} and {line} with different sequences; "
                "expected one. Rename or remove one of them."
            )
        lines.setdefault(name, line)
    if not sequences:
        raise InputError(f"{path}: nothing below the header; expected at least one protein. Check the file.")
    return SequenceRows(sequences, changes)


def _pair_columns(table: _Table, path: str | Path, needed: set[str]) -> tuple[dict[str, int], int]:
    """Return the column of each role and how many rows (0 or 1) are a header."""
    first = list(table.cells.iloc[0])
    found = _known_columns(table, _PAIR_NAMES)
    header = bool({"a", "b"} & set(found)) and not (len(first) == 3 and first[2] in _LABELS)
    if not header:
        if len(first) not in (2, 3):
            raise InputError(
                f"{path}: {len(first)} columns and no names known ({', '.join(first)[:60]}); "
                "expected 2 or 3 without a header. Put protein_a, protein_b, label into a first line."
            )
        found = dict(zip(("a", "b", "label"), range(len(first)), strict=False))
    missing = needed - set(found)
    if missing:
        names = {"a": "protein_a", "b": "protein_b", "label": "label (0 or 1)"}
        raise InputError(
            f"{path}: no column {' or '.join(names[role] for role in sorted(missing))} among "
            f"{', '.join(first)[:80]}; "
            "expected protein_a, protein_b, label. Rename or add it."
        )
    return found, int(header)


def _parse_labels(text: pd.Series, lines: np.ndarray, path: str | Path) -> np.ndarray:
    values = text.map(_LABELS).to_numpy(dtype=np.float32)
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        hint = " A header? Name the columns protein_a, protein_b, label." if lines[wrong[0]] <= 1 else ""
        raise InputError(
            f"{path}, line {lines[wrong[0]]}: label {text.iloc[wrong[0]]!r}; expected 0 or 1. "
            f"{len(wrong):,} such to correct.{hint}"
        )
    return values


def read_pair_rows(path: str | Path, needed: set[str], ignored: frozenset[str] = frozenset()) -> PairRows:
    """Read the columns of a table of pairs; `needed` and `ignored` are roles among a, b, label and split."""
    table = _read_table(_read_bytes(path), path)
    columns, header = _pair_columns(table, path, needed)
    columns = {role: column for role, column in columns.items() if role not in ignored}
    cells, lines = table.cells.iloc[header:].apply(lambda column: column.str.strip()), table.lines[header:]
    if not len(cells):
        raise InputError(f"{path}: nothing below the header; expected at least one pair. Check the file.")
    for role in {"a", "b", "split"} & set(columns):
        empty = np.flatnonzero(cells[columns[role]] == "")
        if len(empty):
            raise InputError(f"{path}, line {lines[empty[0]]}: an id or split is empty; expected a name. Fill it in.")
    a, b = (cells[columns[role]].map(accession).to_numpy(dtype=object) for role in ("a", "b"))
    splits = cells[columns["split"]].to_numpy(dtype=object) if "split" in columns else None
    labels = _parse_labels(cells[columns["label"]], lines, path) if "label" in columns else None
    unused = [name for i, name in enumerate(table.cells.iloc[0]) if header and i not in columns.values()]
    first = list(table.cells.iloc[0])
    doubtful = first if header and {name.upper() for name in first} == {"ID1", "ID2"} else []
    return PairRows(a, b, labels, splits, lines, unused, doubtful)
