import numpy as np
import pytest

from ppi_lib.profile import GROUPS, WIDTH, profile_patches, profile_residues
from ppi_lib.proteins import STANDARD
from ppi_lib.scales import SCALES, encode_residues, scale_table, window_mean

FOR_EVER = [18.0, 20.946, 0.201, 0.341, 14.029]


def random_sequence(length: int) -> str:
    return "".join(np.random.default_rng(length).choice(list(STANDARD + "X"), length))


@pytest.mark.parametrize("length", [1, 2, 4, 5, 31, 32, 33, 500, 1502])
def test_patches_are_the_mean_of_the_residues(length):
    residues = profile_residues(random_sequence(length))
    assert residues.shape == (length, WIDTH)
    means = np.stack([residues[start : start + 32].mean(axis=0) for start in range(0, length, 32)])
    assert np.allclose(profile_patches(random_sequence(length)), means, atol=1e-5)


def test_the_groups_follow_one_another_and_fill_the_width():
    ends = [0, *(group.stop for group in GROUPS.values())]
    assert [group.start for group in GROUPS.values()] == ends[:-1]
    assert ends[-1] == WIDTH == 960


def test_the_first_group_counts_residues():
    patches = profile_patches("A" * 32 + "CD" * 8)
    assert patches[0, 0] == 18
    assert patches[1, [0, 1, 2]].tolist() == [0, 9, 9]


def test_order_inside_a_patch_is_seen():
    shuffled = "".join(np.random.default_rng(0).permutation(list(random_sequence(32))))
    difference = np.abs(profile_patches(random_sequence(32)) - profile_patches(shuffled))[0]
    assert difference[GROUPS["residues"]].max() == 0
    assert difference[GROUPS["dipeptides"]].max() > 0
    assert difference[GROUPS["thresholds"]].max() > 0


def test_the_same_dipeptides_give_the_same_numbers_and_others_nearly_orthogonal_ones():
    rows = {pair: profile_residues(pair)[0, GROUPS["dipeptides"]][:256] for pair in ("AC", "CA", "LK", "KL")}
    assert np.array_equal(rows["AC"], profile_residues("ACD")[0, GROUPS["dipeptides"]][:256])
    for one in rows.values():
        assert np.linalg.norm(one) == pytest.approx(18, rel=1e-5)
        assert sum(abs(one @ other) < 0.25 * 18**2 for other in rows.values()) == 3


def test_the_numbers_are_the_same_for_ever():
    residue = profile_residues("MKVLAAGICDEFWYHNPQRST")[4].astype(np.float64)
    weights = np.cos(np.arange(WIDTH))
    assert [round(float(residue[group] @ weights[group]), 3) for group in GROUPS.values()] == FOR_EVER


def test_soft_thresholds_are_shares_of_residues():
    thresholds = 10 * profile_patches(random_sequence(320))[:, GROUPS["thresholds"]]
    assert thresholds.min() >= 0
    assert thresholds.max() <= 1.000001
    steps = thresholds[:, : 66 * 5].reshape(len(thresholds), 66, 5)
    assert (np.diff(steps, axis=2) <= 1e-6).all()


def test_a_poly_leucine_helix_is_above_every_threshold_of_hydropathy_and_below_those_of_disorder():
    membrane, disordered = (10 * profile_residues(s)[20, GROUPS["thresholds"]] for s in ("L" * 40, "PESK" * 10))
    hydropathy, disorder = slice(0, 5), slice(5, 10)
    assert membrane[hydropathy].tolist() == pytest.approx([1] * 5)
    assert membrane[disorder][1:].max() == 0
    assert disordered[hydropathy][1:].max() == 0
    assert disordered[disorder].min() > 0


def test_an_unknown_residue_is_counted_apart_and_average_in_every_scale():
    residue = profile_residues("X")[0]
    assert residue[20] == 18
    assert residue[21:].max() < 18
    assert np.abs(residue[GROUPS["dipeptides"]]).max() == 0
    assert np.abs(residue[GROUPS["windows"]][:66]).max() < 1e-6
    table = scale_table("hydropathy")
    assert table[20, 0] == pytest.approx(table[:20, 0].mean())


def test_window_mean_is_cut_at_the_ends():
    assert window_mean(np.arange(5.0), 3).tolist() == [0.5, 1.0, 2.0, 3.0, 3.5]


def test_scales_hold_twenty_published_values_each():
    assert all(set(scale) == set(STANDARD) for scale in SCALES.values())
    assert (SCALES["hydropathy"]["I"], SCALES["hydropathy"]["R"]) == (4.5, -4.5)
    assert (SCALES["disorder"]["P"], SCALES["disorder"]["W"]) == (0.987, -0.884)
    assert encode_residues("AYX").tolist() == [0, 19, 20]
