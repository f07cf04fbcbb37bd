"""Interface residues from a complex in a PDB or mmCIF file, in the numbering of the sequences (Biopython).

Two residues of the two chains are in contact if their C-beta atoms (C-alpha of glycine) are within 8 Angstrom, the
definition of contact prediction. A chain is aligned to its sequence, since a structure lacks what was not resolved and
counts in its own way. Tags at its ends are left out; if less than 90% of what is aligned is identical, or less than
half of the chain is aligned, it is taken for another protein and refused.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppi_lib.errors import InputError

DISTANCE = 8.0
IDENTITY = 0.9
ALIGNED = 0.5
"""Share of a chain that must align."""


class Interface(NamedTuple):
    residues_a: tuple[int, ...]
    """Places in the sequence of A, from 0."""
    residues_b: tuple[int, ...]
    identity_a: float
    """Share of the chain's aligned residues that are the same in the sequence, `IDENTITY` to 1."""
    identity_b: float


def _read_chains(path: Path) -> dict:
    """Return the chains of the first model."""
    try:
        from Bio.PDB import MMCIFParser, PDBParser
    except ImportError as error:
        raise InputError(f"{error}. Install what structures need: pip install 'ppi_lib[structures]'.") from error
    parsers = {".pdb": PDBParser, ".ent": PDBParser, ".cif": MMCIFParser, ".mmcif": MMCIFParser}
    if path.suffix.lower() not in parsers:
        raise InputError(f"{path}: ends with {path.suffix!r}; expected {', '.join(parsers)}.")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file. Check the path.")
    try:
        return {
            chain.id: chain for chain in next(iter(parsers[path.suffix.lower()](QUIET=True).get_structure("", path)))
        }
    except (ValueError, KeyError, IndexError, StopIteration, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as a structure ({error or type(error).__name__}).") from error


def _residues(path: Path, chains: dict, name: str) -> tuple[str, np.ndarray]:
    """Return the sequence of a chain's amino acids and the places `(L, 3)` of their C-beta atoms."""
    from Bio.PDB.Polypeptide import protein_letters_3to1_extended

    if name not in chains:
        raise InputError(f"{path}: has no chain {name!r}; there is {', '.join(map(repr, chains))}.")
    letters, places = [], []
    for residue in chains[name]:
        letter = protein_letters_3to1_extended.get(residue.get_resname().strip())
        atom = next((residue[atom] for atom in ("CB", "CA") if atom in residue), None)
        if letter and atom is not None:
            letters.append(letter)
            places.append(atom.coord)
    if not letters:
        raise InputError(f"{path}: chain {name!r} holds no amino acids; expected a protein. Choose another chain.")
    return "".join(letters), np.array(places)


def _align(path: Path, name: str, chain: str, protein: str, sequence: str) -> tuple[dict[int, int], float]:
    """Return where each residue of a chain stands in the sequence, and the share of them that is the same."""
    from Bio.Align import PairwiseAligner

    # leaving out what is not resolved costs little, a wrong residue more: a chain is a sequence with holes
    aligner = PairwiseAligner(mode="global", match_score=2, mismatch_score=-2, open_gap_score=-4, extend_gap_score=-0.1)
    aligner.end_gap_score = 0
    alignment = aligner.align(sequence, chain)[0]
    places = {
        int(inner + offset): int(outer + offset)
        for (outer, stop), (inner, _) in zip(*alignment.aligned, strict=True)
        for offset in range(stop - outer)
    }
    same = sum(chain[inner] == sequence[outer] for inner, outer in places.items()) / max(1, len(places))
    if same < IDENTITY or len(places) < ALIGNED * len(chain):
        raise InputError(
            f"{path}: chain {name!r} is {same:.0%} identical to {protein} over the {len(places) / len(chain):.0%} of "
            f"it that aligns; expected at least {IDENTITY:.0%} over {ALIGNED:.0%}. Give the chain of that protein, or "
            "the sequence that was solved."
        )
    return places, same


def read_interface(
    path: str | Path, chain_a: str, chain_b: str, pair: tuple[str, str], sequences: dict[str, str]
) -> Interface:
    """Return the residues of both proteins that touch the other one in a complex.

    `sequences` has those of `pair`. Raises `InputError` if a chain is missing, is another protein, or if the chains do
    not touch.
    """
    path = Path(path)
    chains, sides = _read_chains(path), []
    for name, protein in zip((chain_a, chain_b), pair, strict=True):
        if protein not in sequences:
            raise InputError(f"sequences hold nothing of {protein}; expected both proteins of {pair}.")
        letters, coordinates = _residues(path, chains, name)
        sides.append((coordinates, *_align(path, name, letters, protein, sequences[protein])))
    (first, places_a, same_a), (second, places_b, same_b) = sides
    touch = np.linalg.norm(first[:, None] - second[None], axis=-1) <= DISTANCE
    residues_a = tuple(sorted(places_a[i] for i in np.flatnonzero(touch.any(axis=1)) if i in places_a))
    residues_b = tuple(sorted(places_b[i] for i in np.flatnonzero(touch.any(axis=0)) if i in places_b))
    if not residues_a or not residues_b:
        raise InputError(
            f"{path}: chains {chain_a!r} and {chain_b!r} have no residues within {DISTANCE:g} Angstrom of each other. "
            "Give two chains that touch."
        )
    return Interface(residues_a, residues_b, same_a, same_b)
