"""Reading, checking and writing of proteins and pairs."""

import errno
import gzip
import os

import numpy as np
import pandas as pd
import pytest

from ppi_lib.errors import InputError
from ppi_lib.proteins import (
    MAX_RESIDUES,
    Pairs,
    Proteins,
    check_classes,
    check_pairs,
    overlap_notes,
    read_pair_splits,
    read_pairs,
    read_proteins,
    shared_proteins,
    write_fasta,
    write_pairs,
)


def put(folder, content, name="file"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def make_pairs(*rows) -> Pairs:
    a, b, *labels = zip(*rows, strict=True)
    labels = np.array(labels[0], dtype=np.float32) if labels else None
    return Pairs(a=np.array(a, dtype=object), b=np.array(b, dtype=object), labels=labels, notes=())


def rows_of(pairs: Pairs) -> list[tuple]:
    columns = [pairs.a, pairs.b] + ([] if pairs.labels is None else [pairs.labels])
    return [tuple(row) for row in zip(*columns, strict=True)]


TWO = {"P12345": "MKVLAA", "Q99999": "GGAW"}


@pytest.mark.parametrize(
    "content",
    [
        ">P12345 some protein\nMKV\nLAA\n>Q99999\nGGAW\n",
        "\n>sp|P12345|NAME_HUMAN text\nMKVLAA\n\n>tr|Q99999|OTHER\nGG AW",
        ">P12345\r\nMKVLAA\r\n>Q99999\r\nGGAW\r\n",
        "P12345\tMKVLAA\nQ99999\tGGAW\n",
        "sp|P12345|NAME_HUMAN\tMKVLAA\ntr|Q99999|OTHER\tGGAW\n",
        "uniprotID|sequence\nP12345|MKVLAA\nQ99999|GGAW\n",
        "length,Sequence,Accession\n6,MKVLAA,P12345\n4,GGAW,Q99999\n",
        b"\xef\xbb\xbf>P12345\nMKVLAA\n>Q99999\nGGAW\n",
        gzip.compress(b">P12345\nMKVLAA\n>Q99999\nGGAW\n", mtime=0),
    ],
)
def test_every_form_of_the_same_proteins_reads_the_same(tmp_path, content):
    proteins = read_proteins(put(tmp_path, content))
    assert dict(proteins.sequences) == TWO
    assert proteins.notes == ()


def test_what_is_changed_is_noted(tmp_path):
    proteins = read_proteins(put(tmp_path, ">a\nmkBZX\n>b\nUOJA*\n>c\nMKV\n>c\nMKV\n"))
    assert dict(proteins.sequences) == {"a": "MKXXX", "b": "XXXA", "c": "MKV"}
    notes = " ".join(proteins.notes)
    assert "6 residues" in notes
    assert "B 1, J 1, O 1, U 1, X 1, Z 1" in notes
    for part in ("upper case: 1 record, a", "end: 1 record, b", "again: 1 record, c"):
        assert part in notes


def test_a_long_protein_is_kept_whole_and_noted(tmp_path):
    lines = [f">long{i}\n" + "A" * (MAX_RESIDUES + 1) for i in range(7)]
    proteins = read_proteins(put(tmp_path, "\n".join([*lines, ">fits\n" + "A" * MAX_RESIDUES, ">x\n" + "A" * 100_000])))
    assert len(proteins.sequences["x"]) == 100_000
    assert proteins.cut == (*(f"long{i}" for i in range(7)), "x")
    assert "8 proteins" in proteins.notes[0]
    assert "long4 and 3 more" in proteins.notes[0]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["empty"]),
        (" \n\n", ["empty"]),
        ("MKVLAA\n", ["'MKVLAA'", "'>'"]),
        (">a\n>b\nMKV\n", ["line 1", "'a'", "empty sequence"]),
        (">a\nMKV\n>b\n*\n", ["line 3", "'b'", "empty sequence"]),
        (">a\nMK-V\n", ["line 1", "gap '-'", "residue 3"]),
        (">a\nM*KV\n", ["stop '*'", "residue 2"]),
        (">a\nMKV**\n", ["stop '*'", "residue 4"]),
        (">a\nMK1V\n", ["'1'", "residue 3"]),
        *((f">a\nMk{letter}V\n", [repr(letter), "residue 3"]) for letter in "Äıſﬁ\u00a0"),
        *((f"a\tMk{letter}\n", [repr(letter), "residue 3"]) for letter in "ı\u00a0"),
        ("a\tMKV\nb c\tMKV\n", ["line 2", "'b c'", "blank"]),
        ("a\tMKV\nb\u00a0c\tMKV\n", ["line 2", "blank"]),
        (">\nMKV\n", ["line 1", "without an id"]),
        (">a\nMKV\n\n>a x\nMKW\n", ["lines 1 and 4", "'a'"]),
        ("a\tMKV\na\tMKW\n", ["lines 1 and 2", "'a'"]),
        ("a\tMKV\n\n\tMKW\n", ["line 3", "id is empty"]),
        ("a\tMKV\tx\n", ["3 columns", "'accession'"]),
        ("id\tsequence\n", ["below the header"]),
        (b"\x00\x01\x02PK", ["binary"]),
        (b">a\nMK\xff\xfe", ["binary"]),
        (b"\x1f\x8b\x08 broken", ["gzip"]),
    ],
)
def test_what_is_no_protein_file_is_refused(tmp_path, content, parts):
    path = put(tmp_path, content)
    with pytest.raises(InputError) as error:
        read_proteins(path)
    for part in [str(path), *parts]:
        assert part in str(error.value)


