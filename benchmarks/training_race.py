"""A race, in which systems make the same updates in turns, and the choice of a peer's form."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
from training_setting import Setting, System
from training_systems import work
from turns import Racer

TRIAL = (2, 4)  # updates of a trial: warm-up, then timed

Times = dict[System, list[float]]


def race(systems: Sequence[System], setting: Setting, *, count: int) -> Times:
    """Seconds of each system for the last `count` updates of the setting."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        racers: dict[System, Racer] = {}
        for number, system in enumerate(systems):
            own = Path(folder) / str(number)
            own.mkdir()
            arguments = (system, setting, own)
            racers[system] = stack.enter_context(
                Racer(str(system), work, workers=system.workers, arguments=arguments)
            )
        for racer in racers.values():
            racer.ready()
        times: Times = {system: [] for system in racers}
        for _ in range(setting.updates):
            for index in rng.permutation(len(racers)):
                system = systems[index]
                times[system].append(racers[system].take())
    return {system: seconds[-count:] for system, seconds in times.items()}


def fastest(forms: Sequence[System], setting: Setting) -> System:
    """The fastest form of a peer: each form races against the fastest of those before it.

    Two forms in one race are disturbed alike by other processes; all at once would need too much
    memory.
    """
    trial = replace(setting, updates=sum(TRIAL))

    def faster(one: System, other: System) -> System:
        times = race((one, other), trial, count=TRIAL[1])
        return min(times, key=lambda form: float(np.median(times[form])))

    return reduce(faster, forms)
