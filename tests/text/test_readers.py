"""Pairs are read from every format in order and unaltered, or a DataError says where they fail."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kdray.config.sources import JsonlPairs, ParquetPairs, TextPairs, TsvPairs
from kdray.errors import DataError
from kdray.text.parts import parts_of
from kdray.text.readers import read_pairs

PAIRS = [("a house", "ein Haus"), ("  two\u2028words ", "zwei\x0cWörter"), ("", "leer")]
TEXT = TextPairs(src="a.src", tgt="a.tgt")
JSONL = JsonlPairs(format="jsonl", path="a.jsonl", src_field="translation.en", tgt_field="de")
PARQUET = ParquetPairs(format="parquet", path="a.parquet", src_column="en", tgt_column="de")

LINE = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=12)
ANY_PAIRS = st.lists(st.tuples(LINE, LINE), max_size=6)


def joined(lines, end="\n"):
    return "".join(line + end for line in lines).encode()


def write_text(folder, pairs, *, end="\n"):
    (folder / "a.src").write_bytes(joined((src for src, _ in pairs), end))
    (folder / "a.tgt").write_bytes(joined((tgt for _, tgt in pairs), end))


def tsv(folder, content, **options):
    (folder / "a.tsv").write_bytes(content.encode())
    return TsvPairs(format="tsv", path="a.tsv", **options)


def jsonl(folder, *lines):
    (folder / "a.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def parquet(folder, **columns):
    pq.write_table(pa.table(columns), folder / "a.parquet")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("readers")


@pytest.mark.slow
@given(pairs=ANY_PAIRS, end=st.sampled_from(["\n", "\r\n"]))
def test_text_comes_back_as_it_was_written(scratch, pairs, end):
    # A first character U+FEFF would be a byte order mark, which is removed.
    pairs = [(f".{src}", f".{tgt}") for src, tgt in pairs]
    write_text(scratch, pairs, end=end)
    assert list(read_pairs(TEXT, scratch)) == pairs


@pytest.mark.slow
@given(pairs=ANY_PAIRS)
def test_json_lines_come_back_as_they_were_written(scratch, pairs):
    jsonl(scratch, *(json.dumps({"translation": {"en": src}, "de": tgt}) for src, tgt in pairs))
    assert list(read_pairs(JSONL, scratch)) == pairs


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_parquet_comes_back_as_it_was_written(tmp_path, kind):
    sides = [pa.array(side, kind) for side in zip(*PAIRS, strict=True)]
    parquet(tmp_path, en=sides[0], other=[1, 2, 3], de=sides[1])
    assert list(read_pairs(PARQUET, tmp_path)) == PAIRS


def test_parquet_dictionaries_of_strings_are_strings(tmp_path):
    side = pa.array(["x", "y", "x"]).dictionary_encode()
    parquet(tmp_path, en=side, de=side)
    assert list(read_pairs(PARQUET, tmp_path)) == [("x", "x"), ("y", "y"), ("x", "x")]


@pytest.mark.slow
def test_parquet_keeps_its_order_across_batches(tmp_path):
    numbers = [str(number) for number in range(20_000)]
    parquet(tmp_path, en=numbers, de=numbers)
    assert list(read_pairs(PARQUET, tmp_path)) == [(number, number) for number in numbers]


def test_lines_longer_than_a_read_stay_whole(tmp_path):
    pairs = [("x" * 1_000_001, "y"), ("z", "ö" * 700_000)]
    write_text(tmp_path, pairs)
    assert list(read_pairs(TEXT, tmp_path)) == pairs


def test_tsv_columns_are_chosen_and_quotes_are_text(tmp_path):
    source = tsv(
        tmp_path, 'id\tde\ten\n1\t"Haus\t"house\n', src_column=2, tgt_column=1, header=True
    )
    assert list(read_pairs(source, tmp_path)) == [('"house', '"Haus')]
    (part,) = parts_of(source, tmp_path)
    assert part.first_line == 2


def test_byte_order_mark_and_missing_last_newline_are_no_text(tmp_path):
    (tmp_path / "a.src").write_bytes(b"\xef\xbb\xbfone\ntwo")
    (tmp_path / "a.tgt").write_bytes(b"eins\nzwei\n")
    assert list(read_pairs(TEXT, tmp_path)) == [("one", "eins"), ("two", "zwei")]


def test_empty_files_have_no_pairs(tmp_path):
    write_text(tmp_path, [])
    assert list(read_pairs(TEXT, tmp_path)) == []


def compressed(folder, suffix, content):
    frame = zstandard.ZstdCompressor().compress
    half = len(content) // 2
    if suffix == "gz":
        data = gzip.compress(content[:half]) + gzip.compress(content[half:])
    else:
        data = frame(content[:half]) + frame(content[half:])
    for side in ("src", "tgt"):
        (folder / f"{side}.{suffix}").write_bytes(data)
    return TextPairs(src=f"src.{suffix}", tgt=f"tgt.{suffix}")


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_all_members_of_a_compressed_file_are_read(tmp_path, suffix):
    lines = [f"line {number}" for number in range(1000)]
    source = compressed(tmp_path, suffix, joined(lines))
    assert list(read_pairs(source, tmp_path)) == [(line, line) for line in lines]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("lost", [1, 5, 40])
def test_truncated_compressed_file_is_an_error(tmp_path, suffix, lost):
    source = compressed(tmp_path, suffix, joined(f"line {number}" for number in range(1000)))
    for path in parts_of(source, tmp_path)[0].files:
        path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(DataError, match=rf"src\.{suffix}: cannot be read to its end"):
        list(read_pairs(source, tmp_path))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_file_that_is_not_compressed_as_its_name_says(tmp_path, suffix):
    source = TextPairs(src=f"a.{suffix}", tgt=f"a.{suffix}")
    (tmp_path / f"a.{suffix}").write_text("plain text\n" * 10)
    with pytest.raises(DataError, match="cannot be read"):
        list(read_pairs(source, tmp_path))


@pytest.mark.parametrize(("longer", "counts"), [("src", (5, 3)), ("tgt", (3, 5))])
def test_sides_of_unequal_length_name_both_counts(tmp_path, longer, counts):
    write_text(tmp_path, [("x", "y")] * 3)
    with (tmp_path / f"a.{longer}").open("ab") as file:
        file.write(b"one\nmore")
    with pytest.raises(DataError) as caught:
        list(read_pairs(TEXT, tmp_path))
    assert f"a.src has {counts[0]} lines and " in str(caught.value)
    assert f"a.tgt has {counts[1]}" in str(caught.value)


def test_invalid_utf8_names_file_line_and_byte(tmp_path):
    write_text(tmp_path, [("good", "gut")] * 3)
    (tmp_path / "a.tgt").write_bytes("gut\nf\xfcr\ngut\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.tgt, line 2: byte 2 is 0xfc.*iconv"):
        list(read_pairs(TEXT, tmp_path))


def test_invalid_utf8_inside_parquet_names_the_row(tmp_path):
    broken = pa.array([b"good", b"f\xfcr"]).cast(pa.binary()).view(pa.string())
    parquet(tmp_path, en=broken, de=["x", "y"])
    with pytest.raises(DataError, match=r"a\.parquet, row 2: byte 2 is 0xfc"):
        list(read_pairs(PARQUET, tmp_path))


@pytest.mark.parametrize("content", ["a\tb\nonly one\n", "a\tb\n\n"])
def test_tsv_row_with_too_few_columns(tmp_path, content):
    source = tsv(tmp_path, content)
    with pytest.raises(DataError, match=r"a\.tsv, line 2: 1 tab-separated columns, .* need 2"):
        list(read_pairs(source, tmp_path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"translation": {"fr": "x"}, "de": "y"}', r"no field translation\.en.*\['fr'\]"),
        ('{"translation": "x", "de": "y"}', r"no field translation\.en, translation holds str"),
        ('{"translation": {"en": "x"}, "de": 7}', "field de holds 7, which is not a string"),
        ('{"translation": {"en": "x"}, "de": null}', "field de holds null"),
        ('{"translation": {"en": "\\ud800"}, "de": "y"}', "half of a surrogate pair"),
        ("[1]", "the line holds list"),
        ("{", "not a JSON object"),
        ("", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
    ],
)
def test_json_line_without_the_text(tmp_path, line, message):
    jsonl(tmp_path, '{"translation": {"en": "x"}, "de": "y"}', line)
    with pytest.raises(DataError, match=rf"a\.jsonl, line 2: .*{message}"):
        list(read_pairs(JSONL, tmp_path))


def test_parquet_without_the_column_says_which_there_are(tmp_path):
    parquet(tmp_path, en=["x"], german=["y"])
    with pytest.raises(DataError, match=r"no column 'de', there are 'en', 'german'"):
        list(read_pairs(PARQUET, tmp_path))


def test_parquet_column_that_is_not_text(tmp_path):
    parquet(tmp_path, en=["x"], de=[1])
    with pytest.raises(DataError, match="column 'de' holds int64, not strings"):
        list(read_pairs(PARQUET, tmp_path))


def test_parquet_null_names_its_row(tmp_path):
    parquet(tmp_path, en=["x", "y"], de=["z", None])
    with pytest.raises(DataError, match="row 2: column de is null"):
        list(read_pairs(PARQUET, tmp_path))


def test_file_that_is_no_parquet(tmp_path):
    (tmp_path / "a.parquet").write_text("text\n")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(read_pairs(PARQUET, tmp_path))


def test_truncated_parquet(tmp_path):
    numbers = [str(number) for number in range(1000)]
    parquet(tmp_path, en=numbers, de=numbers)
    path = tmp_path / "a.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(read_pairs(PARQUET, tmp_path))


def test_missing_file_and_folder_are_named(tmp_path):
    (tmp_path / "a.src").write_text("x\n")
    with pytest.raises(DataError, match=r"a\.tgt: does not exist"):
        list(read_pairs(TEXT, tmp_path))
    (tmp_path / "a.tgt").mkdir()
    with pytest.raises(DataError, match=r"a\.tgt: is a folder"):
        parts_of(TEXT, tmp_path)


def test_link_may_stay_in_the_folder_but_not_leave_it(tmp_path):
    inside = tmp_path / "corpus"
    inside.mkdir()
    (tmp_path / "secret").write_text("x\n")
    (inside / "a.src").write_text("x\n")
    (inside / "a.tgt").symlink_to("a.src")
    assert list(read_pairs(TEXT, inside)) == [("x", "x")]
    (inside / "a.tgt").unlink()
    (inside / "a.tgt").symlink_to("a.tgt")
    with pytest.raises(DataError, match=r"a\.tgt: cannot be followed .*; correct the link"):
        list(read_pairs(TEXT, inside))
    (inside / "a.tgt").unlink()
    (inside / "a.tgt").symlink_to(Path("..") / "secret")
    with pytest.raises(DataError, match="outside the corpus folder"):
        list(read_pairs(TEXT, inside))


def test_source_files_name_the_source_side_first(tmp_path):
    write_text(tmp_path, PAIRS)
    assert [path.name for path in parts_of(TEXT, tmp_path)[0].files] == ["a.src", "a.tgt"]
    assert [path.name for path in parts_of(tsv(tmp_path, ""), tmp_path)[0].files] == ["a.tsv"]
