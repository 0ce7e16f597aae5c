"""The documentation agrees with the code: keys, defaults, examples and links.

A table that documents keys has a comment above it, `<!-- keys of TrainingConfig -->`, which names
the model, or several, whose keys stand in its first column. It may stand in any of `KEY_PAGES`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from kdray.config.experiment import Experiment
from kdray.config.gates import GateConfig
from kdray.config.load import apply_override, load_experiment, read_yaml
from kdray.config.methods.union import MethodConfig
from kdray.config.model import PRESETS, ModelConfig

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "tune_configs").glob("*.yaml"))
KEY_PAGES = [
    page
    for name in ("configuration", "methods", "teachers", "search")
    if (page := ROOT / f"docs/{name}.md").exists()
]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING")), *DOCS]
FRAGMENTS_OF = ROOT / "tune_configs/multi30k.yaml"  # the experiment that fragments are put into
ALL_SIGNALS = """recipe.signals={hypotheses: {num_hyps: 8, beam: 8}, sampled: {}, hidden: {},
    scores: {risk: {kind: risk}}, topk: {temperatures: [1.0, 1.5, 2.0]}, online: true}"""
"""For fragments that are methods."""

Row = dict[str, str]  # heading -> cell


def models(annotation: Any, found: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Add the models that a type can hold, and those that their fields can hold, by name."""
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    if is_model and annotation.__name__ not in found:
        found[annotation.__name__] = annotation
        for field in annotation.model_fields.values():
            models(field.annotation, found)
    for inner in get_args(annotation):
        models(inner, found)
    return found


MODELS = models(Experiment, {})


def tables(page: Path) -> Iterator[tuple[str, list[Row]]]:
    """Tables below a comment: what the comment says, and the rows."""
    text = page.read_text(encoding="utf-8")
    for comment, block in re.findall(r"^<!-- (.+?) -->\n\n((?:\|.*\n)+)", text, re.MULTILINE):
        lines = [line.strip().strip("|").split("|") for line in block.splitlines()]
        head, _, *body = [[cell.strip() for cell in line] for line in lines]
        yield comment, [dict(zip(head, row, strict=True)) for row in body]


def documented(model: str) -> list[Row]:
    """Rows of all tables of this model's keys."""
    found = []
    for page in KEY_PAGES:
        for comment, rows in tables(page):
            if comment.startswith("keys of ") and model in re.findall(r"\w+", comment[8:]):
                found += rows
    return found


def key_of(row: Row) -> str:
    return next(iter(row.values())).strip("`")


