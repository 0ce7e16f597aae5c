"""Vocabularies that have to be one: of an ensemble's members, of teacher and students."""

from pathlib import Path

from kdray.artifacts import Brought
from kdray.config.methods.union import single_methods
from kdray.config.recipe import Recipe
from kdray.errors import ConfigError
from kdray.model.storage import load_shape
from kdray.text.tokenizer import Tokenizer


def check_ensemble(brought: tuple[Path, ...]) -> None:
    """Raise ConfigError when teachers that were brought have different tokenizers."""
    checksums = {path: Tokenizer.load(path).checksum for path in brought}
    for path, checksum in checksums.items():
        if checksum != checksums[brought[0]]:
            raise ConfigError(
                f"recipe.teacher.members: {brought[0]} and {path} have different vocabularies "
                f"(tokenizers {checksums[brought[0]]} and {checksum}), so their distributions "
                "cannot be averaged; take teachers with one tokenizer"
            )


def check_one_vocabulary(recipe: Recipe) -> None:
    """Raise ConfigError when students of another vocabulary are to learn distributions."""
    for name, method in recipe.methods.items():
        for single in single_methods(method):
            if single.needs().distributions:
                raise ConfigError(
                    f"recipe.methods.{name} ({single.kind}) learns the teacher's distributions, "
                    "but recipe.tokenizer gives the students a vocabulary of their own and the "
                    "brought teacher has another; leave recipe.tokenizer out to share the "
                    "teacher's"
                )


def check_embeddings(folder: Path) -> None:
    """Raise ConfigError when a teacher's embeddings are not those that its tokenizer asks for."""
    shape, tokenizer = load_shape(folder), Tokenizer.load(folder)
    ours = _embeddings(tokenizer.src_vocab, tokenizer.tgt_vocab, shared=tokenizer.joint)
    theirs = _embeddings(shape.src_vocab, shape.tgt_vocab, shared=shape.shared)
    if ours != theirs:
        raise ConfigError(
            f"recipe.teacher.path: {folder} has embeddings of {theirs}, and a student with its "
            f"tokenizer has {ours}, so it cannot start from them; bring another teacher, or use "
            "initial random"
        )


def teacher_entries(recipe: Recipe, brought: tuple[Brought, ...]) -> int:
    """Entries of the teacher's distributions."""
    if brought:
        return Tokenizer.load(brought[0].path).tgt_vocab
    assert recipe.tokenizer is not None, "only a brought teacher brings one"
    return recipe.tokenizer.vocab_size


def _embeddings(src: int, tgt: int, *, shared: bool) -> str:
    return f"{tgt} entries for both sides" if shared else f"{src} source and {tgt} target entries"
