"""Artifacts are found by what they are, and damage in a folder store is named."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_artifact import KEY, fill

from kdray.artifacts import RECORD, Key, Store, canonical_json, differences
from kdray.errors import ArtifactDamaged
from kdray.storage import content

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
recipes = st.dictionaries(st.text(min_size=1, max_size=4), json_values, max_size=4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


def edit_record(path: Path, **changes: object) -> None:
    record = json.loads((path / RECORD).read_text())
    (path / RECORD).write_text(json.dumps({**record, **changes}))


class TestFingerprint:
    @given(recipes, st.randoms())
    def test_order_of_keys_does_not_count(self, recipe: dict[str, object], random) -> None:
        names = list(recipe)
        random.shuffle(names)
        shuffled = {name: recipe[name] for name in names}
        assert Key("s", 1, recipe).fingerprint == Key("s", 1, shuffled).fingerprint

    @given(recipes, recipes)
    def test_equal_recipes_and_only_those_are_equal(self, one, other) -> None:
        same = canonical_json(one) == canonical_json(other)
        assert (Key("s", 1, one).fingerprint == Key("s", 1, other).fingerprint) == same

    def test_each_member_counts(self) -> None:
        keys = [
            KEY,
            Key("tokenizer", 1, KEY.recipe, KEY.inputs),
            Key("corpus", 2, KEY.recipe, KEY.inputs),
            Key("corpus", 1, {}, KEY.inputs),
            Key("corpus", 1, KEY.recipe, {"raw": "abd"}),
        ]
        assert len({key.fingerprint for key in keys}) == len(keys)

    def test_known_value(self) -> None:
        """A change here would orphan every artifact on every disk."""
        assert KEY.fingerprint == "74f687d9a6eecbd7"


class TestFind:
    @pytest.fixture
    def path(self, store: Store) -> Path:
        return store.publish(KEY, fill).path

    def damage(self, store: Store) -> str:
        with pytest.raises(ArtifactDamaged) as caught:
            store.find(KEY)
        message = str(caught.value)
        assert message.startswith(str(store.path(KEY)))
        assert message.endswith(f"remove the folder {store.path(KEY)} and run again")
        assert caught.value.exit_code == 1
        with pytest.raises(ArtifactDamaged):  # and is not built over
            store.cached(KEY, fill)
        return message

    @pytest.mark.parametrize("content", ["", "{", '{"recipe": ', "[]", "null", "{}", b"\xff"])
    def test_a_record_that_is_none(self, store: Store, path: Path, content: str | bytes) -> None:
        (path / RECORD).write_bytes(content if isinstance(content, bytes) else content.encode())
        assert "not a record" in self.damage(store)

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"recipe": {**KEY.recipe, "seed": 2}}, "recipe.seed: 2 -> 1"),
            ({"recipe": {"seed": 1, "cleaning": {"max": 8, "min": None}}},
             "recipe.cleaning.max: 8 -> 9"),
            ({"recipe": {"seed": 1, "cleaning": {"max": 9}}},
             "recipe.cleaning.min: absent -> null"),
            ({"recipe": {**KEY.recipe, "new": 0}}, "recipe.new: 0 -> absent"),
            ({"version": 3}, "version: 3 -> 1"),
            ({"version": True}, "version: true -> 1"),
            ({"version": 1.0}, "version: 1.0 -> 1"),
            ({"inputs": {"raw": "xyz"}}, 'inputs.raw: "xyz" -> "abc"'),
        ],
    )  # fmt: skip
    def test_an_edited_record_names_the_field(self, store, path, changes, field) -> None:
        edit_record(path, **changes)
        assert f"disagrees with its fingerprint in {field};" in self.damage(store)

    @pytest.mark.parametrize("name", ["table", "inner/part"])
    def test_a_file_that_was_cut(self, store: Store, path: Path, name: str) -> None:
        size = (path / name).stat().st_size
        os.truncate(path / name, 2)
        assert f"{name}: has 2 bytes, its record says {size};" in self.damage(store)

    def test_a_file_that_is_gone(self, store: Store, path: Path) -> None:
        (path / "table").unlink()
        assert "table: is missing, its record says 10;" in self.damage(store)

    def test_a_folder_in_a_files_place(self, store: Store, path: Path) -> None:
        (path / "table").unlink()
        (path / "table").mkdir()
        assert "table: is missing" in self.damage(store)

    def test_a_removed_folder_is_a_miss_and_built_again(self, store: Store, path: Path) -> None:
        shutil.rmtree(path)
        assert store.find(KEY) is None
        assert store.cached(KEY, fill).path == path

    def test_it_reads_the_record_and_no_content(self, store, path, monkeypatch) -> None:
        monkeypatch.setattr(content, "sha256_file", lambda _: pytest.fail("read a whole file"))
        assert store.find(KEY) is not None


FORMS = [{"created": 5}, {"recipe": None}, {"inputs": []}, {"files": {"table": 5}}, {"counts": 1}]


def test_what_is_no_record_explains_no_miss(store: Store) -> None:
    path, miss = store.publish(KEY, fill).path, Key("corpus", 2, {})
    assert store.explain_miss(miss) != []
    written = (path / RECORD).read_text()
    for change in [{"stage": 1}, {"kdray": "99"}, *FORMS]:
        (path / RECORD).write_text(json.dumps({**json.loads(written), **change}))
        assert (store.explain_miss(miss), store.contents("corpus")) == ([], []), change
    for none in ("{}", "[" * 100_000):
        (path / RECORD).write_text(none)
        assert store.explain_miss(miss) == []


@pytest.mark.parametrize("form", ["a file", "below a file", "a loop", "a dead link", "a record"])
def test_what_stands_in_a_folders_place_is_damaged(store: Store, tmp_path, form) -> None:
    place = store.path(KEY)
    (place if form == "a record" else place.parent).mkdir(parents=True)
    match form:
        case "a file":
            place.write_text("in the way")
        case "below a file":
            place.parent.rmdir()
            place.parent.write_text("in the way")
        case "a loop":
            place.symlink_to(place.name)
        case "a dead link":
            place.symlink_to(tmp_path / "gone")
        case "a record":
            (place / RECORD).mkdir()
    with pytest.raises(ArtifactDamaged, match=f"^{place}.*; remove the folder {place} and run"):
        store.find(KEY)


@pytest.mark.slow
@given(recipes)
def test_nothing_differs_from_itself(recipe: dict[str, object]) -> None:
    assert differences({"recipe": recipe}, {"recipe": recipe}) == []


@pytest.mark.slow
@given(recipes, recipes)
def test_whatever_is_unequal_differs(one: dict[str, object], other: dict[str, object]) -> None:
    found = differences({"recipe": one}, {"recipe": other})
    assert bool(found) == (canonical_json(one) != canonical_json(other))


def test_differences_ignore_what_only_the_record_has() -> None:
    assert differences({"created": "now", "version": 1}, {"version": 1}) == []


def test_a_store_at_rest_looks_once_for_what_is_there_and_again_for_what_is_not(tmp_path):
    store, key, later = Store.open(tmp_path), Key("corpus", 1, {}), Key("corpus", 2, {})
    store.publish(key, lambda folder: {"pairs": 3})
    at_rest = store.at_rest()
    assert at_rest.find(later) is None
    assert at_rest.find(key) == store.find(key)
    store.publish(later, lambda folder: {})
    assert at_rest.find(later) is not None
    (store.path(key) / RECORD).unlink()
    assert at_rest.find(key) is not None
    assert store.find(key) is None
