"""Models of Hugging Face as teachers: tiny random folders of each class, and what is refused."""

import json
import shutil
import socket
import sys

import pytest
import tiny_models
import torch
from sharded import at, fetch
from tiny_models import MODELS

from kdray.config.foreign_teachers import HuggingFaceTeacherConfig
from kdray.errors import ConfigError, DataError, InputError
from kdray.model.generate import SearchOptions
from kdray.teacher.huggingface.conversion import ConversionJob
from kdray.teacher.huggingface.folder import Origin
from kdray.teacher.huggingface.loading import load_torch
from kdray.teacher.huggingface.teacher import HuggingFaceTeacher

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(toy_pairs, tmp_path_factory):
    """A function from a class's name to the folder of a model and of its conversion."""
    src, tgt = zip(*toy_pairs[:300], strict=True)
    found = {}

    def of(name):
        if name not in found:
            folder, converted = (tmp_path_factory.mktemp(f"{name}-{i}") for i in "ab")
            if name == "marian_separate":
                tiny_models.marian(folder, src, tgt, separate=True)
            else:
                MODELS[name][0](folder, src, tgt)
            config = config_of(folder)
            ConversionJob(Origin.of(config)).make(converted, fetch, threads=1)
            found[name] = folder, converted
        return found[name]

    return of


def config_of(folder, **changes):
    return HuggingFaceTeacherConfig(kind="huggingface", path=str(folder), **changes)


def opened(made, name, **changes):
    folder, converted = made(name)
    languages = {} if name == "marian_separate" else MODELS[name][1]
    config = config_of(folder, **(languages | changes))
    teacher = HuggingFaceTeacher(config, Origin.of(config), at(converted))
    return teacher.open(fetch, device="cpu", threads=1), load_torch(folder)


def gaps(engine, model, row, translation):
    """By how much the likeliest token is likelier than the one that was written, at each place,
    where torch reads what the conversion wrote; and the sum of its log-probabilities."""
    ids, _, finished = translation
    forced, end = engine.codec.languages.forced, engine.facts["end"]
    written = torch.tensor([*forced, *ids, *([end] if finished else [])])
    given = torch.tensor([model.config.decoder_start_token_id, *written[:-1].tolist()])
    with torch.no_grad():
        (logits,) = model(
            input_ids=torch.tensor([row]), decoder_input_ids=given[None], use_cache=False
        ).logits
    never = {*engine.facts["never"], *engine.codec.languages.never}
    never.add(engine.facts["tgt"].index(engine.codec.tokenizer.unk_token))
    logits[:, sorted(never)] = -torch.inf
    logits[len(forced), end] = -torch.inf  # the first token is never the end
    logp = logits.log_softmax(1)[len(forced) :]
    own = logp.gather(1, written[len(forced) :, None]).squeeze(1)
    return logp.max(1).values - own, float(own.sum())


@pytest.mark.parametrize("name", [*MODELS, "marian_separate"])
def test_a_conversion_writes_what_torch_would_write(made, toy_pairs, name):
    engine, model = opened(made, name)
    rows = engine.codec.encode([src for src, _ in toy_pairs[300:320]])
    assert len({tuple(row) for row in rows}) == 20
    for row, (best,) in zip(rows, engine.search(rows, SearchOptions()), strict=True):
        behind, score = gaps(engine, model, row, best)
        assert float(behind.max()) < 1e-4
        assert best[1] == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize("name", ["nllb", "m2m100", "mbart50"])
def test_sources_are_tagged_and_translations_are_not(made, name):
    engine, _ = opened(made, name)
    other, _ = opened(made, name, tgt_lang=MODELS[name][1]["src_lang"])
    src = [engine.facts["src"][i] for i in engine.codec.encode(["ba de"])[0]]
    tag = MODELS[name][1]["src_lang"].strip("_")
    assert src[0].strip("_") == tag
    assert src[-1] == "</s>"
    assert engine.codec.languages.forced != other.codec.languages.forced
    ((best,),) = engine.translate(["ba de fi go"], SearchOptions())
    assert not engine.codec.languages.never & set(best.ids)
    ((theirs,),) = other.translate(["ba de fi go"], SearchOptions())
    assert (theirs.ids, theirs.score) != (best.ids, best.score)


@pytest.mark.parametrize("name", ["marian", "madlad"])
def test_the_language_is_a_token_of_the_source(made, name):
    engine, _ = opened(made, name)
    first, *_ = (engine.facts["src"][i] for i in engine.codec.encode(["ba de"])[0])
    assert first in (">>deu<<", "<2de>")


REFUSED = {
    ("nllb", "src_lang", "en"): "src_lang en: the teacher lacks this language; it has deu_Latn",
    ("m2m100", "tgt_lang", "deu"): "tgt_lang deu: the teacher lacks .* did you mean .*de",
    ("mbart50", "tgt_lang", ""): "tgt_lang: is missing; the teacher knows",
    ("marian", "tgt_lang", ""): "tgt_lang: is missing; the teacher translates into deu, fra",
    ("marian", "src_lang", "en"): "a marian model is not told the language of its sources",
    ("marian_separate", "tgt_lang", "de"): "this marian model has no tags of languages",
    ("madlad", "tgt_lang", "dee"): "tgt_lang dee: the teacher lacks .* did you mean de",
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_language_that_it_lacks_is_refused(made, case):
    name, key, value = case
    with pytest.raises((ConfigError, DataError), match=REFUSED[case]):
        opened(made, name, **{key: value})


def test_what_is_no_model_is_refused_before_anything_runs(made, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        Origin.of(config_of(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="model_type 'bert' is not supported; supported are marian"):
        Origin.of(config_of(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(DataError, match=r"holds neither model\.safetensors nor pytorch_model\.bin"):
        Origin.of(config_of(tmp_path))
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr("kdray.teacher.huggingface.folder.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'kdray\[huggingface\]'"):
        Origin.of(config_of(made("marian")[0]))


def test_weights_of_another_shape_are_refused(made, tmp_path):
    folder = shutil.copytree(made("marian")[0], tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"encoder_layers": 3}))
    with pytest.raises(DataError, match="its weights are not those of a MarianMTModel"):
        load_torch(folder)


class Pickled:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_weights_are_never_unpickled(made, tmp_path, capfd):
    folder = shutil.copytree(made("marian")[0], tmp_path / "copy")
    (folder / "model.safetensors").unlink()
    torch.save({"model.shared.weight": Pickled()}, folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="cannot be read as MarianMTModel"):
        load_torch(folder)
    assert "unpickled" not in capfd.readouterr().out


def test_the_hub_without_a_network_is_one_error(monkeypatch, tmp_path):
    def closed(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", closed)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    config = HuggingFaceTeacherConfig(kind="huggingface", hub="nobody/nothing")
    with pytest.raises(InputError, match=r"at main: cannot be had .*`hf download nobody"):
        Origin.of(config)


def test_content_and_use_are_in_its_fingerprint_and_places_are_not(made, tmp_path):
    folder, _ = made("madlad")

    def fingerprints(folder, **changes):
        config = config_of(folder, **changes)
        job = ConversionJob(Origin.of(config))
        return job.key.fingerprint, HuggingFaceTeacher(config, job.origin, job.key).fingerprints

    ours = fingerprints(folder, tgt_lang="de")
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert fingerprints(copy, tgt_lang="de") == ours
    other = fingerprints(copy, tgt_lang="fr")
    assert (other[0] == ours[0], other[1] == ours[1]) == (True, False)
    (copy / "tokenizer_config.json").write_text("{}")
    assert fingerprints(copy, tgt_lang="de")[0] != ours[0]