@pytest.mark.parametrize("read", [read_proteins, read_pairs])
def test_a_missing_file_and_a_folder_are_refused(tmp_path, read):
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "none")
    with pytest.raises(InputError, match="directory"):
        read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "A1\tB1\t1\nNA\tnan\t0\n007\t1.0\t1\n",
        "protein_a,protein_b,label\nA1,B1,1.0\nNA,nan,0.0\n007,1.0,1\n",
        "uniprotID_A|uniprotID_B|isInteraction\nA1|B1|1\nNA|nan|0\n007|1.0|1",
        "label;Protein1;PROTEIN2\n1;A1;B1\n0;NA;nan\n1;007;1.0\n",
        '"protein_a","protein_b","label"\n"A1","B1",1\n"NA","nan",0\n"007","1.0",1\n',
        "\n\nA1\tB1\t1\n\n NA \tnan\t0\n007\t1.0\t1\n\n",
    ],
)
def test_every_form_of_the_same_pairs_reads_the_same_and_ids_stay_text(tmp_path, content):
    pairs = read_pairs(put(tmp_path, content), labels="required")
    assert rows_of(pairs) == [("A1", "B1", 1), ("NA", "nan", 0), ("007", "1.0", 1)]
    assert pairs.labels.dtype == np.float32
    assert pairs.notes == ()


@pytest.mark.parametrize("separator", ["\t", "|"])
def test_a_stray_quote_swallows_no_row_and_a_closed_pair_is_left_out(tmp_path, separator):
    rows = [("a", "b", "1"), ('"c', "d", "0"), ("e", 'f"', "1"), ('5"x', "g", "0"), ('"h"', "i", '"1"')]
    pairs = read_pairs(put(tmp_path, "\n".join(separator.join(row) for row in rows)))
    assert rows_of(pairs) == [("a", "b", 1), ('"c', "d", 0), ("e", 'f"', 1), ('5"x', "g", 0), ("h", "i", 1)]


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_quoted_cell_may_hold_the_separator_but_no_line_break(tmp_path, separator):
    first = f'"a{separator}x"{separator}b{separator}1\n'
    assert rows_of(read_pairs(put(tmp_path, first))) == [(f"a{separator}x", "b", 1)]
    broken = first + '"c,d;0\ne,f;1\n"g,h;0\n'.replace(",", separator).replace(";", separator)
    for blank in (0, 2):
        with pytest.raises(InputError, match=f"line {2 + blank}: a cell goes on"):
            read_pairs(put(tmp_path, "\n" * blank + broken.replace('"g', 'g"')))


