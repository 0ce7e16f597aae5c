"""Every translation gets its score, which is kept; choosing by it decodes and scores nothing."""

import math
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import TypeAdapter
from sharded import ENCODED, at, make

from kdray.config.methods.scored import ScoredConfig
from kdray.config.scores import ScoreConfig
from kdray.errors import DataError
from kdray.model.storage import load_model
from kdray.schema import Column
from kdray.scoring import job as scoring_job
from kdray.scoring.scorer import Scorer, ScorerFailed
from kdray.teacher.hypotheses import FILE, Hypotheses
from kdray.teacher.scores import ScoreJob, load_scores
from kdray.teacher.selection import SelectionJob
from kdray.teacher.similarity import similarity
from kdray.text.pairing import source_hashes
from kdray.text.sequences import write_table
from kdray.text.tokenizer import BOS

SRC = ["ba de", "fi go hu", "ka le"]
REF = ["BA DE", "FI GO HU", "KA LE"]
HYPS = [["BA DE", "BA", "DE BA"], ["FI HU", "FI GO HU"], ["LE"]]
FINISHED = [[True, True, True], [False, True], [True]]
LOGP = [[-1.0, -2.0, -3.0], [-0.5, -4.0], [-9.0]]


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    table = pa.table({"pair_id": [5, 3, 8], "src": SRC, "ref": REF})
    for split in ("train", "dev"):
        pq.write_table(table, folder / f"{split}.parquet")
    return folder


@pytest.fixture
def hypotheses(tmp_path):
    folder = tmp_path / "hypotheses"
    folder.mkdir()
    rows = [(pair, rank) for pair in range(3) for rank in range(len(HYPS[pair]))]
    columns = {
        Column.PAIR_ID: pa.array([[5, 3, 8][pair] for pair, _ in rows], pa.int64()),
        Column.SRC_HASH: pa.array(source_hashes(SRC[pair] for pair, _ in rows)),
        Column.HYP_RANK: pa.array([rank for _, rank in rows], pa.int32()),
        Column.HYP: pa.array([HYPS[pair][rank] for pair, rank in rows], pa.large_string()),
        Column.HYP_IDS: pa.array([[7] * (rank + 1) for _, rank in rows], pa.list_(pa.uint16())),
        Column.HYP_SCORE: pa.array([LOGP[pair][rank] for pair, rank in rows], pa.float32()),
        Column.FINISHED: pa.array([FINISHED[pair][rank] for pair, rank in rows]),
    }
    write_table(folder / FILE, pa.table(columns))
    return folder


@pytest.fixture
def scored(corpus, hypotheses, tmp_path):
    def scored_by(shard_rows=2, second=None, **config):
        folder = tmp_path / f"scores-{len(list(tmp_path.iterdir()))}"
        job = ScoreJob(
            at(hypotheses), at(corpus), TypeAdapter(ScoreConfig).validate_python(config),
            at(second) if second else None,
        )  # fmt: skip
        make(job, folder, shard_rows=shard_rows)
        return folder, load_scores(folder, Hypotheses.load(hypotheses, best_only=False)).tolist()

    return scored_by


def flat(lists):
    return [each for row in lists for each in row]


def test_the_teacher_s_score_is_by_length(scored):
    assert scored(kind="model")[1] == pytest.approx([-1, -1, -1, -0.5, -2, -9])
    assert scored(kind="model", length_penalty=0)[1] == pytest.approx(flat(LOGP))


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_references_and_risk_are_the_similarities_that_choose(scored, name):
    measure = similarity(name)
    _, found = scored(kind="reference", similarity=name)
    assert found == pytest.approx(flat(measure.to(*each) for each in zip(REF, HYPS, strict=True)))
    _, found = scored(kind="risk", similarity=name)
    expected = [measure.among(hyps).mean(1) for hyps in HYPS]
    assert found == pytest.approx(flat(expected))


@pytest.fixture
def second(new_teacher, toy_tokenizers):
    tokenizer = toy_tokenizers["joint"]
    folder = new_teacher(
        seed=1, tokenizer=tokenizer.checksum, src_vocab=tokenizer.src_vocab,
        vocab=tokenizer.tgt_vocab,
    )  # fmt: skip
    tokenizer.save(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["backward", "forward"])
