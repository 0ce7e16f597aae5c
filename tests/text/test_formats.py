"""Memories, archives, data sets by name, patterns and URLs are read whole, or refused."""

import gzip
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from kdray.config.sources import TrainSource
from kdray.errors import DataError
from kdray.storage.caches import cache_folder
from kdray.text.parts import parts_of
from kdray.text.places import _copied_by_content
from kdray.text.readers import read_pairs

PAIRS = [("a house", "ein Haus"), ("two & <more>", "zwei\u2028Wörter"), ("x", "y")]
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9)


def source(**given_keys):
    return TypeAdapter(TrainSource).validate_python(given_keys)


def read(folder, **given_keys):
    return list(read_pairs(source(**given_keys), folder))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("caches")))


# translation memories

TMX = {"format": "tmx", "path": "a.tmx", "src_tag": "en", "tgt_tag": "de"}


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def tuv(tag, text):
    return f'<tuv xml:lang="{tag}"><seg>{text}</seg></tuv>'


def write_tmx(folder, *units, head=""):
    body = "".join(f"<tu>{''.join(unit)}</tu>" for unit in units)
    text = f'<?xml version="1.0"?>{head}<tmx version="1.4"><header/><body>{body}</body></tmx>'
    (folder / "a.tmx").write_text(text, encoding="utf-8")


@pytest.mark.slow
@given(pairs=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_a_memory_comes_back_as_it_was_written(scratch, pairs):
    write_tmx(scratch, *([tuv("de-AT", escaped(t)), tuv("EN", escaped(s))] for s, t in pairs))
    assert read(scratch, **TMX) == pairs


def test_formatting_codes_go_and_highlighted_text_stays(tmp_path):
    text = 'A <bpt i="1">&lt;b></bpt><hi>bold</hi><ept i="1">&lt;/b></ept>\n   word<ph/>.'
    write_tmx(tmp_path, [tuv("en", text), tuv("de", "x")])
    assert read(tmp_path, **TMX) == [("A bold word.", "x")]


def test_an_exact_tag_goes_before_its_variants_and_a_variant_means_itself(tmp_path):
    write_tmx(tmp_path, [tuv("en-GB", "colour"), tuv("en", "color"), tuv("de-CH", "Farbe")])
    assert read(tmp_path, **TMX) == [("color", "Farbe")]
    assert read(tmp_path, **{**TMX, "src_tag": "en_gb"}) == [("colour", "Farbe")]
    with pytest.raises(DataError, match=r"no segment is in 'de-AT'.*are de-CH, en, en-GB;"):
        read(tmp_path, **{**TMX, "tgt_tag": "de-AT"})


def test_a_unit_without_one_of_the_languages_has_an_empty_side(tmp_path):
    write_tmx(tmp_path, [tuv("en", "a"), tuv("de", "b")], [tuv("en", "c"), tuv("fr", "d")])
    assert read(tmp_path, **TMX) == [("a", "b"), ("c", "")]


BOMB = '<!DOCTYPE tmx [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
SECRET = '<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
OUTSIDE = '<!DOCTYPE tmx SYSTEM "tmx14.dtd">'


@pytest.mark.parametrize("head", [BOMB, SECRET, OUTSIDE])
def test_entities_of_a_file_are_not_expanded(tmp_path, head):
    write_tmx(tmp_path, [tuv("en", "&a;"), tuv("de", "x")], head=head)
    with pytest.raises(DataError, match="has the entity 'a' of its own"):
        read(tmp_path, **TMX)


def test_a_document_type_alone_does_no_harm(tmp_path):
    write_tmx(tmp_path, [tuv("en", "a"), tuv("de", "b")], head=OUTSIDE)
    assert read(tmp_path, **TMX) == [("a", "b")]


@pytest.mark.parametrize(
    "content", ["", "text", "<tmx><body>", '<?xml version="1.0" encoding="x"?>']
)
def test_a_file_that_is_no_memory(tmp_path, content):
    (tmp_path / "a.tmx").write_text(content)
    with pytest.raises(DataError, match=r"a\.tmx: is no TMX"):
        read(tmp_path, **TMX)
    (tmp_path / "a.tmx").write_text("<html/>")
    with pytest.raises(DataError, match="is XML of <html> and no TMX"):
        read(tmp_path, **TMX)


# archives

ZIP = {"format": "moses_zip", "path": "a.zip", "src_suffix": "en", "tgt_suffix": "de"}


def write_zip(folder, **members):
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)


