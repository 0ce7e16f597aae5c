"""Where a model of Hugging Face comes from, and what it is; without torch or transformers."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kdray.artifacts import Key
from kdray.config.foreign_teachers import HuggingFaceTeacherConfig
from kdray.errors import ConfigError, DataError, InputError
from kdray.storage.hashed import Hashed

KNOWN = ("marian", "m2m_100", "mbart", "t5", "mt5", "pegasus")
"""The model types that are converted. NLLB is an m2m_100, OPUS-MT a marian, MADLAD a t5."""
WEIGHTS = ("model*.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
READ = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "target_vocab.json", "*.spm", "*.model"),
)
"""What is read beside the weights."""


def need_packages() -> None:
    """Look for the packages of the extra.

    Raises:
        ConfigError: one is not installed.
    """
    missing = [name for name in ("transformers", "tokenizers") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"recipe.teacher.kind huggingface: needs the package {missing[0]}, which is not "
            "installed; run: pip install 'kdray[huggingface]'"
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """A local folder, or a commit of a model on the hub. It can be pickled."""

    place: str
    commit: str | None
    fingerprint: str
    files: Hashed = field(default=Hashed(), repr=False, compare=False)

    @classmethod
    def of(cls, config: HuggingFaceTeacherConfig) -> "Origin":
        """Look for the model, and see whether it is one that can be converted.

        Raises:
            InputError: the hub does not have it, or cannot be reached.
            DataError: it is no model, or one of an architecture that is not supported.
            ConfigError: a package is missing.
        """
        need_packages()
        if config.path is not None:
            folder = Path(config.path).absolute()
            check_architecture(folder)
            files = Hashed.of(files_of(folder))
            checksums = {path.name: checksum for path, (_, checksum) in files.files.items()}
            return cls(str(folder), None, Key("huggingface", 1, checksums).fingerprint, files)
        assert config.hub is not None, "the configuration was checked for this"
        commit = _commit(config.hub, config.revision)
        check_architecture(_download(config.hub, commit, "config.json"))
        key = Key("huggingface", 1, {"hub": config.hub, "commit": commit})
        return cls(config.hub, commit, key.fingerprint)

    def folder(self) -> Path:
        """The local folder; that of a model on the hub is downloaded, unless it was before.

        Raises:
            InputError: the hub cannot be reached.
            DataError: a file is missing.
        """
        if self.commit is None:
            folder = Path(self.place)
        else:
            folder = _download(self.place, self.commit, *WEIGHTS, *READ)
            if not any(folder.glob(WEIGHTS[0])):
                folder = _download(self.place, self.commit, *PICKLED, *READ)
        list(files_of(folder))
        return folder

    def prove(self) -> None:
        """Look whether a local folder, which was read, is still what the fingerprint stands for.

        Raises:
            DataError: a file was changed, removed or added.
        """
        if self.commit is None:
            self.files.prove(files_of(Path(self.place)))


def architecture(folder: Path) -> dict[str, Any]:
    """What `config.json` of a folder says.

    Raises:
        DataError: it is missing or damaged.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; a model of Hugging Face is a folder with config.json, weights "
            "and the files of its tokenizer"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; copy it again") from None
    if not isinstance(config, dict):
        raise DataError(f"{path}: holds no mapping; copy it again")
    return config


def check_architecture(folder: Path) -> str:
    """The model type of a folder.

    Raises:
        DataError: it is none that is supported.
    """
    found = str(architecture(folder).get("model_type"))
    if found not in KNOWN:
        raise DataError(
            f"{folder / 'config.json'}: model_type {found!r} is not supported; supported are "
            f"{', '.join(KNOWN)} (OPUS-MT, NLLB and M2M100, mBART-50, T5 and MADLAD, Pegasus). "
            "Another model can be a teacher of kind command or function"
        )
    return found


def files_of(folder: Path) -> Iterator[Path]:
    """The files of a folder that decide what the model says, in an order of their names.

    Raises:
        DataError: there are no weights.
    """
    weights = sorted(path for name in WEIGHTS for path in folder.glob(name))
    if not any(path.suffix == ".safetensors" for path in weights):
        weights = sorted(path for name in PICKLED for path in folder.glob(name))
    if not weights:
        raise DataError(
            f"{folder}: holds neither model.safetensors nor pytorch_model.bin; a model of Hugging "
            "Face needs its weights"
        )
    yield from weights
    yield from sorted(path for name in READ for path in folder.glob(name))


def _commit(hub: str, revision: str) -> str:
    """The commit that a revision is now; where the hub cannot be asked, the one of the cache."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi, snapshot_download

    try:
        return str(HfApi().model_info(hub, revision=revision, timeout=20).sha)
    except Exception as error:  # of its own, of its HTTP client, of the system
        try:
            cached = snapshot_download(
                hub, revision=revision, local_files_only=True, allow_patterns=["config.json"]
            )
        except Exception:
            raise _unreachable(hub, revision, error) from None
        return Path(cached).name


def _download(hub: str, commit: str, *patterns: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub, revision=commit, allow_patterns=list(patterns)))
    except Exception as error:
        raise _unreachable(hub, commit, error) from None


def _unreachable(hub: str, revision: str, error: Exception) -> InputError:
    reason = str(error).strip().splitlines() or [""]
    return InputError(
        f"recipe.teacher.hub {hub} at {revision}: cannot be had ({type(error).__name__}: "
        f"{reason[0][:200]}); see whether the name is right and the hub can be reached from here, "
        f"or run `hf download {hub} --local-dir FOLDER` where it can, and give the folder as path"
    )
