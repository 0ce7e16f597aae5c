"""A model of Marian as OPUS-MT publishes it: it says what the same weights say at Hugging Face."""

import json
import shutil

import numpy as np
import pytest
import tiny_models
import yaml
from safetensors.torch import load_file
from sharded import at, fetch

from kdray.config.foreign_teachers import HuggingFaceTeacherConfig, MarianTeacherConfig
from kdray.errors import DataError
from kdray.model.generate import SearchOptions
from kdray.teacher.huggingface.conversion import ConversionJob
from kdray.teacher.huggingface.folder import Origin
from kdray.teacher.huggingface.teacher import HuggingFaceTeacher
from kdray.teacher.marian import MarianConversionJob, MarianTeacher

pytestmark = pytest.mark.slow
OPTIONS = SearchOptions(beam=3)
SETTINGS = {
    "type": "transformer", "transformer-decoder-autoreg": "self-attention", "enc-depth": 2,
    "dec-depth": 2, "transformer-heads": 2, "transformer-ffn-activation": "swish",
    "transformer-preprocess": "", "transformer-postprocess": "dan",
    "transformer-postprocess-emb": "d", "transformer-no-projection": False,
    "transformer-guided-alignment-layer": "last",
}  # fmt: skip


def as_marian(folder, into, *, separate):
    """Write the weights of a folder of Hugging Face as Marian does, without `<pad>`."""
    weights = {k: v.numpy() for k, v in load_file(folder / "model.safetensors").items()}
    text = yaml.safe_dump(SETTINGS).encode() + b"\0"
    arrays = {"special:model.yml": np.frombuffer(text, np.int8)}
    for side, ours in (("encoder", "encoder"), ("decoder", "decoder")):
        if separate:
            arrays[f"{ours}_Wemb"] = weights[f"model.{side}.embed_tokens.weight"][:-1]
        for number in range(2):
            place, layer = f"model.{side}.layers.{number}", f"{ours}_l{number + 1}"
            parts = {"self": ("self_attn", "self_attn_layer_norm")}
            if side == "decoder":
                parts["context"] = ("encoder_attn", "encoder_attn_layer_norm")
            for name, (attention, norm) in parts.items():
                for letter, theirs in zip("qkvo", ("q", "k", "v", "out"), strict=True):
                    own = f"{place}.{attention}.{theirs}_proj"
                    arrays[f"{layer}_{name}_W{letter}"] = weights[f"{own}.weight"].T
                    arrays[f"{layer}_{name}_b{letter}"] = weights[f"{own}.bias"][None]
                arrays[f"{layer}_{name}_Wo_ln_scale"] = weights[f"{place}.{norm}.weight"][None]
                arrays[f"{layer}_{name}_Wo_ln_bias"] = weights[f"{place}.{norm}.bias"][None]
            for number_of, theirs in ((1, "fc1"), (2, "fc2")):
                arrays[f"{layer}_ffn_W{number_of}"] = weights[f"{place}.{theirs}.weight"].T
                arrays[f"{layer}_ffn_b{number_of}"] = weights[f"{place}.{theirs}.bias"][None]
            norm = f"{place}.final_layer_norm"
            arrays[f"{layer}_ffn_ffn_ln_scale"] = weights[f"{norm}.weight"][None]
            arrays[f"{layer}_ffn_ffn_ln_bias"] = weights[f"{norm}.bias"][None]
    if not separate:
        arrays["Wemb"] = weights["model.shared.weight"][:-1]
    arrays["decoder_ff_logit_out_b"] = weights["final_logits_bias"][:, :-1]
    np.savez(into / "model.npz", **arrays)
    names = ["vocab.json", "target_vocab.json"] if separate else ["vocab.json"]
    for name in names:
        pieces = json.loads((folder / name).read_text())
        lines = [f"{json.dumps(k, ensure_ascii=False)}: {i}\n" for k, i in pieces.items()]
        (into / name.replace(".json", ".yml")).write_text("".join(lines[:-1]))
    vocabularies = [name.replace(".json", ".yml") for name in (names * 2)[:2]]
    decoder = {"models": ["model.npz"], "vocabs": vocabularies}
    (into / "decoder.yml").write_text(yaml.safe_dump(decoder))
    for name in ("source.spm", "target.spm"):
        shutil.copy(folder / name, into)


