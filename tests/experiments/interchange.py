#!/usr/bin/env python3
"""Exports and imports, read by programs that know nothing of motley.

usage: interchange.py MOTLEY CASE      CASE: tables | events | live | folder | recorded | round_trip | training | refusals
Needs h5py and numpy.
"""

import base64
import csv
import json
import math
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

import formats
import llama
import refusals as refusing
import reproduce
from reproduce import expect, run

ENTROPY = "entropy.coef=0.1"  # the tiny policy earns no reward: something to learn from
REFERENCE = pathlib.Path(__file__).parent / "reference" / "llama.json"


def train(work, name, *words):
    run("train", "-q", "-c", "tiny.ini", *words, "-o", name, cwd=work)


def export(work, what, to, out, *words):
    return json.loads(run("export", what, "--to", to, "-o", out, "--json", *words, cwd=work).stdout)


def same_float(got, want):
    """`got` is the very f32 number `want`, or both are missing."""
    return (got is None and math.isnan(want)) or (got is not None and np.float32(got) == np.float32(want))


def read_csv(path):
    raw = path.read_bytes()
    expect(raw.count(b"\n") == raw.count(b"\r\n"), f"{path.name}: a line does not end with CRLF")
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f, strict=True))
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def strict(text):
    def refuse(word):
        raise SystemExit(f"FAILED: {word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def tables(work):
    """Every number of every table is the file's own, in three formats."""
    train(work, "r", "log.diagnostics=every:5", "log.log_prob=f32")
    results = {to: export(work, "r", to, to) for to in ("csv", "jsonl", "parquet")}
    expect(results["csv"]["rows"] == results["jsonl"]["rows"] == results["parquet"]["rows"], "rows differ between formats")
    f = h5py.File(work / "r" / "run.h5")
    names = {"metrics", "timing", "diagnostics", "eval", "eval_prompts", "rollouts", "prompts", "columns"}
    expect(set(results["csv"]["rows"]) == names, f"tables are {sorted(results['csv']['rows'])}")
    for name in names:
        columns, metadata, _ = formats.read_parquet(work / "parquet" / f"{name}.parquet")
        text = read_csv(work / "csv" / f"{name}.csv")
        lines = [strict(line) for line in (work / "jsonl" / f"{name}.jsonl").read_text().splitlines()]
        expect(list(columns) == list(text) == list(lines[0]), f"{name}: the columns differ between formats")
        expect(len(lines) == len(next(iter(columns.values()))) == results["csv"]["rows"][name], f"{name}: another number of rows")
        for column, values in columns.items():
            expect("unit." + column in metadata, f"{name}.{column} has no unit")
            for value, cell, line in zip(values, text[column], lines):
                if isinstance(value, str):
                    expect(cell == value == line[column], f"{name}.{column}: {cell!r}, {value!r}, {line[column]!r}")
                elif isinstance(value, int):
                    expect(int(cell) == value == line[column], f"{name}.{column}: {cell}, {value}, {line[column]}")
                else:
                    expect(same_float(float(cell) if cell else None, value) and same_float(line[column], value), f"{name}.{column}: {cell}, {value}, {line[column]}")
    for group in ("metrics", "timing", "diagnostics"):
        columns, metadata, _ = formats.read_parquet(work / "parquet" / f"{group}.parquet")
        expect(set(columns) == set(f[group]), f"{group}: columns are not the group's")
        for name, values in columns.items():
            expect(np.array_equal(np.array(values), f[group][name][:], equal_nan=True), f"{group}/{name} differs from the file")
            expect(metadata["unit." + name] == f[group][name].attrs["units"], f"{group}/{name}: another unit")
    expect(metadata["motley.ini"] == f["config"].attrs["ini"], "the configuration is not in the metadata")
    check_eval(work, f)
    check_rollouts(work, f)


def check_eval(work, f):
    E, K, Q = (len(f["eval"][name]) for name in ("step", "k", "eval_prompt"))
    by_k, _, _ = formats.read_parquet(work / "parquet" / "eval.parquet")
    by_prompt, _, _ = formats.read_parquet(work / "parquet" / "eval_prompts.parquet")
    expect(by_k["step"] == [int(s) for s in f["eval/step"] for _ in range(K)] and by_k["k"] == [int(k) for k in f["eval/k"]] * E, "eval: another order")
    expect(by_prompt["eval_prompt"] == list(range(Q)) * E, "eval_prompts: another order")
    for name, dataset in f["eval"].items():
        if dataset.ndim == 2:
            table = by_k if name.endswith("_at_k") else by_prompt
            expect(np.array_equal(np.array(table[name]), dataset[:].ravel(), equal_nan=True), f"eval/{name} differs from the file")


def check_rollouts(work, f):
    table, _, _ = formats.read_parquet(work / "parquet" / "rollouts.parquet")
    S, B, G, T = f["rollouts/token"].shape
    vocab = [t.decode() for t in f["vocab/token"][:]]
    special = f["vocab/special"][:]
    prompts = [t.decode() for t in f["prompts/text"][:]]
    finish = f["rollouts/finish"].attrs["flag_meanings"].split()
    expect(len(table["step"]) == S * B * G, "rollouts: another number of rows")
    for name in ("quality", "diversity", "reward", "advantage", "class_id", "length", "used"):
        expect(np.array_equal(np.array(table[name]), f["rollouts"][name][:].ravel()), f"rollouts/{name} differs")
    for name in ("cluster", "cluster_size"):
        expect(np.array_equal(np.array(table[name]), f["partition"][name][:].ravel()), f"partition/{name} differs")
    i = 0
    classes = {}
    for s in range(S):
        token, log_prob, length = f["rollouts/token"][s], f["rollouts/log_prob"][s], f["rollouts/length"][s]
        for b in range(B):
            for g in range(G):
                n = length[b, g]
                text = " ".join(vocab[t] for t in token[b, g, :n] if not special[t])
                row = {name: values[i] for name, values in table.items()}
                expect((row["step"], row["prompt"], row["rollout"]) == (f["rollouts/step"][s], b, g), f"row {i} is not ({s}, {b}, {g})")
                expect(row["completion_text"] == text and row["prompt_text"] == prompts[f["rollouts/prompt_id"][s, b]], f"row {i}: another text")
                expect(row["finish"] == finish[f["rollouts/finish"][s, b, g]], f"row {i}: another finish")
                expect(abs(row["log_prob"] - log_prob[b, g, :n].astype(np.float64).sum()) < 1e-9, f"row {i}: another log_prob")
                expect(classes.setdefault(row["class_id"], row["class"]) == row["class"], f"row {i}: a class with two names")
                i += 1
    expect("invalid" in classes.values() and len(set(classes.values())) == len(classes), f"classes are {classes}")


def events(work):
    """Checks and fields by an independent reader; the values are the file's."""
    expect(formats.crc32c(b"123456789") == 0xE3069283, "the reader's own checksum is wrong")
    train(work, "r", "log.diagnostics=every:5")
    result = export(work, "r", "tensorboard", "tb")
    files = list((work / "tb").iterdir())
    expect(len(files) == 1 and "tfevents" in files[0].name, f"the folder holds {files}")
    got, version = formats.read_events(files[0])
    expect(version == "brain.Event:2" and len(got) == result["events"], "another number of events")
    expect(all(a[0] <= b[0] and a[1] <= b[1] for a, b in zip(got, got[1:])), "time or steps run backwards")
    f = h5py.File(work / "r" / "run.h5")
    scalars = {}
    for _, step, values in got:
        for tag, value in values.items():
            expect(scalars.setdefault(tag, {}).setdefault(step, value) == value, f"{tag} twice at {step}")

    def compare(tag, steps, values):
        want = {int(s): np.float32(v) for s, v in zip(steps, values) if np.isfinite(v)}
        expect(scalars.get(tag, {}) == want, f"{tag} differs from the file")

    for group in ("metrics", "timing", "diagnostics"):
        for name, dataset in f[group].items():
            if name == "step":
                continue
            compare(f"{group}/{name}", f[group]["step"], dataset[:])
            for key, prefix in (("alias_trl", "train/"), ("alias_verl", "")):
                if key in dataset.attrs:
                    compare(prefix + dataset.attrs[key], f[group]["step"], dataset[:])
    for name in ("train/reward", "train/completions/mean_length", "critic/rewards/mean", "actor/entropy", "response_length/mean"):
        expect(len(scalars[name]) == 30, f"{name} is not there")
    compare("eval/pass_at_k/4", f["eval/step"], f["eval/pass_at_k"][:, list(f["eval/k"]).index(4)])
    compare("eval/num_correct", f["eval/step"], f["eval/num_correct"][:].mean(1))


def live(work):
    """A run that was killed exports up to `committed`; a finished one does not change by it."""
    random.seed(3)
    process = subprocess.Popen([reproduce.motley, "train", "-q", "-c", "tiny.ini", "run.steps=100000", "checkpoint.every_steps=50", "-o", "k"], cwd=work, env=dict(os.environ, OMP_NUM_THREADS="1"))
    try:
        for _ in range(600):
            time.sleep(0.1)
            done = run("export", "k", "--to", "csv", "-o", "live", "--overwrite", "--json", check=False, cwd=work)
            if done.returncode == 0 and json.loads(done.stdout)["committed"] > 30:
                break
        expect(done.returncode == 0, f"a live run does not export: {done.stderr}")
        result = json.loads(done.stdout)
        expect(result["status"] == "running", f"status is {result['status']}")
        check_committed(work / "live", result["committed"])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for to in ("csv", "jsonl", "parquet", "tensorboard"):
        result = export(work, "k", to, f"killed-{to}")
    check_committed(work / "killed-csv", result["committed"])
    with h5py.File(work / "k" / "run.h5", "r", libver="latest", swmr=True) as f:
        expect(result["committed"] == f["committed"][()], "not up to /committed")


def check_committed(folder, committed):
    metrics, rollouts = read_csv(folder / "metrics.csv"), read_csv(folder / "rollouts.csv")
    expect(metrics["step"] == [str(s) for s in range(committed)], f"metrics are not the {committed} committed steps")
    expect(sorted(set(map(int, rollouts["step"]))) == list(range(committed)), "rollouts are not the committed steps")
    expect(all(int(s) <= committed for s in read_csv(folder / "eval.csv")["step"]), "an evaluation lies beyond")


def asked(work, what, texts, greedy=0):
    words = [w for text in texts for w in ("--check", " ".join(map(str, text)))]
    lines = run("import", what, *words, "--greedy", str(greedy), cwd=work).stdout.splitlines()
    return [strict(line) for line in lines]


def folder(work):
    """The exported files mean to an independent program what they mean to motley."""
    for name, words in {"plain": [], "tied": ["model.tied=on", "model.kv_heads=1", "model.layers=2", "model.rope_theta=500", "model.norm_eps=1e-3"]}.items():
        train(work, name, "run.steps=4", "optim.lr=1e-2", *words)
        export(work, name, "hf", f"{name}-hf")
        out = work / f"{name}-hf"
        config = json.loads((out / "config.json").read_text())
        tensors, metadata = llama.read_safetensors(out / "model.safetensors")
        expect(metadata == {"format": "pt"} and config["architectures"] == ["LlamaForCausalLM"], "not as transformers wants it")
        expect(("lm_head.weight" in tensors) != config["tie_word_embeddings"], "the head and tie_word_embeddings disagree")
        tokenizer = json.loads((out / "tokenizer.json").read_text())
        f = h5py.File(work / name / "run.h5")
        expect(tokenizer["model"]["vocab"] == {t.decode(): i for i, t in enumerate(f["vocab/token"][:])}, "another vocabulary")
        special = {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
        expect(special == {0: "<pad>", 1: "<eos>"} and config["eos_token_id"] == 1 and config["pad_token_id"] == 0, f"special tokens {special}")
        digest = run("digest", name, cwd=work).stdout.strip()
        expect(digest in (out / "README.md").read_text() and "[rollout]" in (out / "README.md").read_text(), "the card names neither run nor configuration")
        rng = np.random.default_rng(1)
        texts = [[int(t) for t in rng.integers(0, config["vocab_size"], n)] for n in (1, 2, 6, 18)]
        for answer in asked(work, f"{name}-hf", texts) + asked(work, name, texts):
            want = llama.logits(out, answer["token"])
            error = np.abs(np.array(answer["logits"]) - want).max()
            expect(error < 1e-5 and np.abs(want).max() > 0.05, f"{name}: logits differ by {error}")
    # The log-probabilities in the run's own log are those of the exported weights: nothing was trained here.
    train(work, "still", "optim.lr=1e-30", "run.steps=2")
    export(work, "still", "hf", "still-hf")
    f = h5py.File(work / "still" / "run.h5")
    for b in range(4):
        n, length = int(f["rollouts/prompt_id"][1, b]), int(f["rollouts/length"][1, b, 0])
        prompt = f["prompts/token"][n, : f["prompts/length"][n]].tolist()
        text = prompt + f["rollouts/token"][1, b, 0, :length].tolist()
        z = llama.logits(work / "still-hf", text)
        lp = z - np.log(np.exp(z).sum(-1, keepdims=True))
        want = [lp[len(prompt) + t - 1, text[len(prompt) + t]] for t in range(length)]
        expect(np.abs(f["rollouts/log_prob"][1, b, 0, :length] - want).max() < 2e-5, "the log holds other log-probabilities")


def unpack(case, out):
    out.mkdir()
    for name, lines in case["files"].items():
        (out / name).write_bytes(base64.b64decode("".join(lines)))


def recorded(work):
    """Logits that transformers computed (reference/make_llama.py), by motley's kernels and by NumPy."""
    for name, case in json.loads(REFERENCE.read_text())["cases"].items():
        unpack(case, work / name)
        answers = asked(work, name, [t["token"] for t in case["texts"]], greedy=8)
        run("import", name, "-o", f"{name}-in", cwd=work)
        again = asked(work, f"{name}-in", [t["token"] for t in case["texts"]], greedy=8)
        expect(answers == again, f"{name}: the imported policy answers otherwise")
        for text, answer in zip(case["texts"], answers):
            want = np.array(text["logits"])
            expect(np.abs(np.array(answer["logits"]) - want).max() < 1e-4, f"{name}: logits differ by {np.abs(np.array(answer['logits']) - want).max()}")
            expect(answer["greedy"] == text["greedy"], f"{name}: greedy {answer['greedy']} instead of {text['greedy']}")
            if "model.safetensors" in case["files"]:
                expect(np.abs(llama.logits(work / name, text["token"]) - want).max() < 1e-4, f"{name}: NumPy's logits differ")


def files_of(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def round_trip(work):
    """export -> import -> export gives the same bytes; so does an export of a checkpoint and of a base."""
    train(work, "r", "run.steps=4", "model.tied=on")
    export(work, "r", "hf", "a")
    run("import", "a", "-o", "in", cwd=work)
    export(work, "in", "hf", "b")
    expect(files_of(work / "a") == files_of(work / "b"), "another folder after import")
    expect(len(files_of(work / "a")) == 6, f"the folder holds {sorted(files_of(work / 'a'))}")
    checkpoint = sorted((work / "r" / "checkpoints").glob("step-*"))[-1]
    export(work, str(checkpoint), "hf", "c")
    expect(files_of(work / "a") == files_of(work / "c"), "the checkpoint exports another folder")
    base = next((work / "runs" / "base").glob("*/step-*"))
    export(work, str(base), "hf", "d")
    expect(files_of(work / "d").keys() == files_of(work / "a").keys(), "a base policy exports other files")
    # A foreign model: half precision becomes f32 once, then nothing changes any more.
    for name, case in json.loads(REFERENCE.read_text())["cases"].items():
        unpack(case, work / name)
        run("import", name, "-o", f"{name}-1", cwd=work)
        export(work, f"{name}-1", "hf", f"{name}-2")
        run("import", f"{name}-2", "-o", f"{name}-3", cwd=work)
        export(work, f"{name}-3", "hf", f"{name}-4")
        expect(files_of(work / f"{name}-2") == files_of(work / f"{name}-4"), f"{name}: another folder after import")
        expect((work / f"{name}-2" / "tokenizer.json").read_bytes() == (work / name / "tokenizer.json").read_bytes(), f"{name}: another tokenizer")


def training(work):
    """A run from an imported policy starts where the policy stands."""
    train(work, "r", "run.steps=4", "optim.lr=1e-2", ENTROPY)
    export(work, "r", "hf", "a")
    run("import", "a", "-o", "in", cwd=work)
    run("train", "-q", "-c", "tiny.ini", "-c", "in/import.ini", "run.steps=3", "optim.lr=1e-30", ENTROPY, "-o", "same", cwd=work)
    export(work, "same", "hf", "b")
    expect((work / "a" / "model.safetensors").read_bytes() == (work / "b" / "model.safetensors").read_bytes(), "the weights are not the imported ones")
    digests = set()
    for i, source in enumerate(("in", "a", "r", str(sorted((work / "r" / "checkpoints").glob("step-*"))[-1]))):
        run("train", "-q", "-c", "tiny.ini", f"pretrain.from={source}", "run.steps=6", ENTROPY, "-o", f"from{i}", cwd=work)
        digests.add(run("digest", f"from{i}", cwd=work).stdout)
    expect(len(digests) == 1, "the same policy from another place gives another run")
    with h5py.File(work / "from0" / "run.h5") as f, h5py.File(work / "same" / "run.h5") as g:
        expect(np.array_equal(f["rollouts/token"][0], g["rollouts/token"][0]), "the first step has other completions")
        expect(not np.array_equal(f["metrics/grad_norm"][:3], g["metrics/grad_norm"][:3]), "nothing was trained")
    # Stopped and resumed; and as cells of a sweep, packed.
    run("train", "-q", "-c", "tiny.ini", "pretrain.from=in", "run.steps=6", ENTROPY, "checkpoint.every_steps=2", "-o", "stopped", "--max-time", "00:00:00", check=False, cwd=work)
    run("train", "-q", "-r", "stopped", cwd=work)
    expect(run("digest", "stopped", cwd=work).stdout in digests, "a resumed run differs")
    (work / "sweep.ini").write_text("[sweep]\nname = s\nbase = tiny.ini\nseeds = 1:3\n[arm.grpo]\nrun.method = grpo\n[arm.darling]\nrun.method = darling\n")
    run("sweep", "run", "sweep.ini", "pretrain.from=in", "run.steps=4", ENTROPY, cwd=work)
    cells = sorted((work / "runs" / "s").glob("*/run.h5"))
    expect(len(cells) == 4, f"{len(cells)} cells")
    reproduce.expect_equal_alone(work, cells[0])
    # A vocabulary in another order, with more words and the mark of a blank: the same run.
    reorder(work / "a", work / "other")
    run("train", "-q", "-c", "tiny.ini", "pretrain.from=other", "run.steps=6", ENTROPY, "-o", "reordered", cwd=work)
    expect(run("digest", "reordered", cwd=work).stdout in digests, "a vocabulary in another order gives another run")


def reorder(source, out):
    shutil.copytree(source, out)
    config = json.loads((source / "config.json").read_text())
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    V = config["vocab_size"]
    order = np.random.default_rng(2).permutation(V + 4)  # old id -> new id; the last four are new words
    words = {w: int(order[i]) for w, i in tokenizer["model"]["vocab"].items()}
    tokenizer["model"] = {"type": "BPE", "merges": [], "vocab": {(w if w.startswith("<") else "\u0120" + w): i for w, i in words.items()}}
    tokenizer["model"]["vocab"].update({f"more{i}": int(order[V + i]) for i in range(4)})
    tokenizer["added_tokens"] = []
    tensors, _ = llama.read_safetensors(source / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        more = np.full((V + 4, tensors[name].shape[1]), 9.0)
        more[order[:V]] = tensors[name]
        tensors[name] = more
    config.update(vocab_size=V + 4, eos_token_id=words["<eos>"], pad_token_id=words["<pad>"])
    (out / "config.json").write_text(json.dumps(config))
    (out / "tokenizer.json").write_text(json.dumps(tokenizer))
    llama.write_safetensors(out / "model.safetensors", tensors)


def refusals(work):
    """Every fault of a folder: one line with file, what, value, allowed; exit 4; nothing written."""
    train(work, "r", "run.steps=2")
    export(work, "r", "hf", "good")
    config = json.loads((work / "good" / "config.json").read_text())
    tensors, _ = llama.read_safetensors(work / "good" / "model.safetensors")
    q = "model.layers.0.self_attn.q_proj.weight"

    def bad(parts, code=refusing.INPUT, words=(), **files):
        folder = work / "bad"
        shutil.copytree(work / "good", folder)
        for name, content in files.items():
            path = folder / {"config": "config.json", "tokenizer": "tokenizer.json", "model": "model.safetensors", "index": "model.safetensors.index.json"}[name]
            if content is None:
                path.unlink()
            elif callable(content):
                content(path)
            else:
                path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        refusing.refused(work, code, parts, "import", "bad", "-o", "out", *words)
        shutil.rmtree(folder)

    for key, value, parts in [
        ("model_type", "gpt2", ['"gpt2"', '"llama"']),
        ("hidden_act", "gelu", ['"gelu"', '"silu"']),
        ("attention_bias", True, ["attention_bias", "allowed: false"]),
        ("mlp_bias", True, ["mlp_bias", "allowed: false"]),
        ("attention_bias", "yes", ["attention_bias", '"yes"']),
        ("rope_scaling", {"type": "linear", "factor": 2.0}, ["rope_scaling", '"linear"', '"default"']),
        ("rope_scaling", {"factor": 2.0}, ["rope_scaling", "allowed: null"]),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4}, ["rope_parameters", '"yarn"']),
        ("rope_parameters", {"rope_type": "default", "rope_theta": -1}, ["rope_theta", "-1"]),
        ("partial_rotary_factor", 0.5, ["partial_rotary_factor", "0.5"]),
        ("quantization_config", {"bits": 4}, ["quantization_config", "allowed: null"]),
        ("head_dim", 32, ["head_dim", "32", "allowed: 8"]),
        ("num_attention_heads", 3, ["num_attention_heads", "must divide hidden_size = 16", "3"]),
        ("num_attention_heads", 16, ["head_dim", "must be even, got 1"]),
        ("num_key_value_heads", 3, ["num_key_value_heads", "3"]),
        ("hidden_size", -4, ["hidden_size", "-4"]),
        ("hidden_size", 10**30, ["hidden_size", "out of range"]),
        ("hidden_size", "16", ["hidden_size", '"16"']),
        ("hidden_size", None, ["hidden_size", "is missing"]),
        ("vocab_size", 11, ["bad/tokenizer.json", "out of range", "vocab_size"]),
        ("num_hidden_layers", 2, ["model.layers.1.input_layernorm.weight", "missing"]),
        ("intermediate_size", 40, ["mlp.gate_proj.weight", "[32, 16]", "[40, 16]"]),
        ("rms_norm_eps", 0, ["rms_norm_eps", "got 0"]),
        ("eos_token_id", 400, ["eos_token_id", "400"]),
        ("tie_word_embeddings", True, ["lm_head.weight", "tie_word_embeddings"]),
    ]:
        changed = dict(config, **{key: value})
        if key == "num_attention_heads" and value == 16:
            changed["num_key_value_heads"], changed["head_dim"] = 16, None
        where = [] if parts and parts[0].startswith("bad/") or any("weight" in p for p in parts) else ["bad/config.json"]
        bad(where + parts, config=changed)
    bad(["bad/config.json", "not a JSON object"], config=b"{")
    bad(["bad/config.json", "not a JSON object"], config=b'{"model_type": "\xff"}')
    bad(["bad/tokenizer.json", "is missing"], tokenizer=None)
    bad(["bad/tokenizer.json", "not a JSON object"], tokenizer=b"[1]")
    bad(["bad/tokenizer.json", "model is missing"], tokenizer={})
    bad(["bad/tokenizer.json", '"Unigram"', "WordLevel, BPE"], tokenizer={"model": {"type": "Unigram", "vocab": []}})
    bad(["bad/tokenizer.json", "vocab"], tokenizer={"model": {"type": "BPE", "vocab": ["a"]}})
    bad(["bad/tokenizer.json", '"a"', "-1"], tokenizer={"model": {"type": "BPE", "vocab": {"a": -1}}})
    bad(["bad/tokenizer.json", "share an id"], tokenizer={"model": {"type": "BPE", "vocab": {"a": 1, "b": 1}}})
    bad(["bad/tokenizer.json", "added_tokens"], tokenizer={"model": {"type": "BPE", "vocab": {}}, "added_tokens": [{"id": 1}]})
    bad(["bad/model.safetensors", "is missing", "model.safetensors.index.json"], model=None)
    bad(["bad/model.safetensors", "not a valid safetensors file"], model=b"12345")
    bad(["index.json", "weight_map"], index={})
    bad(["index.json", "../x"], index={"weight_map": {"a": "../x"}})
    write = lambda changed, dtype="F32": lambda path: llama.write_safetensors(path, changed, dtype)
    without = {k: v for k, v in tensors.items() if k != q}
    bad(["bad/model.safetensors", q, "is missing"], model=write(without))
    bad([q, "is missing", "did you mean"], model=write(dict(without, **{q[:-1]: tensors[q]})))
    bad(["unexpected tensor", "self_attn.q_proj.bias"], model=write(dict(tensors, **{"model.layers.0.self_attn.q_proj.bias": np.zeros(16)})))
    bad([q, "another shape", "[16, 8]", "[16, 16]"], model=write(dict(tensors, **{q: np.zeros((16, 8))})))
    for number in (math.nan, math.inf):
        worse = tensors[q].copy()
        worse[3, 2] = number
        bad([q, "element 50", "not finite", str(number)], model=write(dict(tensors, **{q: worse})))
        bad([q, "element 50", "not finite"], model=write(dict(tensors, **{q: worse}), "F16"))
    bad(["unsupported dtype", "I64"], model=write({k: np.zeros(v.shape) for k, v in tensors.items()}, "I64"))
    fuzz(work)
    refuse_words(work)


def fuzz(work):
    """Cut and changed files: never a crash, always exit 0 or one line with exit 4."""
    rng = random.Random(1)
    shutil.copytree(work / "good", work / "fuzz")
    for trial in range(60):
        name = ("config.json", "tokenizer.json", "model.safetensors")[trial % 3]
        data = bytearray((work / "good" / name).read_bytes())
        if trial % 2:
            data = data[: rng.randrange(len(data))]
        else:
            for _ in range(rng.randrange(1, 8)):
                data[rng.randrange(min(len(data), 2000))] = rng.randrange(256)
        (work / "fuzz" / name).write_bytes(data)
        done = refusing.run("import", "fuzz", cwd=work)
        expect(done.returncode in (0, 4) and len(done.stderr.strip().splitlines()) == (done.returncode == 4), f"{name}, trial {trial}: exit {done.returncode}\n{done.stderr}")
        shutil.copy(work / "good" / name, work / "fuzz" / name)


def refuse_words(work):
    refused, CONFIG, REFUSED, INPUT = refusing.refused, refusing.CONFIG, refusing.REFUSED, refusing.INPUT
    refused(work, CONFIG, ["--to", "is missing", "parquet"], "export", "r")
    refused(work, CONFIG, ["--to", '"parket"', 'did you mean "parquet"'], "export", "r", "--to", "parket")
    refused(work, INPUT, ["nowhere", "no such"], "export", "nowhere", "--to", "hf")
    refused(work, INPUT, ["holds no log"], "export", sorted((work / "r" / "checkpoints").glob("*"))[-1], "--to", "csv")
    refused(work, REFUSED, ["good", "--overwrite"], "export", "r", "--to", "csv", "-o", "good")
    refused(work, REFUSED, ["r", "does not replace"], "export", "r", "--to", "csv", "-o", "r", "--overwrite")
    (work / "file").write_text("")
    refused(work, REFUSED, ["file"], "export", "r", "--to", "csv", "-o", "file")
    run("import", "good", "-o", "in", cwd=work)
    refused(work, REFUSED, ["in", "--overwrite"], "import", "good", "-o", "in")
    refused(work, REFUSED, ["r", "another folder"], "import", "good", "-o", "r", "--overwrite")
    refused(work, CONFIG, ["--check", '"999"', "0 to 11"], "import", "good", "--check", "1 999")
    (work / "empty").mkdir()
    refused(work, INPUT, ["empty", "no policy"], "import", "empty")
    # What a run needs of the policy that it starts from.
    wanted = run("config", "explain", "pretrain.from", "--json", cwd=work).stdout
    expect("import" in wanted, "pretrain.from is not explained")
    for parts, code, words in [
        (["model.width", "must be that of pretrain.from = good", "got 24", "allowed: 16"], CONFIG, ["pretrain.from=good", "model.width=24"]),
        (["pretrain.from", "lacks", "of task.name = countdown"], INPUT, ["pretrain.from=good", "task.name=countdown", "rollout.max_tokens=13"]),
        (["nowhere", "no such"], INPUT, ["pretrain.from=nowhere"]),
    ]:
        done = refusing.run("train", "-q", "-c", "tiny.ini", *words, "-o", "x", cwd=work)
        expect(done.returncode == code and len(done.stderr.strip().splitlines()) == 1 and all(p in done.stderr for p in parts), f"{words}: exit {done.returncode}\n{done.stderr}")


def main():
    reproduce.motley = refusing.motley = str(pathlib.Path(sys.argv[1]).resolve())
    case = {"tables": tables, "events": events, "live": live, "folder": folder, "recorded": recorded, "round_trip": round_trip, "training": training, "refusals": refusals}[sys.argv[2]]
    with tempfile.TemporaryDirectory() as place:
        work = pathlib.Path(place)
        (work / "tiny.ini").write_text(reproduce.TINY)
        case(work)


if __name__ == "__main__":
    main()
