"""Reading run files (``run.h5``; the format is described in docs/schema.md).

Everything here also reads a file that is still being written, or whose writer was killed: such a file needs
``swmr=True``, which :func:`open_run` finds out by itself, and only the rows that are committed are returned.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import time
from typing import Any, Iterable, Iterator, Mapping, Sequence, Union

import h5py
import numpy as np
import pandas as pd

PathLike = Union[str, "os.PathLike[str]"]
STATUS = ("running", "complete", "interrupted", "failed")


def find_runs(where: PathLike | Iterable[PathLike]) -> list[str]:
    """Run files named by a file, a run's folder, a sweep's folder, a glob pattern, or a list of these; sorted."""
    words = [where] if isinstance(where, (str, os.PathLike)) else list(where)
    files: list[str] = []
    for word in [os.fspath(w) for w in words]:
        for path in map(pathlib.Path, sorted(glob.glob(word, recursive=True)) or [word]):
            if path.is_dir():
                own = path / "run.h5"
                files += [str(own)] if own.exists() else [str(p) for p in path.glob("*/run.h5")]
            elif path.exists():
                files.append(str(path))
    if not files:
        raise FileNotFoundError(f"{', '.join(os.fspath(w) for w in words)}: no run.h5 in there")
    return sorted(set(files))


def run_file(run: PathLike) -> str:
    """The one run file of a folder or path."""
    files = find_runs(run)
    if len(files) != 1:
        raise ValueError(f"{os.fspath(run)}: {len(files)} runs in there, expected one")
    return files[0]


@contextlib.contextmanager
def open_run(run: PathLike) -> Iterator[h5py.File]:
    """The open file of one run; a live or killed one is opened with ``swmr=True``."""
    path = run_file(run)
    try:
        file = h5py.File(path, "r")
    except OSError:  # the writer still has it, or died: "file is already open for write / may use h5clear"
        file = h5py.File(path, "r", libver="latest", swmr=True)
    with file:
        yield file


def committed(file: h5py.File) -> int:
    """Steps whose rows are complete in all groups."""
    return int(file["committed"][()])


def status(run: PathLike) -> str:
    """One of ``running``, ``complete``, ``interrupted``, ``failed``. A killed run still says ``running``."""
    with open_run(run) as file:
        return STATUS[int(file["status"][()])]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


def config(run: PathLike, text: bool = False) -> dict[str, Any] | str:
    """Every option of a run by its dotted name; with ``text``, the configuration file that reproduces it."""
    with open_run(run) as file:
        attrs = {key: _plain(value) for key, value in file["config"].attrs.items()}
    ini = attrs.pop("ini")
    for name in ("kind", "kind_version"):
        attrs.pop(name, None)
    return str(ini) if text else attrs


def provenance(run: PathLike) -> dict[str, Any]:
    """What made the file: program, compiler, machine, and the figures of the base policy it started from."""
    with open_run(run) as file:
        return {key: _plain(value) for key, value in file["provenance"].attrs.items()}


def short_config(run: PathLike) -> dict[str, Any]:
    """Options that say what the run is about: arm, seed, task, and what shapes the reward and the update."""
    all_options = config(run)
    assert isinstance(all_options, dict)
    wanted = ("run.name", "run.method", "run.seed", "run.steps", "task.name", "task.rare_prior", "task.skew", "rollout.prompts",
              "rollout.group_size", "partition.method", "diversity.shaping", "advantage.estimator", "advantage.norm", "loss.policy",
              "loss.clip_ratio_low", "loss.clip_ratio_high", "loss.minibatches", "kl.coef", "entropy.coef", "optim.lr")  # fmt: skip
    return {key: all_options[key] for key in wanted if key in all_options}


def _tagged(frame: pd.DataFrame, path: str, attrs: Mapping[str, Any], keys: Sequence[str]) -> pd.DataFrame:
    """Prepends arm, seed and the options named; `arm` is run.name, as in `motley compare`."""
    columns: dict[str, Any] = {"arm": attrs["run.name"], "seed": attrs["run.seed"]}
    columns.update({key: attrs[key] for key in keys})
    columns["file"] = path
    for at, (name, value) in enumerate(columns.items()):
        frame.insert(at, name, value)
    return frame


def _keys(configs: Sequence[Mapping[str, Any]], keys: Sequence[str] | None) -> list[str]:
    """The options asked for, or those that differ between the runs."""
    if keys is not None:
        return [key for key in keys if key not in ("run.name", "run.seed")]
    names = sorted(set().union(*configs))
    differ = [name for name in names if len({repr(c.get(name)) for c in configs}) > 1]
    return [name for name in differ if name not in ("run.name", "run.seed")]


def _configs(files: Sequence[str]) -> list[dict[str, Any]]:
    found = [config(path) for path in files]
    return [c for c in found if isinstance(c, dict)]


def load(where: PathLike | Iterable[PathLike], keys: Sequence[str] | None = None) -> pd.DataFrame:
    """Tidy frame of training: one row per run and step.

    Columns: ``arm`` (run.name), ``seed``, the options in which the runs differ (or ``keys``), ``file``, ``step`` and
    everything in /metrics (docs/metrics.md). Only committed steps.
    """
    files = find_runs(where)
    configs = _configs(files)
    chosen = _keys(configs, keys)
    frames = []
    for path, attrs in zip(files, configs):
        with open_run(path) as file:
            rows = committed(file)
            frame = pd.DataFrame({name: column[:rows] for name, column in file["metrics"].items()})
        frames.append(_tagged(frame, path, {**dict.fromkeys(chosen), **attrs}, chosen))
    return pd.concat(frames, ignore_index=True)


def load_eval(where: PathLike | Iterable[PathLike], keys: Sequence[str] | None = None, last: bool = False) -> pd.DataFrame:
    """Tidy frame of the evaluations on held-out prompts: one row per run and evaluation (``last``: the final one only).

    ``pass_at_k`` and its like become ``pass_at_1``, ``pass_at_8`` ...; what is per prompt is averaged over the prompts, as
    ``motley compare`` does (a sum in order, in double precision).
    """
    files = find_runs(where)
    configs = _configs(files)
    chosen = _keys(configs, keys)
    frames = []
    for path, attrs in zip(files, configs):
        with open_run(path) as file:
            group = file["eval"]
            step = group["step"][:]
            rows = len(step) if file["status"][()] == 1 else int(np.sum(step <= committed(file)))
            columns: dict[str, Any] = {"step": step[:rows]}
            ks = group["k"][:]
            for name, column in group.items():
                if name.endswith("_at_k"):
                    for at, k in enumerate(ks):
                        columns[f"{name[:-1]}{k}"] = column[:rows, at]
                elif column.ndim == 2 and column.shape[1] == group["eval_prompt"].shape[0]:
                    values = column[:rows].astype(np.float64)
                    columns[name] = np.add.accumulate(values, axis=1)[:, -1] / values.shape[1]
            frame = pd.DataFrame(columns)
        frame = frame.iloc[-1:] if last else frame
        frames.append(_tagged(frame.copy(), path, {**dict.fromkeys(chosen), **attrs}, chosen))
    return pd.concat(frames, ignore_index=True)


def eval_counts(run: PathLike, evaluation: int = -1) -> dict[str, np.ndarray]:
    """Counts of one evaluation per held-out prompt: ``n`` samples, ``c`` correct, ``distinct``, ``distinct_correct``; each [Q]."""
    with open_run(run) as file:
        group = file["eval"]
        names = {"n": "num_samples", "c": "num_correct", "distinct": "num_distinct", "distinct_correct": "num_distinct_correct"}
        return {short: group[name][evaluation] for short, name in names.items()}


# --- rollouts ------------------------------------------------------------------------------------------------------


def text(run: PathLike, tokens: np.ndarray | Sequence[Any]) -> Any:
    """Token ids as text, without padding and end token. tokens [T] -> str; [..., T] -> object array [...]."""
    with open_run(run) as file:
        return _detokenise(file, np.asarray(tokens))


def _detokenise(file: h5py.File, tokens: np.ndarray) -> Any:
    words = np.array([t.decode() if isinstance(t, bytes) else t for t in file["vocab/token"][:]], dtype=object)
    special = file["vocab/special"][:].astype(bool)

    def one(row: np.ndarray) -> str:
        return " ".join(words[t] for t in row if not special[t])

    if tokens.ndim == 1:
        return one(tokens)
    flat = [one(row) for row in tokens.reshape(-1, tokens.shape[-1])]
    return np.array(flat, dtype=object).reshape(tokens.shape[:-1])


def class_name(class_id: int, run: PathLike | Mapping[str, Any]) -> str:
    """Name of a semantic class of the task ``scratchpad`` (family and answer); ``class N`` for other tasks."""
    attrs = run if isinstance(run, Mapping) else config(run)
    assert isinstance(attrs, Mapping)
    if class_id < 0:
        return "unknown"
    if attrs.get("task.name") != "scratchpad":
        return f"class {class_id}"
    families, modulus = ("direct", "forward", "backward", "pairs"), int(attrs["task.modulus"])
    family = int(class_id) // modulus
    return "invalid" if family >= len(families) else f"{families[family]} {int(class_id) % modulus}"


def rollouts(run: PathLike, step: int | None = None, prompt: int | None = None, prompt_id: int | None = None) -> pd.DataFrame:
    """One row per completion: step, prompt (place in the batch), prompt_id, rollout, text, length, finish, quality, diversity,
    reward, advantage, used, class_id, class_name, cluster, cluster_size.

    ``step``, ``prompt`` or ``prompt_id`` (of the task's table) restrict the rows; nothing else is read from disk.
    """
    with open_run(run) as file:
        group, rows = file["rollouts"], committed(file)
        if step is not None and not 0 <= step < rows:
            raise IndexError(f"step {step}: the run has steps 0 to {rows - 1}")
        steps = slice(0, rows) if step is None else slice(step, step + 1)
        ids = group["prompt_id"][steps]
        keep = np.ones(ids.shape, bool)
        if prompt is not None:
            keep &= np.arange(ids.shape[1])[None] == prompt
        if prompt_id is not None:
            keep &= ids == prompt_id
        numbers = group["step"][steps]
        at_step, at_prompt = np.nonzero(keep)
        size = group["quality"].shape[2]
        frame = pd.DataFrame({
            "step": np.repeat(numbers[at_step], size),
            "prompt": np.repeat(at_prompt, size),
            "prompt_id": np.repeat(ids[keep], size),
            "rollout": np.tile(np.arange(size), len(at_step)),
        })  # fmt: skip
        tokens = group["token"][steps][keep]
        frame["text"] = _detokenise(file, tokens).reshape(-1) if len(tokens) else []
        for name in ("length", "finish", "quality", "diversity", "reward", "advantage", "used", "class_id"):
            frame[name] = group[name][steps][keep].reshape(-1)
        finishes = _plain(group["finish"].attrs["flag_meanings"]).split()
        frame["finish"] = [finishes[i] for i in frame["finish"]]
        for name in ("cluster", "cluster_size"):
            frame[name] = file["partition"][name][steps][keep].reshape(-1)
        attrs = dict(file["config"].attrs)
    names = {c: class_name(int(c), attrs) for c in frame["class_id"].unique()}
    frame["class_name"] = frame["class_id"].map(names)
    return frame


def clusters(run: PathLike, step: int | None = None) -> pd.DataFrame:
    """One row per group: step, prompt, prompt_id, num_clusters, num_classes (of the task's truth), largest (share of the largest
    cluster), distinct_correct (true classes among the completions with quality above 0)."""
    with open_run(run) as file:
        rows = committed(file)
        steps = slice(0, rows) if step is None else slice(step, step + 1)
        label, truth = file["partition/cluster"][steps], file["rollouts/class_id"][steps]
        quality, ids = file["rollouts/quality"][steps], file["rollouts/prompt_id"][steps]
        size, numbers = file["partition/cluster_size"][steps], file["rollouts/step"][steps]
        count = file["partition/num_clusters"][steps]
    shape = ids.shape
    return pd.DataFrame({
        "step": np.repeat(numbers, shape[1]),
        "prompt": np.tile(np.arange(shape[1]), shape[0]),
        "prompt_id": ids.reshape(-1),
        "num_clusters": count.reshape(-1),
        "num_classes": [len(np.unique(t)) for t in truth.reshape(-1, truth.shape[-1])],
        "largest": size.max(axis=-1).reshape(-1) / label.shape[-1],
        "distinct_correct": [len(np.unique(t[q > 0])) for t, q in zip(truth.reshape(-1, truth.shape[-1]), quality.reshape(-1, truth.shape[-1]))],
    })  # fmt: skip


def prompts(run: PathLike) -> pd.DataFrame:
    """The task's table of prompts: prompt_id, text, split (train, eval), n_classes (-1 unknown), difficulty."""
    with open_run(run) as file:
        group = file["prompts"]
        split = _plain(group["split"].attrs["flag_meanings"]).split()
        return pd.DataFrame({
            "prompt_id": group["prompt_id"][:],
            "text": [_plain(t) for t in group["text"][:]],
            "split": [split[i] for i in group["split"][:]],
            "n_classes": group["n_classes"][:],
            "difficulty": group["difficulty"][:],
        })  # fmt: skip


# --- live ----------------------------------------------------------------------------------------------------------


def follow(run: PathLike, columns: Sequence[str] = ("reward", "entropy"), poll: float = 0.5, idle: float | None = None) -> Iterator[pd.DataFrame]:
    """Yields the new rows of /metrics each time the run has committed some, until it ends.

    Works on a running, finished or killed file. A killed run keeps the status ``running``: ``idle`` is the time in seconds
    without a new step after which the reading gives up (None: never).
    """
    path = run_file(run)
    with h5py.File(path, "r", libver="latest", swmr=True) as file:
        metrics, done, last = file["metrics"], 0, time.monotonic()
        while True:
            file["status"].refresh()
            ended = int(file["status"][()]) != 0  # read before the count: rows of the end are not missed
            file["committed"].refresh()
            rows = committed(file)
            if rows > done:
                names = ["step", *columns]
                for name in names:
                    metrics[name].refresh()  # Dataset.refresh(): the low-level id.refresh() would keep the old shape
                yield pd.DataFrame({name: metrics[name][done:rows] for name in names})
                done, last = rows, time.monotonic()
            elif ended or (idle is not None and time.monotonic() - last > idle):
                return
            else:
                time.sleep(poll)

