"""Configuration: what is computed (`Recipe`) and where and how wide (`Execution`).

Nothing here imports torch, ray or mlflow.
"""

from kdray.config.distribution_methods import (
    AnnealingConfig,
    DivergenceConfig,
    DivergenceName,
    TaidConfig,
    TokenLevelConfig,
)
from kdray.config.execution import (
    Execution,
    TrackingConfig,
)
from kdray.config.experiment import (
    Experiment,
)
from kdray.config.gates import (
    BilevelConfig,
    CentredConfig,
    ConfidenceGateConfig,
    EntropyGateConfig,
    FixedGateConfig,
    GateConfig,
    LearnedGateConfig,
    NoStabiliserConfig,
    PriorConfig,
    ScalarGateConfig,
    ScheduleGateConfig,
    SentenceGateConfig,
    StabiliserConfig,
    TokenGateConfig,
)
from kdray.config.initial import (
    InitialConfig,
    LayersInitialConfig,
    PruneInitialConfig,
    RandomInitialConfig,
    SizeConfig,
    TeacherLayers,
)
from kdray.config.load import (
    load_experiment,
)
from kdray.config.methods import (
    BranchConfig,
    MethodConfig,
    SingleMethodConfig,
    StageConfig,
    StagesConfig,
    single_methods,
)
from kdray.config.mixed_methods import (
    HardGateConfig,
    HybridConfig,
    SelectiveConfig,
)
from kdray.config.model import (
    ModelConfig,
)
from kdray.config.online_methods import (
    FeatureConfig,
    ImitationConfig,
    OnPolicyConfig,
    TieConfig,
)
from kdray.config.recipe import (
    EvaluationConfig,
    Recipe,
    StudentsConfig,
)
from kdray.config.search import (
    SearchConfig,
)
from kdray.config.sequence_methods import (
    CrossEntropyConfig,
    InterpolationConfig,
    MultiHypothesisConfig,
    SentenceLevelConfig,
)
from kdray.config.signals import (
    HiddenConfig,
    HypothesesConfig,
    Needs,
    SampledConfig,
    SignalsConfig,
    TopKConfig,
)
from kdray.config.teacher import (
    BroughtTeacherConfig,
    EnsembleTeacherConfig,
    TeacherConfig,
    TrainedTeacherConfig,
    members,
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
    AveragingConfig,
    ConstantCooldownConfig,
    CosineConfig,
    EarlyStoppingConfig,
    EmaConfig,
    InverseSqrtConfig,
    LastAveragingConfig,
    NoAveragingConfig,
    Precision,
    ScheduleConfig,
    SwaConfig,
    TrainingConfig,
)

__all__ = [
    "AnnealingConfig",
    "AveragingConfig",
    "BilevelConfig",
    "BranchConfig",
    "BroughtTeacherConfig",
    "CentredConfig",
    "CleaningConfig",
    "ConfidenceGateConfig",
    "ConstantCooldownConfig",
    "CorpusConfig",
    "CosineConfig",
    "CrossEntropyConfig",
    "DivergenceConfig",
    "DivergenceName",
    "EarlyStoppingConfig",
    "EmaConfig",
    "EnsembleTeacherConfig",
    "EntropyGateConfig",
    "EvaluationConfig",
    "Execution",
    "Experiment",
    "FeatureConfig",
    "FilesCorpusConfig",
    "FixedGateConfig",
    "GateConfig",
    "GeneratedCorpusConfig",
    "GrammarConfig",
    "HardGateConfig",
    "HiddenConfig",
    "HybridConfig",
    "HypothesesConfig",
    "ImitationConfig",
    "InitialConfig",
    "InterpolationConfig",
    "InverseSqrtConfig",
    "JsonlPairs",
    "LastAveragingConfig",
    "LayersInitialConfig",
    "LearnedGateConfig",
    "MethodConfig",
    "ModelConfig",
    "MultiHypothesisConfig",
    "Needs",
    "NoAveragingConfig",
    "NoStabiliserConfig",
    "OnPolicyConfig",
    "PairSource",
    "ParquetPairs",
    "Precision",
    "PriorConfig",
    "PruneInitialConfig",
    "RandomInitialConfig",
    "Recipe",
    "SampledConfig",
    "ScalarGateConfig",
    "ScheduleConfig",
    "ScheduleGateConfig",
    "SearchConfig",
    "SelectiveConfig",
    "SentenceGateConfig",
    "SentenceLevelConfig",
    "SignalsConfig",
    "SingleMethodConfig",
    "SizeConfig",
    "StabiliserConfig",
    "StageConfig",
    "StagesConfig",
    "StudentsConfig",
    "SwaConfig",
    "TaidConfig",
    "TeacherConfig",
    "TeacherLayers",
    "TextPairs",
    "TieConfig",
    "TokenGateConfig",
    "TokenLevelConfig",
    "TokenizerConfig",
    "TopKConfig",
    "TrackingConfig",
    "TrainedTeacherConfig",
    "TrainingConfig",
    "TsvPairs",
    "load_experiment",
    "members",
    "single_methods",
]
