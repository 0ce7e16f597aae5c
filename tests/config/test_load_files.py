"""Which files can be read as a configuration, before its values are validated."""

from pathlib import Path

import pytest

from kdray.config.experiment import Experiment
from kdray.config.load import load_experiment
from kdray.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "tune_configs"


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "Traceback" not in message
    assert "pydantic" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return message


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "given.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path / "absent.yaml")
    assert "No such file" in message
    assert "give the path" in message


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert "Is a directory" in message
    assert "give the path" in message


@pytest.mark.parametrize(
    ("content", "shown"),
    [("", "nothing"), ("# only a comment\n", "nothing"), ("- a\n- b\n", "list"), ("3", "int")],
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, content: str, shown: str) -> None:
    message = refusal(written(tmp_path, content))
    assert f"found {shown}," in message
    assert "`recipe:`" in message


@pytest.mark.parametrize("content", ["a: [1, 2", "a: b: c", "\tname: x", "name: *nowhere", "\x00"])
def test_broken_yaml_is_refused(tmp_path: Path, content: str) -> None:
    assert "not valid YAML" in refusal(written(tmp_path, content))


def test_bytes_that_are_not_utf8_are_named_by_place(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, b"name: caf\xe9\n"))
    assert "0xe9 at 9" in message
    assert "save it as UTF-8" in message


@pytest.mark.parametrize(
    "content",
    [
        "name: a\nname: b\n",
        "recipe:\n  methods:\n    a: {kind: x}\n    a: {kind: y}\n",
        "{a: 1, a: 2}",
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path, content: str) -> None:
    message = refusal(written(tmp_path, content))
    assert "stands twice" in message
    assert "line" in message


def test_anchors_and_merge_keys_work(load) -> None:
    merged = load(
        edits={
            "    training: {updates: 20, schedule: {kind: inverse_sqrt": "    training: &long "
            "{updates: 20, schedule: {kind: inverse_sqrt",
            "{updates: 20, schedule: {kind: cosine, peak: 0.001, warmup: 5}}": "{<<: *long, "
            "updates: 30}",
        }
    )
    assert merged.recipe.students.training.updates == 30
    assert merged.recipe.students.training.schedule == merged.recipe.teacher.training.schedule


def test_the_words_on_and_no_are_words(load) -> None:
    """In YAML 1.1 both are booleans, so a key could not be `on` and a language not Norwegian."""
    files = (
        "{kind: files, folder: f, src_lang: en, tgt_lang: no, train: {src: a, tgt: b}, "
        "dev: {src: a, tgt: b}, tests: {t: {src: a, tgt: b}}}"
    )
    loaded = load(edits={"{kind: generated, train_pairs: 20}": files})
    assert loaded.recipe.corpus.tgt_lang == "no"
    assert [str(view) for view in loaded.recipe.signals.topk.on] == [
        "reference",
        "hypothesis",
    ]


@pytest.mark.parametrize("word", ["true", "yes", "on"])
def test_words_for_true_still_are_true_where_a_boolean_is_due(load, word: str) -> None:
    assert load(f"execution.use_gpu={word}").execution.use_gpu is True


def test_a_date_is_a_plain_word(load) -> None:
    assert load(edits={"name: small": "name: 2024-02-31"}).name == "2024-02-31"


@pytest.mark.slow
def test_every_shipped_configuration_loads() -> None:
    paths = sorted(CONFIGS.rglob("*.yaml"))
    assert paths, f"no configuration was found in {CONFIGS}"
    assert len(paths) == sum(path.suffix in (".yaml", ".yml") for path in CONFIGS.rglob("*"))
    loaded = [load_experiment(path) for path in paths]
    assert all(isinstance(experiment, Experiment) for experiment in loaded)
    assert len({experiment.name for experiment in loaded}) == len(paths)