def test_ids_of_pairs_are_read_as_those_of_proteins(tmp_path):
    assert rows_of(read_pairs(put(tmp_path, "sp|P12345|X_Y\t\u00a0Q9\t1\n"))) == [("P12345", "Q9", 1)]


@pytest.mark.parametrize("label", [[1, 0], [1.0, 0.0], ["1", "0"], [True, False]])
def test_parquet_is_told_by_its_content(tmp_path, label):
    path = tmp_path / "any.name"
    pd.DataFrame({"id_b": [5, 6], "id_a": ["x", "NA"], "label": label}).to_parquet(path)
    assert rows_of(read_pairs(path)) == [("x", "5", 1), ("NA", "6", 0)]


def test_a_header_of_usual_names_is_not_taken_from_a_pair_with_a_label(tmp_path):
    pairs = read_pairs(put(tmp_path, "protein1\tprotein2\t1\nx\ty\t0\n"))
    assert rows_of(pairs) == [("protein1", "protein2", 1), ("x", "y", 0)]


def test_labels_may_lack_unless_required_and_unused_columns_are_named(tmp_path):
    path = put(tmp_path, "protein_a,protein_b,score\nx,y,0.3\n")
    pairs = read_pairs(path)
    assert pairs.labels is None
    assert "score" in pairs.notes[0]
    with pytest.raises(InputError, match="label"):
        read_pairs(path, labels="required")
    bare = put(tmp_path, "x\ty\n")
    assert rows_of(read_pairs(bare)) == [("x", "y")]
    with pytest.raises(InputError, match="label"):
        read_pairs(bare, labels="required")


@pytest.mark.parametrize("labels", [["1", "0", "", "maybe"], ["", "", "", ""]])
def test_pairs_to_predict_are_all_kept_in_order_whatever_the_label_column_holds(tmp_path, labels):
    rows = [("c", "d"), ("a", "b"), ("b", "a"), ("c", "d")]
    bare = "".join(f"{a}\t{b}\t{label}\n" for (a, b), label in zip(rows, labels, strict=True))
    for table in (bare, "protein_a\tprotein_b\tlabel\n" + bare):
        pairs = read_pairs(put(tmp_path, table), labels="ignored")
        assert rows_of(pairs) == rows
        assert pairs.labels is None
    assert "aren't used: label" in pairs.notes[0]


def test_a_missing_boolean_is_a_missing_label(tmp_path):
    path = tmp_path / "pairs.parquet"
    pd.DataFrame({"protein_a": ["x", "y"], "protein_b": ["z", "z"], "label": [True, None]}).to_parquet(path)
    with pytest.raises(InputError, match="line 2: label ''"):
        read_pairs(path)


def test_duplicates_in_either_order_are_dropped_and_a_pair_with_itself_stays(tmp_path):
    pairs = read_pairs(put(tmp_path, "a\tb\t1\nb\ta\t1\nc\tc\t0\na\tb\t1\nd\ta\t0\n"))
    assert rows_of(pairs) == [("a", "b", 1), ("c", "c", 0), ("d", "a", 0)]
    assert "2 pairs" in pairs.notes[0]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["empty"]),
        ("justone\n", ["'justone'"]),
        ("a\tb\t1\n\nc\td\t2\ne\tf\tx\n", ["line 3", "'2'", "0 or 1", "2 such"]),
        ("a\tb\ttrue\n", ["line 1", "'true'", "protein_a"]),
        ("a\tb\t1\nc\td\n", ["line 2", "''"]),
        ("a\tb\t1\nc\td\t1\t9\n", ["line 2", "columns"]),
        ("a\tb\t1\n\td\t1\n", ["line 2", "empty"]),
        ("a\tb\t1\t0.4\n", ["4 columns", "protein_a"]),
        ("protein_a\tpartner\tlabel\na\tb\t1\n", ["protein_b", "partner"]),
        ("protein_a\tprotein_b\tlabel\n", ["below the header"]),
        ("a\tb\t1\nc\td\t1\nb\ta\t0\nc\td\t0\n", ["2 pairs", "lines 1 and 3"]),
        (b"\x00\x01\x02", ["binary"]),
        (b"PAR1 broken", ["Parquet"]),
    ],
)
def test_what_is_no_pair_table_is_refused(tmp_path, content, parts):
    path = put(tmp_path, content)
    with pytest.raises(InputError) as error:
        read_pairs(path)
    for part in [str(path), *parts]:
        assert part in str(error.value)


