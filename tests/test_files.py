"""A file is written whole or not at all, whoever else writes it."""

import os
import threading
import time

import pytest

from ppi_lib.errors import InputError
from ppi_lib.files import write_atomically


def test_two_writers_at_once_leave_one_of_two_whole_files(tmp_path):
    path, both = tmp_path / "a.txt", threading.Barrier(2)

    def write(text: str):
        def slowly(target):
            with open(target, "w") as file:
                for letter in text:
                    file.write(letter)
                    file.flush()
                    time.sleep(0.002)
            both.wait()

        write_atomically(path, slowly)

    writers = [threading.Thread(target=write, args=(letter * 50,)) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() in ("a" * 50, "b" * 50)
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_last_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, lambda target: target.write_text("whole"))

    def fail(target):
        target.write_text("ha")
        raise OSError("No space left on device")

    with pytest.raises(InputError, match=r"a\.txt: could not be written \(No space left.*The last whole file is kept"):
        write_atomically(path, fail)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path):
    path, old, new = tmp_path / "a.txt", tmp_path / "a.txt.01234567.tmp", tmp_path / "a.txt.89abcdef.tmp"
    for left in (old, new):
        left.write_text("ha")
    os.utime(old, (time.time() - 7200,) * 2)
    write_atomically(path, lambda target: target.write_text("whole"))
    assert sorted(tmp_path.iterdir()) == [path, new]
