"""Files of sentence pairs are found by how corpora are usually named, and by what is in them."""

import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from kdray.config.sources import PairSource
from kdray.errors import DataError, InputError
from kdray.starting.looking import look_at
from kdray.text.readers import read_pairs

LINE = {"id": "7", "en": "a", "de": "b"}


@pytest.mark.parametrize(
    ("names", "source", "languages", "role"),
    [
        (("train.de", "train.en"), ("train.de", "train.en"), ("de", "en"), "train"),
        (("train.en.gz", "train.de.gz"), ("train.de.gz", "train.en.gz"), ("de", "en"), "train"),
        (("x.en-de.en", "x.en-de.de"), ("x.en-de.en", "x.en-de.de"), ("en", "de"), None),
        (("src-val.txt", "tgt-val.txt"), ("src-val.txt", "tgt-val.txt"), ("src", "tgt"), "dev"),
        (("valid_ref", "valid_src"), ("valid_src", "valid_ref"), ("src", "ref"), "dev"),
        (("newstest2019.cs", "newstest2019.pt_BR"),) * 2 + (("cs", "pt_BR"), "test"),
        (("en.txt", "fr.txt"), ("en.txt", "fr.txt"), ("en", "fr"), None),
    ],
)
def test_two_files_whose_names_differ_in_the_language(tmp_path, names, source, languages, role):
    for name in names:
        (tmp_path / name).write_text("a line\n")
    for other in ("README.txt", "notes.md", "train.log.1", "train.log", "train.xml", ".hidden.en"):
        (tmp_path / other).touch()
    (pairs,) = look_at(tmp_path)
    assert (pairs.source["src"], pairs.source["tgt"]) == source
    assert pairs.languages == languages
    assert pairs.role == role


@pytest.mark.parametrize(
    ("name", "content", "source", "languages"),
    [
        ("a.tsv", "one\ttwo\n", {"src_column": 0, "tgt_column": 1}, ("src", "tgt")),
        ("a.de-en.tsv", "eins\tone\n", {"src_column": 0, "tgt_column": 1}, ("de", "en")),
        ("a.tsv", "id\tsrc\ttgt\n1\ta\tb\n", {"src_column": 1, "tgt_column": 2, "header": True},
         ("src", "tgt")),
        ("a.en-de.tsv", "de\ten\nb\ta\n", {"src_column": 1, "tgt_column": 0, "header": True},
         ("en", "de")),
        ("a.jsonl", json.dumps(LINE), {"src_field": "en", "tgt_field": "de"}, ("en", "de")),
        ("a.jsonl", json.dumps({"translation": LINE}),
         {"src_field": "translation.en", "tgt_field": "translation.de"}, ("en", "de")),
        ("a.jsonl", json.dumps({"x": "a", "y": "b", "n": 1}),
         {"src_field": "x", "tgt_field": "y"}, ("x", "y")),
    ],
)  # fmt: skip
def test_one_file_with_both_sides(tmp_path, name, content, source, languages):
    (tmp_path / name).write_text(content)
    (pairs,) = look_at(tmp_path)
    kind = name.rpartition(".")[2]
    assert pairs.source == {"format": kind, "path": name, **source}
    assert pairs.languages == languages


def memory(*units):
    def tuv(tag, text):
        return f'<tuv xml:lang="{tag}"><seg>{text}</seg></tuv>'

    body = "".join(f"<tu>{''.join(tuv(tag, 'x') for tag in tags)}</tu>" for tags in units)
    return f'<?xml version="1.0"?><tmx version="1.4"><header/><body>{body}</body></tmx>'


@pytest.mark.parametrize(
    ("units", "asked", "languages"),
    [
        ([("en-US", "de-DE"), ("de-AT", "en")], (None, None), ("de", "en")),
        ([("en-US", "en-GB")], (None, None), ("en-GB", "en-US")),
        ([("en", "de"), ("cs",)], ("en", "cs"), ("en", "cs")),
        ([("en",)], (None, None), None),
    ],
)
def test_languages_of_a_memory_stand_in_it(tmp_path, units, asked, languages):
    (tmp_path / "train.tmx").write_text(memory(*units))
    found = look_at(tmp_path, asked)
    assert [pairs.languages for pairs in found] == ([languages] if languages else [])
    for pairs in found:
        assert pairs.role == "train"
        source = TypeAdapter(PairSource).validate_python(pairs.source)
        assert len(list(read_pairs(source, tmp_path))) == len(units)
        assert pairs.turned().source["src_tag"] == languages[1]


def test_a_memory_of_several_languages_is_asked_for_two(tmp_path):
    (tmp_path / "a.tmx").write_text(memory(("en", "de", "cs")))
    with pytest.raises(InputError, match=r"a\.tmx: is there in cs, de, en; name two"):
        look_at(tmp_path)


@pytest.mark.parametrize(
    ("names", "languages"),
    [
        (("Books.en-de.de", "Books.en-de.en", "Books.en-de.xml", "README"), ("en", "de")),
        (("text/a.en", "text/a.pt_BR"), ("en", "pt_BR")),
        (("a.de", "a.en", "b.de", "b.en"), None),
        (("config.yml", "model.bin"), None),
    ],
)
def test_an_archive_of_two_texts_is_a_source(tmp_path, names, languages):
    with zipfile.ZipFile(tmp_path / "Books.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "a line\n")
    (tmp_path / "Books.tmx").write_text(memory(("en",)))  # tmx and zip are no languages
    found = look_at(tmp_path)
    assert [pairs.languages for pairs in found] == ([languages] if languages else [])
    for pairs in found:
        assert (pairs.name, pairs.role) == ("Books", None)
        source = TypeAdapter(PairSource).validate_python(pairs.source)
        assert list(read_pairs(source, tmp_path)) == [("a line", "a line")]


def test_columns_of_text_are_the_sides_of_parquet(tmp_path):
    table = pa.table({"n": [1], "source": ["a"], "target": ["b"]})
    pq.write_table(table, tmp_path / "train.parquet")
    (pairs,) = look_at(tmp_path)
    assert (pairs.source["src_column"], pairs.source["tgt_column"]) == ("source", "target")


def test_turned_twice_is_as_before(tmp_path):
    (tmp_path / "a.de-en.tsv").write_text("eins\tone\n")
    (pairs,) = look_at(tmp_path)
    assert pairs.turned().source["src_column"] == 1
    assert pairs.turned().turned() == pairs


def test_of_several_languages_two_are_asked_for(tmp_path):
    for language in ("cs", "de", "en"):
        (tmp_path / f"train.{language}").touch()
    (pairs,) = look_at(tmp_path, ("en", "cs"))
    assert pairs.source == {"src": "train.en", "tgt": "train.cs"}
    with pytest.raises(InputError, match="train: is there in cs, de, en"):
        look_at(tmp_path, ("en", None))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.tmx", "a.zip"])
def test_a_file_that_is_not_what_its_name_says_is_told(tmp_path, name):
    (tmp_path / name).write_text("no such thing")
    with pytest.raises(DataError, match=name):
        look_at(tmp_path)