def test_line_numbers_count_the_header(tmp_path):
    with pytest.raises(InputError, match="line 3"):
        read_pairs(put(tmp_path, "protein_a,protein_b,label\na,b,1\nc,d,5\n"))


def test_a_split_column_gives_pairs_per_value(tmp_path):
    table = "protein_a|protein_b|isInteraction|trainTest\na|b|1|train\nc|d|0|test\nb|a|1|train\na|b|1|test\n"
    splits = read_pair_splits(put(tmp_path, table))
    assert list(splits) == ["train", "test"]
    assert rows_of(splits["train"]) == [("a", "b", 1)]
    assert rows_of(splits["test"]) == [("c", "d", 0), ("a", "b", 1)]
    assert "1 pair " in splits["train"].notes[0]
    assert read_pair_splits(put(tmp_path, "a\tb\t1\n")) == {}


@pytest.mark.parametrize(("asked", "known"), [("p1234", "P1234"), ("P1234.2", "P1234"), ("P1234", "P1234-1")])
def test_an_unknown_id_that_nearly_fits_gets_a_hint(asked, known):
    proteins = Proteins(sequences={known: "MK", "x": "MK"}, notes=())
    with pytest.raises(InputError, match=f"train pairs have 1 id .*{asked} and {known}"):
        check_pairs(make_pairs((asked, "x")), proteins, "train")


def test_unknown_ids_are_counted_and_five_are_named():
    proteins = Proteins(sequences={"x": "MK"}, notes=())
    check_pairs(make_pairs(("x", "x")), proteins, "test")
    with pytest.raises(InputError, match=r"7 ids .*u0, u1, u2, u3, u4 and 2 more") as error:
        check_pairs(make_pairs(*((f"u{i}", "x") for i in range(7))), proteins, "test")
    assert "differ only" not in str(error.value)


def test_shared_proteins_and_pairs_are_counted():
    train, validation = make_pairs(("a", "b"), ("c", "d")), make_pairs(("e", "f"))
    test = make_pairs(("b", "a"), ("c", "g"), ("h", "i"))
    assert shared_proteins(train, test) == ["a", "b", "c"]
    protein_note, pair_note = overlap_notes(train, validation, test)
    assert "3 proteins" in protein_note
    assert "50% of test" in protein_note
    assert "1 pair " in pair_note
    assert "opposite" not in pair_note
    assert overlap_notes(train, validation, make_pairs(("x", "y"))) == ()


def test_pairs_with_opposite_labels_in_two_splits_are_counted():
    train = make_pairs(("a", "b", 1), ("c", "d", 0), ("e", "f", 1))
    test = make_pairs(("x", "y", 0), ("d", "c", 1), ("b", "a", 0), ("e", "f", 1))
    note = overlap_notes(train, make_pairs(("v", "w", 1)), test)[-1]
    assert "3 pairs stand in both train and test, 2 of them with opposite labels" in note


def random_pairs(count: int, proteins: int) -> Pairs:
    generator = np.random.default_rng(0)
    ids = [f"P{i}" for i in range(proteins)]
    a, b = generator.choice(ids, (2, count))
    return make_pairs(*zip(a, b, generator.integers(0, 2, count), strict=True))


