"""A bad value gives one message, with its place, the value and the repair."""

import pytest

from kdray.errors import ConfigError

FILES = (
    "recipe.corpus={{kind: files, folder: f, src_lang: a, tgt_lang: b, train: {train}, "
    "dev: {{src: a, tgt: b}}, tests: {{text: {{src: a, tgt: b}}}}}}"
)


def refusal(load, *overrides: str, edits: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*overrides, edits=edits)
    message = str(caught.value)
    assert "Traceback" not in message
    assert "pydantic" not in message
    assert caught.value.__suppress_context__
    place = message.split(": ", 1)[1]
    assert "\n" not in place, "one mistake, one message"
    return place


@pytest.mark.parametrize(
    ("override", "place", "meant"),
    [
        ("executoin.cpus=1", "executoin", "execution"),
        ("recipe.baselin=x", "recipe.baselin", "baseline"),
        ("recipe.corpus.grammar.recurson=0", "recipe.corpus.grammar.recurson", "recursion"),
        ("recipe.teacher.training.update=1", "recipe.teacher.training.update", "updates"),
        ("recipe.students.training.schedule.peek=1",
         "recipe.students.training.schedule.peek", "peak"),
        ("recipe.students.sizes.nano.with=1", "recipe.students.sizes.nano.with", "width"),
        ("recipe.signals.topk.temperature=[1]",
         "recipe.signals.topk.temperature", "temperatures"),
        ("recipe.methods.token_level.alfa=1", "recipe.methods.token_level.alfa", "alpha"),
        ("recipe.methods.gated.gate.stabilizer=prior",
         "recipe.methods.gated.gate.stabilizer", "stabiliser"),
        ("execution.tracking.url=x", "execution.tracking.url", "uri"),
        ("recipe.methods.a={kind: stages, stages: [{method: {kind: tie, alfa: 1}, updates: 9},"
         " {method: {kind: cross_entropy}, updates: 9}]}",
         "recipe.methods.a.stages.0.method.alfa", "alpha"),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_named_with_its_place_and_what_was_meant(
    load, override: str, place: str, meant: str
) -> None:
    assert refusal(load, override) == f"{place}: no such key; did you mean {meant!r}?"


def test_a_key_that_is_like_no_other_gets_the_list(load) -> None:
    message = refusal(load, "recipe.methods.token_level.zzz=1")
    assert message == (
        "recipe.methods.token_level.zzz: no such key; "
        "there are alpha, kind, label_smoothing, prefix, signal, temperature"
    )


@pytest.mark.parametrize("name", ["token_level", "hybrid", "cross_entropy", "alpha", "kind"])
def test_a_method_named_like_a_kind_or_a_field_keeps_its_place(load, name: str) -> None:
    message = refusal(load, f"recipe.methods={{{name}: {{kind: token_level, alpha: 2}}}}")
    assert message.startswith(f"recipe.methods.{name}.alpha: ")


def test_a_misspelt_key_that_was_required_is_missing_too(load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(edits={"name: small": "nam: small"})
    first, second = str(caught.value).split("\n")
    assert first.endswith(": name: missing; add it")
    assert second.endswith(": nam: no such key; did you mean 'name'?")


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("recipe.methods.token_level.alpha=1.5", "recipe.methods.token_level.alpha", "1.5"),
        ("recipe.methods.token_level.temperature=0",
         "recipe.methods.token_level.temperature", "0"),
        ("recipe.methods.gated.gate.initial=1", "recipe.methods.gated.gate.initial", "1"),
        ("recipe.students.training.updates=0", "recipe.students.training.updates", "0"),
        ("recipe.students.training.schedule.peak=.nan",
         "recipe.students.training.schedule.peak", "nan"),
        ("recipe.students.training.schedule.peak=.inf",
         "recipe.students.training.schedule.peak", "inf"),
        ("recipe.students.sizes.nano.dropout=1", "recipe.students.sizes.nano.dropout", "1"),
        ("recipe.students.seeds=[1, -1]", "recipe.students.seeds.1", "-1"),
        ("recipe.students.seeds=[-1]", "recipe.students.seeds.0", "-1"),
        ("recipe.students.seeds=[]", "recipe.students.seeds", "[]"),
        ("recipe.teacher.seed=-1", "recipe.teacher.seed", "-1"),
        ("recipe.evaluation.beams=[0]", "recipe.evaluation.beams.0", "0"),
        ("recipe.corpus.grammar.recursion=0.9", "recipe.corpus.grammar.recursion", "0.9"),
        ("recipe.tokenizer.character_coverage=0.9", "recipe.tokenizer.character_coverage", "0.9"),
        ("execution.train_workers=0", "execution.train_workers", "0"),
        ("recipe.students.training.updates=many", "recipe.students.training.updates", "'many'"),
        ("recipe.students.training.updates=1.5", "recipe.students.training.updates", "1.5"),
        ("recipe.tokenizer.joint=7", "recipe.tokenizer.joint", "7"),
        ("recipe.tokenizer=3", "recipe.tokenizer", "3"),
        ("recipe.students.sizes.nano.preset=huge", "recipe.students.sizes.nano.preset", "'huge'"),
        ("recipe.students.sizes.nano.preset=[nano]",
         "recipe.students.sizes.nano.preset", "['nano']"),
        ("recipe.signals.topk.on=[both]", "recipe.signals.topk.on.0", "'both'"),
        ("name=a b", "name", "'a b'"),
        ("name=../up", "name", "'../up'"),
        ("recipe.methods.x=3", "recipe.methods.x", "3"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_or_of_another_type_is_shown(
    load, override: str, place: str, value: str
) -> None:
    message = refusal(load, override)
    assert message.startswith(f"{place}: ")
    assert message.endswith(f"(found {value})")


def test_a_name_that_is_no_folder_name_is_refused(load) -> None:
    message = refusal(load, 'recipe.methods={"a/b": {kind: cross_entropy}}')
    assert message.startswith("recipe.methods.a/b: ")
    assert message.endswith("(found 'a/b')")


def test_a_missing_or_unknown_kind_lists_those_there_are(load) -> None:
    missing = refusal(load, "recipe.methods.x={alpha: 1}")
    assert missing == (
        "recipe.methods.x: `kind` is missing; "
        "there are cross_entropy, token_level, sentence_level, interpolation, multi_hypothesis, "
        "scored, hybrid, hard_gate, selective, tie, annealing, divergence, taid, imitation, "
        "on_policy, feature, stages, branch"
    )
    unknown = refusal(load, "recipe.methods.x={kind: word_level}")
    assert "'word_level'" in unknown
    assert "'token_level'" in unknown


@pytest.mark.parametrize("name", ["../x", "/abs", "a/../../b", '""', "."])
@pytest.mark.parametrize("side", ["src", "tgt"])
def test_a_corpus_file_cannot_leave_its_folder(load, name: str, side: str) -> None:
    pair = {"src": "a", "tgt": "b", side: name}
    message = refusal(load, FILES.format(train=f"{{src: {pair['src']}, tgt: {pair['tgt']}}}"))
    assert message.startswith(f"recipe.corpus.train.{side}: ")
    assert "must be a relative path inside the corpus folder; put the folder itself" in message


def test_a_missing_field_is_placed_under_the_test_set_that_lacks_it(load) -> None:
    given = FILES.format(train="{src: a, tgt: b}").replace(
        "text: {src: a, tgt: b}", "text: {src: a}"
    )
    assert refusal(load, given) == "recipe.corpus.tests.text.tgt: missing; add it"


def test_numbers_as_keys_are_refused(load) -> None:
    assert "keys should be strings" in refusal(load, edits={"name: small": "name: small\n7: x"})


@pytest.mark.parametrize("name", ["flickr/en-de", "'a:b'", "''"])
def test_a_name_that_mlflows_registry_refuses_is_known_at_once(load, name: str) -> None:
    message = refusal(load, f"execution.tracking.register_as={name}")
    assert message.startswith("execution.tracking.register_as: ")
