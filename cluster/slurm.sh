#!/usr/bin/env bash
# A command of kdray as a SLURM job, on a Ray cluster of its own:
#   sbatch cluster/slurm.sh study tune_configs/demo.yaml --set execution.storage=$SCRATCH/kdray
# Submit it in the top folder of the repository, whose .venv every node has to see; KDRAY_VENV names
# another. Before its time is up, the job stops the command and queues itself again: what is finished
# is kept, and trainings go on from their checkpoints.
#SBATCH --job-name=kdray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=kdray-%j.log
set -euo pipefail

if (($# < 2)); then
  echo "usage: sbatch cluster/slurm.sh VERB CONFIG [OPTION...], as in: study demo.yaml" >&2
  exit 2
fi
export PATH="${KDRAY_VENV:-$PWD/.venv}/bin:$PATH"

# Others on these machines could run code as you if they could join: a token keeps them out.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN_PATH=$(mktemp "$HOME/.kdray-token-XXXXXX") # mktemp lets nobody else read it
export RAY_AUTH_TOKEN_PATH
driver=
# shellcheck disable=SC2329 # the trap calls it
leave() {
  rm -f "$RAY_AUTH_TOKEN_PATH"
  local each
  for each in $(jobs -p); do kill "$each" 2>/dev/null || true; done
}
trap leave EXIT
python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH"

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_ip=$(python -c 'import ray; print(ray.util.get_node_ip_address())') # this is the first node
port=$((20000 + SLURM_JOB_ID % 20000))

on_each=(--ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK")
start=(ray start --block --disable-usage-stats --num-cpus="$SLURM_CPUS_PER_TASK")
srun --nodes=1 --nodelist="${nodes[0]}" "${on_each[@]}" \
  "${start[@]}" --head --node-ip-address="$head_ip" --port="$port" --dashboard-host=127.0.0.1 &
if ((${#nodes[@]} > 1)); then
  srun --nodes=$((${#nodes[@]} - 1)) --exclude="${nodes[0]}" "${on_each[@]}" \
    "${start[@]}" --address="$head_ip:$port" &
fi
export RAY_ADDRESS="$head_ip:$port" # of the cluster that the command joins

# How wide students train depends on the cluster, so that all of it has to be there first.
if ! timeout 900 python - "${#nodes[@]}" <<'PYTHON'; then
import sys
import time

import ray

ray.init(log_to_driver=False, logging_level="ERROR")
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    time.sleep(1)
PYTHON
  echo "of ${#nodes[@]} nodes some have not joined Ray at $RAY_ADDRESS within 15 minutes" >&2
  exit 1
fi

stopped=no
trap 'stopped=yes; kill -TERM "$driver" 2>/dev/null || true' TERM
python -m "kdray.$1" "${@:2}" &
driver=$!
code=0
wait "$driver" || code=$?
if [[ $stopped == yes ]]; then # the signal ended the wait: the command is still closing its runs
  code=0
  wait "$driver" || code=$?
  if ((code != 0)); then scontrol requeue "$SLURM_JOB_ID"; fi
fi
exit "$code"
