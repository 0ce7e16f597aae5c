"""The plan of an experiment: what depends on what, and vocabularies that have to be one."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from micro_study import CONFIG
from sacrebleu.metrics.bleu import BLEU
from safetensors.torch import load_file, save_file

from kdray.config.experiment import Experiment
from kdray.config.model import ModelConfig
from kdray.config.recipe import Recipe
from kdray.config.text import TokenizerConfig
from kdray.errors import ConfigError, DataError
from kdray.export.pegasus import write_pegasus
from kdray.model.storage import SHAPE, WEIGHTS, Shape, save_model, tensors
from kdray.plan.experiment import make_plan
from kdray.plan.step import STUDENT, TEACHER, spec_of
from kdray.text.tokenizer import Tokenizer, build_tokenizer


def experiment(**recipe):
    raw = yaml.safe_load(CONFIG)
    del raw["search"]
    raw["recipe"] |= recipe
    return Experiment.model_validate(raw)


def students(**recipe):
    """The trainings of the students of a changed micro study."""
    return [spec_of(step) for step in make_plan(experiment(**recipe)).of(STUDENT)]


@pytest.fixture
def bring(tmp_path, toy_tokenizers):
    """Store a fresh model with a tokenizer. -> its folder."""

    def store(name: str, tokenizer: Tokenizer) -> Path:
        shape = Shape(
            config=ModelConfig(preset="nano"),
            src_vocab=tokenizer.src_vocab,
            tgt_vocab=tokenizer.tgt_vocab,
            shared=tokenizer.joint,
            tokenizer=tokenizer.checksum,
        )
        folder = tmp_path / name
        folder.mkdir()
        save_model(folder, shape, tensors(shape.build()))
        tokenizer.save(folder)
        return folder

    return store


def teacher(path):
    return {"kind": "checkpoint", "path": str(path)}


def test_a_brought_teacher_shares_its_vocabulary_with_word_level_students(bring, toy_tokenizers):
    folder = bring("one", toy_tokenizers["joint"])
    shared = make_plan(experiment(teacher=teacher(folder), tokenizer=None))
    assert shared.only.text.tokenizer.path == folder
    assert shared.only.text.learned.encoded == shared.only.text.learned.teacher_encoded
    with pytest.raises(ConfigError, match=r"methods\.hybrid \(hybrid\).*vocabulary of their own"):
        make_plan(experiment(teacher=teacher(folder)))


def test_sentence_level_students_may_have_a_vocabulary_of_their_own(bring, toy_tokenizers):
    folder = bring("one", toy_tokenizers["joint"])
    methods = {"s": {"kind": "sentence_level"}}
    plan = make_plan(experiment(teacher=teacher(folder), methods=methods))
    assert plan.only.text.learned.encoded != plan.only.text.learned.teacher_encoded
    (student,) = plan.of(STUDENT)
    assert spec_of(student).signals.hypotheses.stage == "recoded"


@pytest.mark.slow
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_brought_teacher_reads_noisy_sources_in_its_own_pieces(bring, toy_tokenizers, side):
    folder, methods = bring("one", toy_tokenizers["joint"]), {"s": {"kind": "sentence_level"}}
    corpus = experiment().recipe.corpus.model_dump()
    plans = [
        make_plan(
            experiment(
                teacher=teacher(folder),
                methods=methods,
                corpus={**corpus, "noise": {"rate": rate, "side": side}},
            )
        )
        for rate in (0, 0.1, 0.2)
    ]
    for plan in plans:
        assert plan.only.text.learned.encoded != plan.only.text.learned.teacher_encoded
        known = {step.key.fingerprint for step in plan.steps}
        assert all(key.fingerprint in known for step in plan.steps for key in step.reads)
    recoded = {plan.only.students.signals.hypotheses.fingerprint for plan in plans}
    assert len(recoded) == (1 if side == "target" else 3)
    assert len({plan.of(STUDENT)[0].key.fingerprint for plan in plans}) == 3


@pytest.mark.parametrize("side", ["source", "target", "both"])
def test_a_foreign_teacher_that_shares_its_vocabulary_reads_ids_that_are_made(
    bring, toy_tokenizers, tmp_path, side
):
    pytest.importorskip("transformers")
    folder = tmp_path / "pegasus"
    folder.mkdir()
    write_pegasus(bring("one", toy_tokenizers["joint"]), folder)
    corpus = experiment().recipe.corpus.model_dump()
    noise = {"rate": 0.1, "side": side}
    plan = make_plan(
        experiment(
            teacher={"kind": "huggingface", "path": str(folder)},
            tokenizer=None,
            methods={"soft": {"kind": "token_level", "prefix": "hypothesis"}},
            corpus={**corpus, "noise": noise},
        )
    )
    known: set[str] = set()
    for step in plan.steps:
        assert {key.fingerprint for key in step.reads} <= known, step.name
        known.add(step.key.fingerprint)
    assert "topk on hypothesis" in {step.name for step in plan.steps}


def test_a_brought_teacher_without_its_weights_is_refused(bring, toy_tokenizers):
    folder = bring("one", toy_tokenizers["joint"])
    (folder / WEIGHTS).unlink()
    with pytest.raises(DataError, match=rf"one/{WEIGHTS}: No such file"):
        make_plan(experiment(teacher=teacher(folder), tokenizer=None))


@pytest.mark.parametrize("metric", ["bleu", "loss"])
def test_how_bleu_is_taken_makes_another_model_where_it_chooses_the_checkpoint(metric):
    def model(tokenize):
        config = experiment(evaluation={"bleu_tokenize": tokenize}).model_dump(mode="json")
        training = config["recipe"]["students"]["training"]
        training |= {
            "averaging": {"kind": "none"},
            "early_stopping": {"metric": metric, "patience": 2},
        }
        return make_plan(Experiment.model_validate(config)).of(STUDENT)[0]

    assert (model("13a").key != model("char").key) == (metric == "bleu")


def test_an_ensemble_of_different_vocabularies_names_both(bring, toy_tokenizers):
    one, two = (bring(name, toy_tokenizers[name]) for name in ("joint", "separate"))
    members = {"kind": "ensemble", "members": [teacher(one), teacher(two)]}
    hybrid = {"hybrid": {"kind": "hybrid"}}
    with pytest.raises(ConfigError) as caught:
        make_plan(experiment(teacher=members, tokenizer=None, methods=hybrid))
    for word in (str(one), str(two), "different vocabularies"):
        assert word in str(caught.value)


def test_more_entries_than_the_vocabulary_has_are_refused():
    with pytest.raises(ConfigError, match=r"topk\.k 111 is more than the vocabulary of 110"):
        make_plan(experiment(signals={"topk": {"k": 111}, "online": True}))


def test_a_loss_weight_reaches_only_the_students():
    soft = {"kind": "token_level", "alpha": 0.5}
    one = make_plan(experiment(methods={"soft": soft}))
    other = make_plan(experiment(methods={"soft": {**soft, "alpha": 0.7}}))
    differing = {a.stage for a, b in zip(one.steps, other.steps, strict=True) if a.key != b.key}
    assert differing == {STUDENT, "scores"}
    assert one.of(TEACHER) == other.of(TEACHER)


def test_methods_with_the_same_first_stage_share_it():
    def stages(last):
        first = {"method": {"kind": "cross_entropy"}, "updates": 20}
        return {"kind": "stages", "stages": [first, {"method": last, "updates": 10}]}

    methods = {
        "a": stages({"kind": "sentence_level"}),
        "b": stages({"kind": "token_level"}),
    }
    a, b = students(methods=methods)
    assert a.start.before.key == b.start.before.key
    assert a.key != b.key


def test_a_name_of_a_preset_is_no_part_of_a_model():
    named = students()[0]
    raw = yaml.safe_load(CONFIG)["recipe"]["students"]
    raw["sizes"] = {"nano": {**ModelConfig(preset="nano").model_dump(), "preset": "tiny"}}
    assert students(students=raw)[0].key == named.key


def brought(folder):
    plan = make_plan(experiment(teacher=teacher(folder), tokenizer=None))
    return plan.only.teacher.sources[0].fingerprint


@pytest.mark.slow
def test_a_brought_teacher_is_its_weights_shape_and_tokenizer_wherever_it_is(
    bring, toy_tokenizers, tmp_path, monkeypatch
):
    one = bring("one", toy_tokenizers["joint"])
    shutil.copytree(one, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    assert brought(one) == brought("copy") == brought("./one")
    described = json.loads((one / SHAPE).read_text())
    assert described["config"]["heads"] == 2
    seen = {brought(one)}
    for change in ({"heads": 4}, {"max_length": 100}, {"heads": 1}):
        changed = {**described, "config": {**described["config"], **change}}
        (one / SHAPE).write_text(json.dumps(changed))
        seen.add(brought(one))
    weights = load_file(one / WEIGHTS)
    weights["encoder.0.feedforward.inner.bias"][3] += 1e-3
    save_file(weights, one / WEIGHTS)
    seen.add(brought(one))
    assert len(seen) == 5


def test_another_tokenizer_of_equal_size_in_its_folder_is_refused(bring, toy_tokenizers, tmp_path):
    folder = bring("one", toy_tokenizers["joint"])
    config = TokenizerConfig(joint=True, model_type="bpe", vocab_size=70)
    pairs = {"src": [f"a{n} b" for n in range(99)], "ref": [f"c d{n}" for n in range(99)]}
    pq.write_table(pa.table(pairs), tmp_path / "train.parquet")
    build_tokenizer(config, tmp_path, folder)
    with pytest.raises(DataError, match=r"one: holds the tokenizer .* was trained with"):
        brought(folder)


def nan(weights):
    weights["encoder.0.feedforward.inner.weight"][5, 3] = float("nan")


def infinity(weights):
    weights["decoder_norm.weight"][0] = float("-inf")


def integers(weights):
    weights["encoder_norm.bias"] = weights["encoder_norm.bias"].int()


def too_narrow(weights):
    name = "encoder.0.feedforward.inner.weight"
    weights[name] = weights[name][:, :-1].contiguous()


def one_too_few(weights):
    del weights["encoder_norm.bias"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (nan, "encoder.0.feedforward.inner.weight holds numbers that are not finite"),
        (infinity, "decoder_norm.weight holds numbers that are not finite"),
        (integers, "encoder_norm.bias holds int32, not floating point"),
        (too_narrow, r"inner.weight is \(64, 31\) there, the model needs \(64, 32\)"),
        (one_too_few, "encoder_norm.bias is nothing there"),
    ],
)
def test_weights_that_no_model_can_work_with_are_refused_by_the_plan(
    bring, toy_tokenizers, damage, told
):
    folder = bring("one", toy_tokenizers["joint"])
    weights = load_file(folder / WEIGHTS)
    damage(weights)
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(DataError, match=told):
        brought(folder)


def test_a_shape_of_terabytes_is_refused_without_them(bring, toy_tokenizers):
    folder = bring("one", toy_tokenizers["joint"])
    described = json.loads((folder / SHAPE).read_text())
    described["config"] |= {"width": 20_000, "feedforward": 80_000}
    (folder / SHAPE).write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"tgt_embedding.weight is \(70, 32\) there"):
        brought(folder)


@pytest.mark.parametrize("language", ["de", "en", "zh", "ja", "ko", "fr"])
def test_bleu_is_tokenised_as_sacrebleu_does_for_the_target_language(language):
    assert bleu_tokenizer(language) == BLEU._TOKENIZER_MAP.get(language, BLEU.TOKENIZER_DEFAULT)


@pytest.mark.parametrize("language", ["zh-CN", "zh_TW", "zho_Hans", "cmn", "ZH"])
def test_other_names_of_a_language_choose_the_same(language):
    assert bleu_tokenizer(language) == "zh"


def test_a_bleu_tokenizer_that_is_set_stays():
    assert bleu_tokenizer("zh", bleu_tokenize="char") == "char"
    assert bleu_tokenizer("zh", bleu_tokenize=None) == "zh"
    assert bleu_tokenizer("zh", beams=[1]) == "zh"


def bleu_tokenizer(language, **evaluation):
    pairs = {"src": "a", "tgt": "b"}
    corpus = {"kind": "files", "folder": "x", "src_lang": "en", "tgt_lang": language}
    corpus |= {"train": pairs, "dev": pairs, "tests": {"t": pairs}}
    recipe = experiment(corpus=corpus, evaluation=evaluation).recipe
    again = Recipe.model_validate(recipe.model_dump(mode="json"))
    assert again == recipe
    return recipe.evaluation.bleu_tokenize
