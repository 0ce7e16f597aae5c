"""Lines come in as they stand in files, whatever compressed them."""

import gzip
import os
import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kdray.errors import DataError, InputError, StageFailed
from kdray.translation import files
from kdray.translation.files import read_lines, written_to

LINES = st.lists(st.text(st.characters(blacklist_characters="\n\r\ufeff", codec="utf-8")))
PACKED = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "two gzip files": lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:]),
}


@pytest.mark.slow
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED.keys())
@given(lines=LINES, chunk=st.integers(1, 9))
def test_lines_are_read_as_they_were_written(pack, lines, chunk, tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(pack("".join(f"{line}\n" for line in lines).encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK_BYTES", chunk)  # lines and characters are cut anywhere
        found = list(read_lines([path, path]))
    assert [line.text for line in found] == lines * 2
    assert [line.number for line in found] == list(range(2 * len(lines)))


def test_ends_of_lines_and_byte_order_marks_are_no_text(tmp_path):
    path = tmp_path / "windows.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\xe2\x80\xa8three\r\n\r\nlast")
    texts = [line.text for line in read_lines([path])]
    assert texts == ["one", "two\u2028three", "", "last"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"good\nb\xe4d\n", "line 2: byte 2 is 0xe4, which is not UTF-8"),
        (gzip.compress(b"some text that is long enough" * 9, mtime=0)[:-9], "truncated"),
        (b"\x1f\x8bnot gzip at all", "cannot be read to its end"),
    ],
)
def test_what_cannot_be_read_is_named(content, words, tmp_path):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(read_lines([path]))


def test_what_is_no_file_is_written_to_and_stays(tmp_path):
    place, read = tmp_path / "pipe", []
    os.mkfifo(place)
    reader = threading.Thread(target=lambda: read.append(place.read_bytes()))
    reader.start()
    with written_to(place) as out:
        out.write(b"one\n")
    reader.join(timeout=10)
    assert read == [b"one\n"]
    assert place.is_fifo()
    with written_to(Path("/dev/null")) as out:
        out.write(b"one\n")
    assert Path("/dev/null").is_char_device()


def test_a_link_leads_to_what_is_written(tmp_path):
    (tmp_path / "link").symlink_to("file")
    with written_to(tmp_path / "link") as out:
        out.write(b"one\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"one\n"


def test_a_full_disk_is_one_message_with_the_place():
    with (
        pytest.raises(StageFailed, match=r"^/dev/full: could not be made .*; make room, and"),
        written_to(Path("/dev/full")) as out,
    ):
        out.write(b"one\n")


@pytest.mark.parametrize("name", ["out.txt", "out.txt.gz"])
def test_a_file_is_there_when_all_is_written(name, tmp_path):
    place = tmp_path / name
    with written_to(place) as out:
        out.write(b"a line\n")
        assert not place.exists()
    assert [line.text for line in read_lines([place])] == ["a line"]
    with pytest.raises(TypeError), written_to(place) as out:
        out.writelines([b"half\n", "what ends it early"])
    assert [line.text for line in read_lines([place])] == ["a line"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["absent/out", ".", "out.zst"])
def test_what_cannot_be_written_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="--output"), written_to(tmp_path / name):
        pass
