"""A file is there whole, as it was, or not at all; what is no plain file is written to."""

import os
import threading
from pathlib import Path

import pytest

from bp_pipeline.files import replacing


def test_what_is_broken_off_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")

    def break_off():
        with replacing(path) as new:
            new.write_text("half")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("name", ["page.html", f"{'n' * 250}.html"])
def test_what_is_whole_takes_its_place(tmp_path, name):
    for text in ("one", "two"):
        with replacing(tmp_path / name) as new:
            new.write_text(text)
        assert (tmp_path / name).read_text() == text
    assert len([*tmp_path.iterdir()]) == 1


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "link").symlink_to("file")
    with replacing(tmp_path / "link") as new:
        new.write_text("text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


def test_a_pipe_is_written_to(tmp_path):
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    with replacing(pipe) as new:
        new.write_text("text")
    reader.join(timeout=10)
    assert read == ["text"]
    assert pipe.is_fifo()


def test_a_stream_of_this_process_is_written_to():
    read, write = os.pipe()
    with replacing(Path(f"/dev/fd/{write}")) as new:
        new.write_text("text")
    assert os.read(read, 9) == b"text"
    os.close(read)
    os.close(write)


def test_threads_do_not_write_to_one_file(tmp_path):
    with replacing(tmp_path / "mine") as mine:
        mine.write_text("mine")

        def write() -> None:
            with replacing(tmp_path / "other") as new:
                new.write_text("other")

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert (tmp_path / "mine").read_text() == "mine"
