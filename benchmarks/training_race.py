"""A race: systems that make the same updates in turns, and which form of a peer may join it."""

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
    """Seconds of each system for the last updates of the setting, `count` of them."""
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
    """The form of a peer that may race: each in turn challenges the fastest of those before it.

    Two at a time share what disturbs the machine, and all at once would fill its memory.
    """
    trial = replace(setting, updates=sum(TRIAL))

    def faster(one: System, other: System) -> System:
        times = race((one, other), trial, count=TRIAL[1])
        return min(times, key=lambda form: float(np.median(times[form])))

    return reduce(faster, forms)
