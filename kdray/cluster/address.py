"""What the configuration and the environment say about Ray; Ray itself is not imported for it.

The address of a cluster is given by `execution.address` or by RAY_ADDRESS, which Ray also sets
inside a submitted job. The variables of the environment that decide about Ray are read in this
file, and in no other.
"""

import os

from kdray.config.execution import Execution


def cluster_address(execution: Execution) -> str | None:
    """The address of the Ray cluster that a command works on.

    It is None for a local session, which the command starts and ends.
    """
    address = execution.address or os.environ.get("RAY_ADDRESS")
    return None if address == "local" else address or None


def named_by(execution: Execution) -> str:
    """What gives the address: a field of the configuration, or a variable of the environment."""
    return "execution.address" if execution.address else "RAY_ADDRESS"


def uses_ray_internals() -> bool:
    """Whether `ray_internals` may start fewer processes than Ray would.

    KDRAY_RAY_INTERNALS=0 forbids it, for a version of Ray that works only when it is left as it
    is. Results are the same either way; a training run starts and ends some seconds later.
    """
    return os.environ.get("KDRAY_RAY_INTERNALS") != "0"
