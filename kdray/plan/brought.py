"""Models that a user brings as folders: what stands for them, and whether they are whole."""

from pathlib import Path

from kdray.artifacts import Brought, Key, prove
from kdray.errors import DataError
from kdray.model.storage import SHAPE, WEIGHTS, check_weights, load_shape
from kdray.storage.hashed import Hashed
from kdray.text.tokenizer import FILES, Tokenizer


def brought_model(path: Path) -> Brought:
    """A brought model; its weights, its shape and the tokenizer in its folder stand for it.

    Raises:
        DataError: the folder holds no kdray model, or its parts do not belong together.
        ArtifactDamaged: it was published, with a record, and is not what was published.
    """
    prove(path)
    names = (WEIGHTS, SHAPE, *FILES)
    files = Hashed.of(path / name for name in names if (path / name).is_file())
    shape, tokenizer = load_shape(path), Tokenizer.load(path)
    if tokenizer.checksum != shape.tokenizer:
        raise DataError(
            f"{path}: holds the tokenizer {tokenizer.checksum}, but {SHAPE} says that the model "
            f"was trained with {shape.tokenizer}; copy the folder again as it was"
        )
    vocabularies = (tokenizer.src_vocab, tokenizer.tgt_vocab)
    if vocabularies != (shape.src_vocab, shape.tgt_vocab):
        raise DataError(
            f"{path / SHAPE}: the model has {shape.src_vocab} source and {shape.tgt_vocab} target "
            f"pieces, its tokenizer {vocabularies[0]} and {vocabularies[1]}; copy the folder again "
            "as it was"
        )
    check_weights(path / WEIGHTS, shape)
    recipe = {"weights": files.sha256(path / WEIGHTS), "shape": shape.identity()}
    key = Key("brought", 2, recipe, {"tokenizer": tokenizer.checksum})
    return Brought(path.absolute(), key.fingerprint, files)
