"""Known sites and interfaces: patches, hits, nulls, structures."""

import numpy as np
import pandas as pd
import pytest
from conftest import random_sequence

from ppi_lib.errors import InputError
from ppi_lib.explained import PatchAttribution
from ppi_lib.pair_inputs import Coordinates
from ppi_lib.structure import read_interface
from ppi_lib.truth import (
    auroc,
    find_interfaces,
    find_sites,
    meet,
    patches_of_residues,
    patches_of_site,
    summarise_truth,
)

THREE = {"A": "ALA", "C": "CYS", "D": "ASP", "E": "GLU", "F": "PHE", "G": "GLY", "H": "HIS", "I": "ILE", "K": "LYS"}
THREE |= {"L": "LEU", "M": "MET", "N": "ASN", "P": "PRO", "Q": "GLN", "R": "ARG", "S": "SER", "T": "THR", "V": "VAL"}
THREE |= {"W": "TRP", "Y": "TYR"}


def attribution(scores, length_a: int, length_b: int) -> PatchAttribution:
    where = Coordinates("A", "B", length_a, length_b)
    return PatchAttribution(where, "toy", np.array(scores, dtype=float), 1.0, 0.0)


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ((0, 90), [1, 1, 1, 0, 0]),  # 26 of the third patch's 32
        ((20, 110), [0, 1, 1, 0, 0]),  # 12 and 14 at the ends graze
        ((24, 40), [1, 1, 0, 0, 0]),  # a motif of 16, 8 and 8
        ((25, 41), [0, 1, 0, 0, 0]),
        ((128, 140), [0, 0, 0, 0, 1]),
        ((60, 140), [0, 0, 1, 1, 1]),  # the last patch is short, and all in it
    ],
)
def test_a_patch_is_of_a_site_if_it_holds_half_of_what_it_could(site, expected):
    assert patches_of_site(site, 140).tolist() == [bool(value) for value in expected]


def test_an_interface_takes_the_patches_that_hold_three_of_it():
    assert patches_of_residues([0, 5, 31, 32, 33, 70, 71, 72], 100).tolist() == [True, False, True, False]