@pytest.fixture(params=[False, True], ids=["one vocabulary", "two vocabularies"])
def both(request, toy_pairs, tmp_path):
    """A folder of Hugging Face and one of Marian with the same weights, and the language's tag."""
    src, tgt = zip(*toy_pairs[:300], strict=True)
    theirs, ours = tmp_path / "huggingface", tmp_path / "marian"
    theirs.mkdir()
    ours.mkdir()
    tiny_models.marian(theirs, src, tgt, separate=request.param)
    as_marian(theirs, ours, separate=request.param)
    return theirs, ours, "" if request.param else "deu"


def test_it_says_what_the_same_weights_say_at_hugging_face(both, toy_pairs, tmp_path):
    folder, marian, tag = both
    src = [source for source, _ in toy_pairs[300:330]]
    prefix = (f">>{tag}<<",) if tag else ()
    config = MarianTeacherConfig(kind="marian", path=str(marian), source_prefix=prefix)
    theirs = HuggingFaceTeacherConfig(kind="huggingface", path=str(folder), tgt_lang=tag)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    MarianConversionJob.of(config).make(tmp_path / "a", fetch, threads=1)
    job = ConversionJob(Origin.of(theirs))
    job.make(tmp_path / "b", fetch, threads=1)
    teachers = (
        MarianTeacher(config, at(tmp_path / "a")),
        HuggingFaceTeacher(theirs, job.origin, at(tmp_path / "b")),
    )
    ours, others = (
        teacher.open(fetch, device="cpu", threads=1).translate(src, OPTIONS) for teacher in teachers
    )
    texts, of_others = ([best.text.split() for (best,) in each] for each in (ours, others))
    # beams of random weights nearly tie
    assert sum(text == other for text, other in zip(texts, of_others, strict=True)) >= 27
    assert [best.score for (best,) in ours] == pytest.approx([b.score for (b,) in others], abs=1e-3)


@pytest.mark.parametrize("both", [False], indirect=True)
def test_what_is_no_such_folder_is_refused_before_anything_runs(both, tmp_path):
    _, marian, _ = both
    config = MarianTeacherConfig(kind="marian", path=str(marian))
    key = MarianConversionJob.of(config).key
    (marian / "decoder.yml").write_text("models: [model.npz]\nvocabs: [../vocab.yml]\n")
    with pytest.raises(DataError, match=r"names \.\./vocab\.yml among its `vocabs`; files of its"):
        MarianConversionJob.of(config)
    (marian / "decoder.yml").write_text("models: [gone.npz]\nvocabs: [vocab.yml]\n")
    with pytest.raises(DataError, match=r"names gone\.npz, which is not there"):
        MarianConversionJob.of(config)
    (marian / "decoder.yml").write_text("models: 3\n")
    with pytest.raises(DataError, match="does not say as `models`"):
        MarianConversionJob.of(config)
    (marian / "decoder.yml").unlink()
    assert MarianConversionJob.of(config).key == key, "the only files there are the same"
    shutil.copy(marian / "model.npz", marian / "other.npz")
    with pytest.raises(DataError, match="has 2 npz models and 1 YAML vocabularies; it needs one"):
        MarianConversionJob.of(config)
    (marian / "other.npz").unlink()
    job, pieces = MarianConversionJob.of(config), marian / "target.spm"
    before = pieces.read_bytes()
    pieces.write_bytes(before + b"\0")
    (tmp_path / "changed").mkdir()
    with pytest.raises(DataError, match=r"target\.spm: was changed while the command ran"):
        job.make(tmp_path / "changed", fetch, threads=1)
    pieces.write_bytes(before)
    np.savez(marian / "model.npz", **{"special:model.yml": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(DataError, match=r"cannot be converted: .*pickle"):
        MarianConversionJob.of(config).make(tmp_path, fetch, threads=1)