def sides(pairs):
    return ["".join(f"{pair[side]}\n" for pair in pairs) for side in (0, 1)]


def test_two_sides_of_an_archive_are_read_beside_other_files(tmp_path):
    src, tgt = sides(PAIRS)
    write_zip(
        tmp_path, **{"x/Corpus.de-en.en": src, "x/Corpus.de-en.de": tgt, "README": "", "a/": ""}
    )
    assert read(tmp_path, **ZIP) == PAIRS


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.en": ""}, r"end in \.de, and 0 do \(none\); the archive holds a\.en;"),
        ({"a.en": "", "b.en": "", "a.de": ""}, r"end in \.en, and 2 do \(a\.en, b\.en\)"),
        ({}, "the archive holds nothing"),
    ],
)
def test_an_archive_with_more_or_fewer_sides(tmp_path, members, message):
    write_zip(tmp_path, **members)
    with pytest.raises(DataError, match=message):
        read(tmp_path, **ZIP)


def test_sides_of_unequal_length_name_the_members(tmp_path):
    write_zip(tmp_path, **{"a.en": "x\ny\n", "a.de": "x\n"})
    with pytest.raises(DataError, match=r"a\.zip: a\.en has 2 lines and .*a\.zip: a\.de has 1"):
        read(tmp_path, **ZIP)


def test_names_that_lead_out_of_an_archive_are_only_names(tmp_path):
    inner = tmp_path / "in"
    inner.mkdir()
    write_zip(inner, **{"../../evil.en": "a\n", "/etc/evil.de": "b\n"})
    assert read(inner, **ZIP) == [("a", "b")]
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.zip"]


def test_a_damaged_archive(tmp_path):
    src, tgt = sides([(str(n) * 50, "y") for n in range(2000)])
    write_zip(tmp_path, **{"a.en": src, "a.de": tgt})
    path = tmp_path / "a.zip"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.en cannot be read to its end"):
        read(tmp_path, **ZIP)
    path.write_bytes(content[:-30])
    with pytest.raises(DataError, match="cannot be read as a zip archive"):
        read(tmp_path, **ZIP)


# sacrebleu

WMT = {"format": "sacrebleu", "test_set": "wmt19", "langpair": "en-de"}


@pytest.fixture
def sacrebleu_cache(tmp_path, monkeypatch):
    from sacrebleu.dataset import DATASETS

    monkeypatch.setattr(DATASETS["wmt19"], "_outdir", str(tmp_path))
    return tmp_path


def test_a_test_set_is_read_from_sacrebleus_cache(sacrebleu_cache):
    src, tgt = sides(PAIRS)
    (sacrebleu_cache / "wmt19.en-de.src").write_text(src, encoding="utf-8")
    (sacrebleu_cache / "wmt19.en-de.ref").write_text(tgt, encoding="utf-8")
    assert read("unused", **WMT) == PAIRS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, r"does not exist; run `sacrebleu --download wmt19 -l en-de` where"),
        ({"test_set": "wmt99"}, r"no test set 'wmt99'; did you mean wmt19"),
        ({"langpair": "en-xx"}, r"wmt19 has no en-xx; there are cs-de, de-cs"),
        ({"reference": "ref:Z"}, r"no reference 'ref:Z'; there are ref$"),
    ],
)
def test_a_test_set_that_is_not_there(sacrebleu_cache, change, message):
    with pytest.raises(DataError, match=message):
        read("unused", **{**WMT, **change})


# Hugging Face

HUB = {"format": "huggingface", "path": "set", "src_field": "translation.en",
       "tgt_field": "translation.de"}  # fmt: skip


def test_a_hub_name_needs_its_commit(tmp_path):
    with pytest.raises(DataError, match=r"set: is no folder in .*give its commit as revision"):
        read(tmp_path, **HUB)