def test_a_split_without_both_classes_is_refused():
    with pytest.raises(InputError, match="test split has 1 pair, all labelled 1"):
        check_classes(make_pairs(("a", "b", 1)), "test")
    with pytest.raises(InputError, match="no labels"):
        check_classes(make_pairs(("a", "b")), "test")
    with pytest.raises(InputError, match="empty"):
        check_classes(random_pairs(4, 4).take(np.array([], dtype=int)), "test")


def test_take_keeps_the_order_asked_for():
    pairs = make_pairs(("a", "b", 1), ("c", "d", 0), ("e", "f", 1))
    assert rows_of(pairs.take(np.array([2, 0]))) == [("e", "f", 1), ("a", "b", 1)]
    assert len(pairs.take(pairs.labels == 1)) == 2
    assert pairs.proteins == ("a", "b", "c", "d", "e", "f")
    with pytest.raises(InputError, match="lengths"):
        Pairs(a=pairs.a, b=pairs.b[:2], labels=None, notes=())


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.csv", "pairs.parquet", "pairs.tsv.gz"])
@pytest.mark.parametrize("rows", [[("007", "NA", 1), ("x|y", "nan", 0), ('5"', '"x', 1)], [("007", "NA")]])
def test_written_pairs_read_the_same(tmp_path, name, rows):
    write_pairs(make_pairs(*rows), tmp_path / name)
    assert rows_of(read_pairs(tmp_path / name)) == rows


def test_written_proteins_read_the_same(tmp_path):
    proteins = Proteins(sequences={**TWO, "long": "MKV" * 50}, notes=())
    write_fasta(proteins, tmp_path / "out.fasta")
    assert dict(read_proteins(tmp_path / "out.fasta").sequences) == dict(proteins.sequences)
    assert max(map(len, (tmp_path / "out.fasta").read_text().split("\n"))) == 60
    with pytest.raises(InputError, match="folder"):
        write_fasta(proteins, tmp_path / "none" / "out.fasta")
    with pytest.raises(InputError, match="folder"):
        write_pairs(make_pairs(("a", "b")), tmp_path)


def test_a_quotation_mark_swallows_no_rows(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text('A\tB\t1\n"C\tD\t0\nE\tF\t1\n"G\tH\t0\n')
    assert list(read_pairs(path).a) == ["A", '"C', "E", '"G']


def test_for_prediction_labels_are_not_read_and_every_row_is_kept(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("protein_a\tprotein_b\tlabel\nA\tB\t\nB\tA\tx\nA\tB\t0\n")
    pairs = read_pairs(path, labels="ignored")
    assert list(pairs.a) == ["A", "B", "A"]
    assert pairs.labels is None


def test_letters_of_other_alphabets_are_no_residues(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text(">A\nMK\u0131V\n")
    with pytest.raises(InputError, match="at residue 3"):
        read_proteins(path)


def test_an_id_with_a_blank_in_a_table_is_refused(tmp_path):
    path = tmp_path / "proteins.tsv"
    path.write_text("A\tMKV\nprot B\tMKV\n")
    with pytest.raises(InputError, match="line 2: the id holds a blank"):
        read_proteins(path)


def test_an_id_that_no_table_can_hold_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'a\\tb' holds a tab"):
        write_pairs(make_pairs(("a\tb", "c")), tmp_path / "out.tsv")


@pytest.mark.parametrize("name", ["out.fasta", "out.tsv", "out.csv", "out.parquet"])
def test_a_full_disk_leaves_the_old_file_whole(tmp_path, monkeypatch, name):
    def fill(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = put(tmp_path, "old", name)
    monkeypatch.setattr(os, "fsync", fill)
    content = Proteins(sequences=TWO, notes=()) if name == "out.fasta" else make_pairs(("a", "b", 1))
    write = write_fasta if name == "out.fasta" else write_pairs
    with pytest.raises(InputError, match="No space left"):
        write(content, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