def test_auroc_counts_ties_as_half_and_knows_no_answer_without_both_sides():
    assert auroc(np.array([3.0, 1.0, 2.0]), np.array([True, False, False])) == 1
    assert auroc(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
    assert np.isnan(auroc(np.array([1.0, 2.0]), np.array([True, True])))


def test_hits_and_enrichment_of_a_map_that_is_right_and_one_that_is_wrong():
    inside = np.array([True, False, False, True])
    right = meet(np.array([5.0, -1.0, 0.0, 3.0]), inside, 2)
    assert right[:6] == (1, 1, 1, 1, 1, 1)
    assert right.enrichment == 2
    wrong = meet(np.array([-5.0, 1.0, 4.0, 0.0]), inside, 2)
    assert wrong[:6] == (0, 0, 0, 0, 0, 0)
    assert wrong.enrichment == 0


def test_sites_are_found_and_the_null_moves_them():
    sites = {"A": (0, 64, "lock 1"), "B": (320, 352, "key 1")}
    scores = np.zeros(31)
    scores[[0, 1, 20 + 10]] = 3, 2, 1
    rows = find_sites([attribution(scores, 640, 352)] * 2, sites, draws=200)
    assert rows[["hit", "hit_a", "hit_b", "auroc"]].to_numpy().tolist() == [[1.0] * 4] * 2
    assert (rows["hit_null"] < 0.3).all()
    assert rows["auroc_null"].between(0.4, 0.6).all()
    assert summarise_truth(rows).loc["toy", "hit"] == 1


def test_a_map_that_prefers_one_end_does_as_well_under_the_null():
    scores = np.concatenate([np.arange(20.0), np.arange(11.0)])
    rows = find_sites([attribution(scores, 640, 352)], {"A": (300, 340), "B": (100, 140)}, draws=100)
    assert abs(rows["auroc"].item() - rows["auroc_null"].item()) < 0.15


def test_interfaces_are_found_and_the_null_turns_them():
    scores = np.zeros(31)
    scores[[3, 4, 20 + 2]] = 3, 2, 1
    interfaces = {("A", "B"): ([100, 105, 110, 130, 140, 150], [64, 70, 80])}
    rows = find_interfaces([attribution(scores, 640, 352)], interfaces)
    assert rows["auroc"].item() == 1
    assert rows["hit"].item() == 1
    assert rows["hit_null"].item() < 0.4


def test_what_is_wrong_with_the_truth_is_named():
    one = attribution(np.zeros(4), 64, 64)
    with pytest.raises(InputError, match="nothing of B"):
        find_sites([one], {"A": (0, 10)})
    with pytest.raises(InputError, match=r"site of B is \(60, 70\).*within its 64 residues"):
        find_sites([one], {"A": (0, 10), "B": (60, 70)})
    with pytest.raises(InputError, match=r"nothing of \('A', 'B'\)"):
        find_interfaces([one], {})
    with pytest.raises(InputError, match=r"interface of B .* outside its 64 residues"):
        find_interfaces([one], {("A", "B"): ([1, 2, 3], [64])})


def write_pdb(path, chains: dict[str, tuple[str, float, int]]) -> None:
    """Straight chains of C-alpha and C-beta, 4 Angstrom a residue along x: name -> sequence, height, first number."""
    lines, serial = [], 1
    for chain, (sequence, height, first) in chains.items():
        for place, letter in enumerate(sequence):
            for atom, up in (("CA", 0.0), ("CB", 1.0)):
                if letter == "G" and atom == "CB":
                    continue
                name, number = THREE[letter], first + place
                lines.append(
                    f"ATOM  {serial:5d}  {atom:<3s} {name} {chain}{number:4d}    "
                    f"{4.0 * place:8.3f}{height + up:8.3f}{0.0:8.3f}  1.00  0.00           C"
                )
                serial += 1
    path.write_text("\n".join([*lines, "END", ""]))


@pytest.fixture(scope="module")
def sequences():
    return {"A": random_sequence(80, 1).replace("G", "A"), "B": random_sequence(60, 2).replace("G", "A")}


def test_an_interface_is_read_in_the_numbering_of_the_sequences(tmp_path, sequences):
    # residues 10..39 of A lie above residues 40..59 of B, numbered from 500 and from 1
    write_pdb(tmp_path / "x.pdb", {"H": (sequences["A"][10:40], 5.0, 500), "L": (sequences["B"][40:], 0.0, 1)})
    found = read_interface(tmp_path / "x.pdb", "H", "L", ("A", "B"), sequences)
    assert found.residues_b == tuple(range(40, 60))
    assert found.residues_a == tuple(range(10, 31))  # the next is 4 to the side and 5 up: 6.4; two on are 9.4
    assert found.identity_a == found.identity_b == 1


def test_holes_and_a_few_other_residues_are_aligned(tmp_path, sequences):
    other = "W" if sequences["A"][20] != "W" else "Y"
    chain = sequences["A"][:20] + other + sequences["A"][21:30] + sequences["A"][45:80]
    write_pdb(tmp_path / "x.pdb", {"A": (chain, 5.0, 1), "B": (sequences["B"], 0.0, 1)})
    found = read_interface(tmp_path / "x.pdb", "A", "B", ("A", "B"), sequences)
    assert found.identity_a == pytest.approx(64 / 65)
    assert set(found.residues_a) == {*range(30), *range(45, 76)} & set(found.residues_a)
    assert 45 in found.residues_a
    assert 35 not in found.residues_a


def test_mmcif_reads_like_pdb(tmp_path, sequences):
    from Bio.PDB import PDBParser
    from Bio.PDB.mmcifio import MMCIFIO

    write_pdb(tmp_path / "x.pdb", {"A": (sequences["A"], 5.0, 1), "B": (sequences["B"], 0.0, 1)})
    writer = MMCIFIO()
    writer.set_structure(PDBParser(QUIET=True).get_structure("", tmp_path / "x.pdb"))
    writer.save(str(tmp_path / "x.cif"))
    first, second = (read_interface(tmp_path / f"x.{s}", "A", "B", ("A", "B"), sequences) for s in ("pdb", "cif"))
    assert first == second


def test_a_tag_at_the_end_of_a_chain_is_left_out(tmp_path, sequences):
    tagged = {"A": (sequences["A"] + "HHHHHHGSGSENLYFQ", 5.0, 1), "B": (sequences["B"], 0.0, 1)}
    write_pdb(tmp_path / "x.pdb", tagged)
    found = read_interface(tmp_path / "x.pdb", "A", "B", ("A", "B"), sequences)
    assert found.identity_a == 1
    assert max(found.residues_a) < len(sequences["A"])


def test_a_structure_that_does_not_fit_is_refused(tmp_path, sequences):
    path = tmp_path / "x.pdb"
    far = {"A": (sequences["A"], 50.0, 1), "B": (sequences["B"], 0.0, 1)}
    write_pdb(path, far)
    cases = [
        ((path, "A", "Z", ("A", "B"), sequences), "no chain 'Z'; there is 'A', 'B'"),
        ((path, "A", "B", ("A", "B"), sequences), "no residues within 8 Angstrom"),
        (
            (path, "A", "A", ("A", "B"), sequences),
            r"chain 'A' is \d+% identical to B over .*expected at least 90% over 50%",
        ),
        ((path, "A", "B", ("A", "C"), sequences), "nothing of C"),
        ((tmp_path / "y.pdb", "A", "B", ("A", "B"), sequences), "no such file"),
        ((tmp_path / "y.xyz", "A", "B", ("A", "B"), sequences), "expected .pdb"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            read_interface(*arguments)
    (tmp_path / "empty.cif").write_text("nothing")
    with pytest.raises(InputError, match="not readable as a structure"):
        read_interface(tmp_path / "empty.cif", "A", "B", ("A", "B"), sequences)


def test_a_summary_has_each_field_beside_its_null():
    rows = find_sites([attribution(np.arange(4.0), 64, 64)], {"A": (0, 32), "B": (32, 64)}, draws=3)
    table = summarise_truth(rows)
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns[:2]) == ["hit", "hit_null"]