def yaml_blocks(page: Path) -> list[tuple[str, str]]:
    """YAML blocks that start with a comment: what it says, and the block."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```yaml\n# ([^\n]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


BLOCKS = [(page, *block) for page in PAGES for block in yaml_blocks(page)]
COMPLETE = [(page, text) for page, mark, text in BLOCKS if mark == "complete"]
FRAGMENTS = [(mark, text) for _, mark, text in BLOCKS if mark.startswith(("recipe.", "search"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_key_is_documented_and_no_other(name: str) -> None:
    rows = documented(name)
    assert rows, f"no table below `<!-- keys of {name} -->` in {[page.name for page in KEY_PAGES]}"
    keys = {key_of(row) for row in rows}
    missing = MODELS[name].model_fields.keys() - keys
    assert not missing, f"{name} has keys that its table lacks: {sorted(missing)}"


def test_no_table_has_a_key_that_does_not_exist() -> None:
    for page in KEY_PAGES:
        for comment, rows in tables(page):
            if not comment.startswith("keys of "):
                continue
            names = re.findall(r"\w+", comment[8:])
            assert set(names) <= MODELS.keys(), f"{page.name}: `{comment}` names no model"
            known = {key for name in names for key in MODELS[name].model_fields}
            unknown = {key_of(row) for row in rows} - known
            assert not unknown, f"{page.name}: {comment} has no {sorted(unknown)}"


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_defaults_are_those_of_the_code(name: str) -> None:
    wrong = []
    for row in documented(name):
        field = MODELS[name].model_fields.get(key_of(row))
        if field is not None and not agrees(name, key_of(row), field, row["default"]):
            wrong.append(f"{name}.{key_of(row)}: {row['default']}, not {field.default!r}")
    assert not wrong, "\n".join(wrong)


def agrees(name: str, key: str, field: FieldInfo, cell: str) -> bool:
    """Whether a cell states the default of a field."""
    if issubclass(MODELS[name], ModelConfig) and key in PRESETS["tiny"]:
        return cell == "of the preset"
    if field.is_required():
        return cell == "required"
    if not re.fullmatch("`[^`]+`", cell):
        return False
    data: dict[str, Any] = {}
    apply_override(data, f"default={cell.strip('`')}")
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return bool(type(default).model_validate(data["default"]) == default)
    if isinstance(default, tuple) and default and isinstance(default[0], BaseModel):
        return tuple(map(type(default[0]).model_validate, data["default"])) == default
    expected = to_jsonable_python(default)
    return bool(data["default"] == expected and type(data["default"]) is type(expected))


def test_the_table_of_presets_is_that_of_the_code() -> None:
    (rows,) = (rows for page in KEY_PAGES for comment, rows in tables(page) if comment == "presets")
    found = {key_of(row): {k: int(v) for k, v in list(row.items())[1:]} for row in rows}
    assert found == PRESETS


@pytest.mark.parametrize(("page", "text"), COMPLETE, ids=[page.name for page, _ in COMPLETE])
def test_a_complete_example_loads(page: Path, text: str, tmp_path: Path) -> None:
    file = tmp_path / page.with_suffix(".yaml").name
    file.write_text(text, encoding="utf-8")
    assert load_experiment(file).name == read_yaml(file)["name"]


@pytest.mark.parametrize(("key", "text"), FRAGMENTS, ids=range(1, len(FRAGMENTS) + 1))
def test_a_fragment_loads_in_its_place(key: str, text: str) -> None:
    data = read_yaml(FRAGMENTS_OF)
    apply_override(data, f"{key}={text}")
    if key == "recipe.methods":
        apply_override(data, ALL_SIGNALS)
    if key == "recipe.teacher" and "kind: checkpoint" in text:
        del data["recipe"]["tokenizer"]
    if key == "recipe.teacher" and re.search("^kind: (ctr|com|fun|hug|mar)", text, re.MULTILINE):
        apply_override(data, "recipe.methods={s: {kind: sentence_level}}")
    Experiment.model_validate(data)


@pytest.mark.parametrize("config", [MethodConfig, GateConfig], ids=["methods", "gates"])
def test_every_kind_has_an_example(config: Any) -> None:
    kinds = set(kinds_of(config))
    examples = "".join(text for key, text in FRAGMENTS if key == "recipe.methods")
    assert len(kinds) >= 7
    assert kinds - set(re.findall(r"kind: (\w+)", examples)) == set()


def kinds_of(annotation: Any) -> Iterator[str]:
    """The kinds of a union, without those that its models hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from get_args(annotation.model_fields["kind"].annotation)
    for inner in get_args(annotation):
        yield from kinds_of(inner)


def test_there_are_examples_to_load() -> None:
    assert {page.name for page, _ in COMPLETE} >= {"README.md", "configuration.md"}
    assert len(FRAGMENTS) >= 4
    assert len(CONFIGS) >= 4


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_shipped_configuration_loads(path: Path) -> None:
    assert load_experiment(path).name.replace("-", "_") == path.stem


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_pages_that_a_configuration_names_exist(path: Path) -> None:
    named = re.findall(r"\bdocs/[\w/.-]+\.md\b", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken, f"{page.name}: {broken}"


def prose(page: Path) -> str:
    """A page without its code."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("demo", "search_gate"),
        ("multi30k", "multi30k_methods"),
        ("multi30k", "multi30k_initial"),
        ("multi30k", "multi30k_search"),
    ],
)
def test_experiments_share_what_their_heads_say(first, second) -> None:
    """What the second needs of corpus, teacher and translations is not made again."""
    folder = ROOT / "tune_configs"
    one, other = (load_experiment(folder / f"{name}.yaml").recipe for name in (first, second))
    head = (folder / f"{second}.yaml").read_text(encoding="utf-8").partition("name:")[0]
    assert f"{first}.yaml" in head
    assert other.corpus == one.corpus
    assert other.tokenizer == one.tokenizer
    assert other.teacher == one.teacher
    assert other.signals.hypotheses == one.signals.hypotheses
    assert other.evaluation.bleu_tokenize == one.evaluation.bleu_tokenize
    if "and its signals" in head:
        assert other.signals == one.signals
    if "and the students" in head:
        assert other.students == one.students
        assert other.methods.items() >= one.methods.items()
