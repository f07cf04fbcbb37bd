import numpy as np
import pytest

from ppi_lib.profile import WIDTH, profile_patches, profile_residues
from ppi_lib.proteins import STANDARD
from ppi_lib.scales import SCALES, encode_residues, scale_table, window_mean


def random_sequence(length: int) -> str:
    return "".join(np.random.default_rng(length).choice(list(STANDARD + "X"), length))


@pytest.mark.parametrize("length", [1, 2, 4, 5, 31, 32, 33, 500, 1502])
def test_patches_are_the_mean_of_the_residues(length):
    residues = profile_residues(random_sequence(length))
    assert residues.shape == (length, WIDTH)
    means = np.stack([residues[start : start + 32].mean(axis=0) for start in range(0, length, 32)])
    assert np.allclose(profile_patches(random_sequence(length)), means, atol=1e-5)


def test_the_first_block_counts_residues():
    patches = profile_patches("A" * 32 + "CD" * 8)
    assert patches[0, 0] == 18
    assert patches[1, [0, 1, 2]].tolist() == [0, 9, 9]


def test_order_inside_a_patch_is_seen():
    shuffled = "".join(np.random.default_rng(0).permutation(list(random_sequence(32))))
    difference = np.abs(profile_patches(random_sequence(32)) - profile_patches(shuffled))[0]
    assert difference[:21].max() == 0
    assert difference[21:421].max() > 0
    assert difference[421:764].max() > 0


def test_a_poly_leucine_helix_is_membrane_and_not_disordered():
    membrane = profile_residues("L" * 40)[20]
    disordered = profile_residues("PESK" * 10)[20]
    first_indicator = 813 + 21
    assert membrane[first_indicator] > 0
    assert disordered[first_indicator] == 0
    assert disordered[first_indicator + 2] > 0


def test_an_unknown_residue_is_counted_apart_and_average_in_every_scale():
    residue = profile_residues("X")[0]
    assert residue[20] == 18
    assert residue[21:764].max() == 0
    table = scale_table("hydropathy")
    assert table[20, 0] == pytest.approx(table[:20, 0].mean())


def test_window_mean_is_cut_at_the_ends():
    assert window_mean(np.arange(5.0), 3).tolist() == [0.5, 1.0, 2.0, 3.0, 3.5]


def test_scales_hold_twenty_published_values_each():
    assert all(set(scale) == set(STANDARD) for scale in SCALES.values())
    assert (SCALES["hydropathy"]["I"], SCALES["hydropathy"]["R"]) == (4.5, -4.5)
    assert (SCALES["disorder"]["P"], SCALES["disorder"]["W"]) == (0.987, -0.884)
    assert encode_residues("AYX").tolist() == [0, 19, 20]