@pytest.mark.slow  # imports datasets
def test_a_local_data_set_is_read_in_both_of_its_forms(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [{"translation": {"en": src, "de": tgt}} for src, tgt in PAIRS]
    made = datasets.Dataset.from_list(rows)
    (tmp_path / "set").mkdir()
    made.to_json(tmp_path / "set" / "train.jsonl")
    assert read(tmp_path, **HUB) == PAIRS
    datasets.DatasetDict({"train": made}).save_to_disk(tmp_path / "saved")
    assert read(tmp_path, **{**HUB, "path": "saved"}) == PAIRS
    with pytest.raises(DataError, match=r"row 1: no field translation\.fr"):
        read(tmp_path, **{**HUB, "tgt_field": "translation.fr"})
    with pytest.raises(DataError, match="cannot be loaded as a data set"):
        read(tmp_path, **{**HUB, "split": "valid"})


# patterns, URLs, mixtures


def write_text(folder, name, pairs):
    folder.mkdir(exist_ok=True)
    for suffix, text in zip(("en", "de"), sides(pairs), strict=True):
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")


def test_shards_are_read_in_the_order_of_their_names(tmp_path):
    for number in (2, 0, 1):
        write_text(tmp_path, f"part-{number}", [PAIRS[number]])
    assert read(tmp_path, src="part-*.en", tgt="part-*.de") == PAIRS
    (tmp_path / "part-1.de").rename(tmp_path / "part-7.de")
    with pytest.raises(DataError, match=r"part-1\.en: has no partner among the 3 files of part-"):
        read(tmp_path, src="part-*.en", tgt="part-*.de")
    with pytest.raises(DataError, match=r"other-\*\.en: no file has such a name"):
        read(tmp_path, src="other-*.en", tgt="part-*.de")


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("alone", ["en", "de"])
def test_folders_of_a_pattern_are_paired_by_their_names(tmp_path, remote, alone):
    def write(year, pairs, suffixes):
        for suffix, text in zip(("en", "de"), sides(pairs), strict=True):
            if suffix in suffixes:
                where = fsspec.filesystem("memory" if remote else "file")
                where.makedirs(f"{tmp_path}/{year}", exist_ok=True)
                where.pipe(f"{tmp_path}/{year}/t.{suffix}", text.encode())

    folder = f"memory://{tmp_path}" if remote else tmp_path
    for year, pair in (("2019", PAIRS[0]), ("2021", PAIRS[1])):
        write(year, [pair], ("en", "de"))
    assert read(folder, src="*/t.en", tgt="*/t.de") == PAIRS[:2]
    write("2020", PAIRS[2:], (alone,))
    other = "de" if alone == "en" else "en"
    with pytest.raises(DataError, match=rf"t\.{alone}: has no partner among the 2 files of \*/t\."):
        read(folder, src="*/t.en", tgt="*/t.de")
    write("2022", PAIRS[2:], (other,))  # as many on each side
    with pytest.raises(DataError, match=r"has no partner among the 3 files of \*/t\."):
        read(folder, src="*/t.en", tgt="*/t.de")


def test_partners_may_be_sorted_otherwise_on_the_other_side(tmp_path):
    for name, (src, tgt) in zip(("a", "a-b"), PAIRS, strict=False):
        (tmp_path / f"{name}.en").write_text(f"{src}\n")
        (tmp_path / f"{name}x.de").write_text(f"{tgt}\n")
    assert sorted(read(tmp_path, src="*.en", tgt="*x.de")) == sorted(PAIRS[:2])


def test_a_pattern_cannot_leave_its_folder(tmp_path):
    inner = tmp_path / "in"
    write_text(tmp_path, "a", PAIRS)
    write_text(inner, "a", PAIRS)
    (inner / "b.en").symlink_to(tmp_path / "a.en")
    with pytest.raises(DataError, match="outside the corpus folder"):
        read(inner, src="*.en", tgt="*.de")
    with pytest.raises(ValidationError, match="is no pattern here"):
        source(src="**.en", tgt="a.de")


def test_files_behind_a_url_are_copied_once_and_anew_when_they_change(tmp_path):
    system = fsspec.filesystem("memory")
    for suffix, text in zip(("en", "de"), sides(PAIRS), strict=True):
        system.pipe(f"/bucket/a-1.{suffix}", text.encode())
    assert read("memory://bucket", src="a-*.en", tgt="a-*.de") == PAIRS
    one = {"src": "memory://bucket/a-1.en", "tgt": "memory://bucket/a-1.de"}
    assert read(tmp_path, **one) == PAIRS
    before = parts_of(source(**one), tmp_path)
    assert parts_of(source(**one), tmp_path) == before
    system.pipe("/bucket/a-1.de", b"other\n" * 3)
    assert [tgt for _, tgt in read(tmp_path, **one)] == ["other"] * 3
    with pytest.raises(DataError, match=r"memory://bucket/no\.en: cannot be read"):
        read("memory://bucket", src="no.en", tgt="a-1.de")
    with pytest.raises(DataError, match=r"cannot be read .*correct the URL"):
        read("nosuch://user:word@host", src="a", tgt="b")


@pytest.fixture
def web():
    """Files of a web server, by their paths, and the headers that it sends with all of them."""
    files: dict[str, bytes] = {}
    headers: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(urlsplit(self.path).path)
            self.send_response(404 if content is None else 200)
            for name, value in ({} if content is None else headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET

        def log_message(self, *args):
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", files, headers
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("told", ["ETag", "Last-Modified", ""])
def test_files_of_the_web_are_copied_anew_when_they_change(web, tmp_path, told):
    url, files, headers = web
    rows = {"path": f"{url}/a.tsv", "format": "tsv"}
    contents = b"one\teins\n", b"two\tzwei\n", b"six\tsechs\n"
    for version, content in enumerate(contents):
        files["/a.tsv"] = content
        if told:
            headers[told] = f'"{version}"'
        _copied_by_content.cache_clear()  # as in another process
        for _ in range(2):
            assert read(tmp_path, **rows) == [tuple(content.decode().split())]
    copies = list((cache_folder("sources")).iterdir())
    assert len(copies) == len(contents)
    with pytest.raises(DataError, match=r"none\.tsv: cannot be read"):
        read(tmp_path, path=f"{url}/none.tsv", format="tsv")


def test_what_follows_the_name_in_a_url_is_no_suffix(web, tmp_path):
    url, files, headers = web
    files["/a.tsv.gz"] = gzip.compress(b"one\teins\n")
    headers["ETag"] = "x"
    signed = f"{url}/a.tsv.gz?signature=a/b.c&expires=9"
    assert read(tmp_path, path=signed, format="tsv") == [("one", "eins")]
    (part,) = parts_of(source(path=signed, format="tsv"), tmp_path)
    assert part.files[0].name == "a.tsv.gz"


def test_credentials_in_a_url_are_not_told(tmp_path):
    with pytest.raises(DataError) as caught:
        read("nosuch://user:word@host", src="a", tgt="b")
    assert "word" not in str(caught.value)


def test_sources_of_a_mixture_come_one_after_another(tmp_path):
    write_text(tmp_path, "a", PAIRS[:2])
    write_text(tmp_path, "b", PAIRS[2:])
    mixed = {
        "format": "mixture",
        "sources": {n: {"src": f"{n}.en", "tgt": f"{n}.de"} for n in "ab"},
        "max_pairs": {"a": 1},
    }
    parts = parts_of(source(**mixed), tmp_path)
    assert [(part.name, part.most) for part in parts] == [("a", 1), ("b", None)]
    assert read(tmp_path, **{**mixed, "max_pairs": {}}) == PAIRS
    with pytest.raises(ValidationError, match=r"max_pairs caps c, which is no source"):
        source(**{**mixed, "max_pairs": {"c": 1}})


@pytest.mark.slow  # starts a server
def test_a_folder_in_a_bucket_is_a_corpus_folder(monkeypatch):
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anyone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        system = fsspec.filesystem("s3")
        system.mkdir("bucket")
        for suffix, text in zip(("en", "de"), sides(PAIRS), strict=True):
            system.pipe(f"bucket/corpus/a-1.{suffix}", text.encode())
        assert read("s3://bucket/corpus", src="a-*.en", tgt="a-*.de") == PAIRS
        with pytest.raises(DataError, match=r"s3://elsewhere/a\.en: cannot be read"):
            read("s3://elsewhere", src="a.en", tgt="a.de")
    finally:
        server.stop()
