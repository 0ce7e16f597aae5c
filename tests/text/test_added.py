"""Text in one language joins a corpus without a trace lost: each sentence is kept or counted."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from kdray.artifacts import Brought, Key
from kdray.config.text import CorpusConfig
from kdray.errors import DataError
from kdray.jobs import NOTES
from kdray.schema import Column, View
from kdray.storage.hashed import Hashed
from kdray.teacher.added import AddedJob
from kdray.teacher.hypotheses import FILE
from kdray.text.added import build_added, build_sentences
from kdray.text.corpus import Corpus
from kdray.text.corpus_building import build_corpus, corpus_key
from kdray.text.encoded import EncodedSplit, build_encoded
from kdray.text.jobs import SentencesJob
from kdray.text.judging import pair_id
from kdray.text.pairing import source_hashes
from kdray.text.sequences import write_table

TRAIN = [("a house", "ein Haus"), ("a dog", "ein Hund")]
CORPUS = Key("corpus", 1, {})


def write(folder, name, lines):
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return name


def config(folder, texts, **options):
    for split, pairs in (("train", TRAIN), ("dev", [("a cat", "eine Katze")])):
        for side, suffix in ((0, "en"), (1, "de")):
            write(folder, f"{split}.{suffix}", [pair[side] for pair in pairs])
    sides = {s: {"src": f"{s}.en", "tgt": f"{s}.de"} for s in ("train", "dev")}
    return TypeAdapter(CorpusConfig).validate_python({
        "kind": "files", "folder": str(folder), "src_lang": "en", "tgt_lang": "de",
        **sides, "tests": {"t": sides["dev"]}, "monolingual": texts, **options,
    })  # fmt: skip


def added(made, folder, translated=None):
    clean, out = folder / "clean", folder / "out"
    for each in (clean, out):
        each.mkdir()
    build_corpus(made, clean)
    return build_added(made, clean, translated or {}, out), Corpus(out)


def rows(corpus):
    table = corpus.table("train")
    return [tuple(row[name] for name in ("source", "src", "ref")) for row in table.to_pylist()]


MONO = ["a tree", "", "a  dog", "a cat", "a tree", "x\x07", "a bird"]


def test_sentences_stand_behind_the_pairs_with_no_reference(tmp_path):
    write(tmp_path, "mono.en", MONO)
    texts = {"web": {"kind": "decoded", "path": "mono.en"}}
    counts, corpus = added(config(tmp_path, texts), tmp_path)
    pairs = [("parallel", src, ref) for src, ref in TRAIN]
    assert rows(corpus) == [*pairs, ("web", "a tree", ""), ("web", "a bird", "")]
    assert counts["sources"] == {"parallel": 2, "web": 2}
    (note,) = counts[NOTES]
    for part in ("2 sentences kept", "empty 1", "duplicate 2", "overlap 1", "control 1"):
        assert part in note
    assert corpus.tests == ("t",)
    assert corpus.table("dev").num_rows == 1


SENTENCE = st.sampled_from(["", "a", "a ", "b", "a\u00a0b", "a cat", "c\x07", "a house", "d e"])


@pytest.mark.slow
@given(lines=st.lists(SENTENCE, max_size=12), most=st.none() | st.integers(1, 9))
@settings(max_examples=20)
def test_every_line_is_kept_or_counted(tmp_path_factory, lines, most):
    folder = tmp_path_factory.mktemp("mono")
    write(folder, "mono.en", ["one that stays", *lines])
    texts = {"web": {"kind": "decoded", "path": "mono.en", "max_sentences": most}}
    counts, _ = added(config(folder, texts), folder)
    told = counts[NOTES][0].partition("left out: ")[2]
    left_out = sum(int(part.split()[-1]) for part in told.split(", ")) if told != "none" else 0
    assert counts["sources"]["web"] + left_out == len(lines) + 1


def test_sentences_of_a_domain_are_chosen_and_the_others_counted(tmp_path):
    write(tmp_path, "mono.en", [f"a man in {n} shirts" for n in range(5)] + ["taxes rose again"])
    write(tmp_path, "news.en", ["prices rose again", "taxes rose again", "taxes fell again"])
    similar = {"path": "news.en", "keep": 1}
    texts = {"web": {"kind": "decoded", "path": "mono.en", "similar_to": similar}}
    counts, corpus = added(config(tmp_path, texts), tmp_path)
    assert rows(corpus)[2:] == [("web", "taxes rose again", "")]
    assert "less similar 5" in counts[NOTES][0]


def test_text_of_which_nothing_is_left_is_refused(tmp_path):
    write(tmp_path, "mono.en", ["a dog", ""])
    texts = {"web": {"kind": "decoded", "path": "mono.en"}}
    with pytest.raises(DataError, match=r"corpus\.monolingual\.web: no sentence is left"):
        added(config(tmp_path, texts), tmp_path)


def test_back_translations_are_the_sources_of_their_sentences(tmp_path):
    write(tmp_path, "mono.de", ["ein Baum", "ein Hund", "ein Vogel", "ein Berg"])
    text = {"kind": "back_translated", "path": "mono.de", "model": "unused"}
    made = config(tmp_path, {"web": text})
    clean, sentences = tmp_path / "c", tmp_path / "sentences"
    for each in (clean, sentences):
        each.mkdir()
    build_corpus(made, clean)
    build_sentences(made, "web", clean, sentences)
    kept = Corpus(sentences).table("train")["src"].to_pylist()
    assert kept == ["ein Baum", "ein Vogel", "ein Berg"]  # one stands in the training text
    said = {pair_id("ein Baum", ""): "a tree", pair_id("ein Berg", ""): " "}

    def translate(ids):
        return [said.get(number, "") for number in ids.tolist()]

    counts, corpus = added(made, tmp_path, {"web": (sentences, translate)})
    assert rows(corpus)[2:] == [("web", "a tree", "ein Baum")]
    assert counts[NOTES] == ["web: 1 sentences with a translation, left out: no translation 2"]


@pytest.mark.parametrize("ended", [True, False])
def test_a_back_translation_without_its_end_is_counted_and_not_learned(tmp_path, ended):
    """The table of translations, as the job that adds them reads it, lacks the second sentence."""
    sentences = ["ein Baum", "ein Vogel", "ein Berg"]
    write(tmp_path, "mono.de", sentences)
    made = config(tmp_path, {"web": {"kind": "back_translated", "path": "mono.de", "model": "m"}})
    clean, found, out = (Brought(tmp_path / n, n) for n in ("clean", "sentences", "out"))
    hypotheses = Brought(tmp_path / "hypotheses", "hypotheses")
    for each in (clean, found, out, hypotheses):
        each.path.mkdir()
    build_corpus(made, clean.path)
    build_sentences(made, "web", clean.path, found.path)
    columns = {
        Column.PAIR_ID: pa.array([pair_id(sentences[n], "") for n in (0, 2)], pa.int64()),
        Column.SRC_HASH: pa.array(source_hashes([sentences[n] for n in (0, 2)])),
        Column.HYP_RANK: pa.array([0, 0], pa.int32()),
        Column.HYP: pa.array(["a tree", "a hill a hill"], pa.large_string()),
        Column.HYP_IDS: pa.array([[5, 3], [6, 6]], pa.list_(pa.uint16())),
        Column.FINISHED: pa.array([True, ended]),
    }
    write_table(hypotheses.path / FILE, pa.table(columns))
    job = AddedJob(made, clean, {"web": (found, hypotheses)}, CORPUS, Hashed())
    counts = job.make(out.path, lambda source: source.path, threads=1)
    hill = [("web", "a hill a hill", "ein Berg")] if ended else []
    assert rows(Corpus(out.path))[2:] == [("web", "a tree", "ein Baum"), *hill]
    lost = "no translation 1" + ("" if ended else ", unfinished translation 1")
    told = f"web: {1 + ended} sentences with a translation, left out: {lost}"
    assert counts[NOTES] == [told]


def test_a_sentence_of_two_texts_is_one_pair_if_it_is_translated_alike(tmp_path):
    lines = {"one": ["ein Baum", "ein Berg"], "two": ["ein Vogel", "ein Berg", "ein Baum"]}
    for name, text in lines.items():
        write(tmp_path, f"{name}.de", text)
    kind = {"kind": "back_translated", "model": "unused"}
    made = config(tmp_path, {name: {**kind, "path": f"{name}.de"} for name in lines})
    clean, translated = tmp_path / "c", {}
    clean.mkdir()
    build_corpus(made, clean)
    said = {
        "one": {"ein Baum": "a tree", "ein Berg": "a hill"},
        "two": {"ein Baum": "a tree", "ein Berg": "a mountain", "ein Vogel": "a bird"},
    }
    for name, texts in said.items():
        (tmp_path / name).mkdir()
        build_sentences(made, name, clean, tmp_path / name)
        by_id = {pair_id(text, ""): translation for text, translation in texts.items()}
        translated[name] = (tmp_path / name, lambda ids, by_id=by_id: [by_id[i] for i in ids])
    counts, corpus = added(made, tmp_path, translated)
    assert rows(corpus)[2:] == [
        ("one", "a tree", "ein Baum"), ("one", "a hill", "ein Berg"),
        ("two", "a bird", "ein Vogel"), ("two", "a mountain", "ein Berg"),
    ]  # fmt: skip
    assert counts["sources"] == {"parallel": 2, "one": 2, "two": 2}
    told = "two: 2 sentences with a translation, left out: no translation 0, duplicate 1"
    assert counts[NOTES][1] == told


def test_what_is_added_is_no_part_of_the_clean_corpus_but_of_what_is_learned(tmp_path):
    write(tmp_path, "mono.en", MONO)
    one = config(tmp_path, {"web": {"kind": "decoded", "path": "mono.en"}})
    none = config(tmp_path, {})
    capped = config(tmp_path, {"web": {"kind": "decoded", "path": "mono.en", "max_sentences": 2}})
    assert corpus_key(one) == corpus_key(none)
    job = AddedJob.of(one, CORPUS, {})
    assert AddedJob.of(capped, CORPUS, {}).key != job.key
    sentences = SentencesJob.of(one, "web", CORPUS)
    assert sentences.key != SentencesJob.of(capped, "web", CORPUS).key
    write(tmp_path, "mono.en", MONO[1:])
    assert AddedJob.of(one, CORPUS, {}).key != job.key
    clean = tmp_path / "clean"
    clean.mkdir()
    build_corpus(one, clean)
    for each in (job, sentences):  # what they read is not what their keys say
        (tmp_path / each.key.stage).mkdir()
        with pytest.raises(DataError, match=r"mono\.en: was changed while the command ran"):
            each.make(tmp_path / each.key.stage, lambda _: clean, threads=1)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ({"parallel": {"kind": "decoded", "path": "x"}}, {}, "repeat a name"),
        (
            {"web": {"kind": "decoded", "path": "x"}},
            {"noise": {"rate": 0.1}},
            "needs targets, which monolingual text has not",
        ),
    ],
)
def test_what_cannot_be_added(tmp_path, texts, options, message):
    with pytest.raises(ValidationError, match=message):
        config(tmp_path, texts, **options)


def test_pairs_without_a_reference_have_no_ids_of_one(tmp_path, toy_corpus, toy_tokenizers):
    import pyarrow as pa
    import pyarrow.parquet as pq

    train = pq.read_table(toy_corpus.path / "train.parquet").slice(0, 6)
    refs = ["" if row % 2 else ref for row, ref in enumerate(train["ref"].to_pylist())]
    train = train.set_column(2, "ref", pa.array(refs))
    train = train.append_column("source", pa.array(["a", "b", "a", "b", "c", "c"]))
    pq.write_table(train, tmp_path / "train.parquet")
    pq.write_table(pq.read_table(toy_corpus.path / "dev.parquet"), tmp_path / "dev.parquet")
    encoded = tmp_path / "encoded"
    encoded.mkdir()
    build_encoded(tmp_path, toy_tokenizers["joint"], encoded)
    split = EncodedSplit.load(encoded, "train")
    assert (split.ref.lengths > 0).tolist() == [True, False] * 3
    assert len(split.with_references()) == 3
    assert EncodedSplit.load(encoded, "dev").sources is None

    from kdray.config.needs import Needs
    from kdray.fit.assemble import NO_REFERENCE, NO_WEIGHT, Signals, assemble

    def learned(**weights):
        needs = Needs(views=(View.REFERENCE,))
        return assemble(
            needs, encoded=encoded, signals=Signals(), fetch=None, max_tokens=99, weights=weights
        )

    ids = split.pair_ids.tolist()
    assert learned().pair_ids.tolist() == ids[::2]
    assert learned().left_out == {NO_REFERENCE: 3}
    weighted = learned(a=2, c=0)
    assert weighted.pair_ids.tolist() == [ids[0], ids[0], ids[2], ids[2]]
    assert weighted.left_out == {NO_REFERENCE: 3, NO_WEIGHT: 1}
    texts = [weighted.src[row].tolist() for row in range(4)]
    assert texts == [split.src[row].tolist() for row in (0, 0, 2, 2)]