def test_the_cross_entropy_of_a_second_model(scored, second, toy_tokenizers, direction):
    _, found = scored(kind="cross_entropy", path=str(second), direction=direction, second=second)
    model, tokenizer = load_model(second).eval(), toy_tokenizers["joint"]
    for place, (src, hyp) in enumerate((SRC[pair], hyp) for pair in range(3) for hyp in HYPS[pair]):
        read, asked = (hyp, src) if direction == "backward" else (src, hyp)
        (ids,), (target,) = tokenizer.encode_src([read]), tokenizer.encode_tgt([asked])
        with torch.no_grad():
            src_BS = torch.tensor([ids])
            logits = model(src_BS, src_BS > -1, torch.tensor([[BOS, *target[:-1]]]))[0]
        logp = logits.log_softmax(1)[range(len(target)), target].mean()
        assert found[place] == pytest.approx(float(logp), abs=1e-4)


@pytest.mark.slow
def test_agreement_is_with_the_translation_of_a_second_model(scored, second):
    _, found = scored(kind="agreement", path=str(second), second=second)
    assert len(found) == 6
    assert all(0 <= each <= 100 for each in found)


@pytest.mark.slow
def test_a_command_scores_too_and_lower_may_be_better(scored):
    program = "import sys, json\nfor l in sys.stdin: print(len(json.loads(l)['hyp']))"
    scorer = {"kind": "command", "command": [sys.executable, "-c", program], "signature": "length"}
    assert scored(kind="scorer", scorer=scorer)[1] == [5, 2, 5, 5, 8, 2]
    lower = {**scorer, "higher_is_better": False}
    assert scored(kind="scorer", scorer=lower)[1] == [-5, -2, -5, -5, -8, -2]


def test_a_scorer_that_forgets_a_translation_is_found_out(scored, monkeypatch):
    forgets = Scorer(lambda config, segments: [1.0] * (len(segments) - 1))
    monkeypatch.setattr(scoring_job, "COMMAND", forgets)
    scorer = {"kind": "command", "command": ["none"], "signature": "forgets"}
    with pytest.raises(ScorerFailed, match=r"gave 1 scores for 2 segments|gave 0 scores for 1"):
        scored(kind="scorer", scorer=scorer)


@pytest.mark.parametrize(
    ("n", "least", "chosen"),
    [
        (1, None, {5: "BA DE", 3: "FI HU", 8: "LE"}),  # nothing else is looked at
        (3, None, {5: "BA DE", 3: "FI GO HU", 8: "LE"}),
        (3, 50.0, {5: "BA DE", 3: "FI GO HU"}),
        (3, 100.5, {}),
    ],
)
def test_the_best_score_is_chosen_and_a_threshold_leaves_pairs_out(
    scored, corpus, hypotheses, tmp_path, n, least, chosen
):
    folder, _ = scored(kind="reference")
    config = ScoredConfig(kind="scored", by="reference", n=n, at_least=least)
    job = SelectionJob(at(hypotheses), at(corpus), config, ENCODED, at(folder))
    _, counts = make(job, tmp_path / "chosen", shard_rows=2)
    hyps = Hypotheses.load(tmp_path / "chosen")
    assert dict(zip(hyps.pair_ids.tolist(), hyps.texts(np.arange(len(chosen))), strict=True)) == (
        chosen
    )
    assert (counts["pairs"], counts["below"]) == (len(chosen), 3 - len(chosen))


def test_scores_of_other_translations_are_refused(scored, hypotheses):
    folder, _ = scored(kind="model")
    other = Hypotheses.load(hypotheses)
    with pytest.raises(DataError, match="its pair_id are not those of the translations"):
        load_scores(folder, other)


@pytest.mark.slow
def test_shards_change_no_score(scored):
    assert scored(kind="risk")[1] == scored(kind="risk", shard_rows=1)[1]
    assert not any(map(math.isnan, scored(kind="risk")[1]))
