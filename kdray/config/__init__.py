"""Configuration: what is computed (`Recipe`) and where and how wide (`Execution`).

Nothing here imports torch, ray or mlflow.
"""

from kdray.config.execution import Execution, TrackingConfig
from kdray.config.experiment import Experiment
from kdray.config.load import load_experiment
from kdray.config.methods import (
    CrossEntropyConfig,
    FixedGateConfig,
    GateConfig,
    HybridConfig,
    MethodConfig,
    SentenceGateConfig,
    SentenceLevelConfig,
    TokenLevelConfig,
)
from kdray.config.model import ModelConfig
from kdray.config.recipe import EvaluationConfig, Recipe, StudentsConfig
from kdray.config.search import SearchConfig
from kdray.config.teacher import (
    BroughtTeacherConfig,
    DistributionsConfig,
    HypothesesConfig,
    SignalsConfig,
    TeacherConfig,
    TrainedTeacherConfig,
)
from kdray.config.text import (
    CleaningConfig,
    CorpusConfig,
    FilesCorpusConfig,
    GeneratedCorpusConfig,
    GrammarConfig,
    JsonlPairs,
    PairSource,
    ParquetPairs,
    TextPairs,
    TokenizerConfig,
    TsvPairs,
)
from kdray.config.training import (
    ConstantCooldownConfig,
    CosineConfig,
    InverseSqrtConfig,
    ScheduleConfig,
    TrainingConfig,
)

__all__ = [
    "BroughtTeacherConfig",
    "CleaningConfig",
    "ConstantCooldownConfig",
    "CorpusConfig",
    "CosineConfig",
    "CrossEntropyConfig",
    "DistributionsConfig",
    "EvaluationConfig",
    "Execution",
    "Experiment",
    "FilesCorpusConfig",
    "FixedGateConfig",
    "GateConfig",
    "GeneratedCorpusConfig",
    "GrammarConfig",
    "HybridConfig",
    "HypothesesConfig",
    "InverseSqrtConfig",
    "JsonlPairs",
    "MethodConfig",
    "ModelConfig",
    "PairSource",
    "ParquetPairs",
    "Recipe",
    "ScheduleConfig",
    "SearchConfig",
    "SentenceGateConfig",
    "SentenceLevelConfig",
    "SignalsConfig",
    "StudentsConfig",
    "TeacherConfig",
    "TextPairs",
    "TokenLevelConfig",
    "TokenizerConfig",
    "TrackingConfig",
    "TrainedTeacherConfig",
    "TrainingConfig",
    "TsvPairs",
    "load_experiment",
]
