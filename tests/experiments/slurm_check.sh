#!/usr/bin/env bash
# An emitted job array under a real Slurm of one node on this machine: four cells, one of them stopped and queued
# again by hand, must end with the digests of the same sweep without Slurm. Minutes long (Slurm holds a requeued job
# back for about two); root; slurmctld, slurmd, munged (apt-get install slurm-wlm munge). Exit 77: not possible here.
#   slurm_check.sh MOTLEY
set -euo pipefail
motley=$(readlink -f "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for tool in munged slurmctld slurmd sbatch; do
  command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done
((EUID == 0)) || { echo "needs root"; exit 77; }

work=$(mktemp -d)
pids=()
finish() {
  local code=$?
  if ((code != 0 && code != 77)); then
    tail -n 15 "$work"/slurmctld.log "$work"/slurmd.log "$work"/runs/array/slurm-*.log 2>/dev/null || true
  fi
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if [[ -f $work/munge.pid ]]; then kill "$(<"$work/munge.pid")" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT

# Slurm of one node with its own key, socket, ports and state.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive  # sbatch passes them on
mkdir -p "$work"/{state,spool}
chmod 755 "$work"
dd if=/dev/urandom of="$work/munge.key" bs=128 count=1 status=none
chmod 400 "$work/munge.key"
munged --force --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munge.pid" \
  --log-file="$work/munge.log" --seed-file="$work/munge.seed"
host=$(hostname -s)
cat >"$work/slurm.conf" <<CONF
ClusterName=check
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$work/munge.socket
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2
MpiDefault=none
ReturnToService=2
MinJobAge=600
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=short Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$work/slurm.conf
slurmctld -D -f "$work/slurm.conf" >/dev/null 2>&1 &
pids+=($!)
slurmd -D -f "$work/slurm.conf" >/dev/null 2>&1 &
pids+=($!)
for _ in $(seq 60); do
  if sinfo -h -o %T 2>/dev/null | grep -qE "idle|mixed"; then break; fi
  sleep 1
done
sinfo -h -o %T | grep -qE "idle|mixed" || { echo "Slurm does not start"; tail -n 5 "$work"/slurm*.log; exit 77; }

cd "$work"
/usr/bin/python3 -c "import sys; sys.path.insert(0, '$here'); import reproduce; print(reproduce.TINY)" >tiny.ini
cat >sweep.ini <<INI
[sweep]
name = array
base = tiny.ini
seeds = 1:3
[arm.grpo]
run.method = grpo
[arm.darling]
run.method = darling
INI
"$motley" sweep run sweep.ini run.steps=1000 checkpoint.every_steps=100 -o alone --quiet
"$motley" sweep emit --slurm sweep.ini run.steps=1000 checkpoint.every_steps=100 -o runs --time 00:05:00 --partition short --at-once 2 >job.sh
job=$(sbatch --parsable job.sh)
echo "array $job"

# The first task gets TERM as before a time limit: it must stop, queue itself again, and go on.
mapfile -t folders < <("$motley" sweep list sweep.ini run.steps=1000 checkpoint.every_steps=100 -o runs --json | grep -oE '"folder": "[^"]+"' | cut -d'"' -f4)
for _ in $(seq 600); do
  if [[ -f ${folders[0]}/run.h5 && $(squeue -h -j "${job}_0" -o %T) == RUNNING ]]; then break; fi
  sleep 0.2
done
# scancel goes on trying where the task is faster than its answer: what counts is the log.
scancel --signal=TERM --batch "${job}_0" 2>/dev/null &
echo "TERM sent to ${job}_0"
requeued=
for _ in $(seq 600); do
  if grep -q "queued again" runs/array/slurm-0.log 2>/dev/null; then requeued=1; fi
  done_cells=$("$motley" sweep status sweep.ini run.steps=1000 checkpoint.every_steps=100 -o runs --json | grep -oE '"done":[0-9]+' | cut -d: -f2)
  if ((done_cells == 4)) && [[ -z $(squeue -h -j "$job" 2>/dev/null) ]]; then break; fi
  sleep 1
done
[[ -n $requeued ]] || { echo "the stopped task did not queue itself again"; cat runs/array/slurm-*.log; exit 1; }
restarts=$(scontrol show job "${job}_0" | grep -oE "Restarts=[0-9]+" | head -n 1)
for folder in "${folders[@]}"; do
  name=$(basename "$folder")
  with=$("$motley" digest "$folder")
  without=$("$motley" digest "alone/array/$name")
  [[ $with == "$without" ]] || { echo "$name: digest $with under Slurm, $without without"; exit 1; }
done
echo "4 of 4 digests equal, one task stopped and queued again ($restarts)"
