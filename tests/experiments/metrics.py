#!/usr/bin/env python3
"""Columns of evaluation and diagnostics, worked out again from the logged samples.

usage: metrics.py MOTLEY CASE      CASE: columns | diagnostics | classifier | packed | refusals
Exits 1 with the first difference.
"""

import itertools
import math
import pathlib
import sys
import tempfile

import h5py
import numpy as np

import reproduce
from reproduce import LEARNT, digest, expect, expect_equal_alone, run

LOGGED = ("log.eval_samples=on", "log.diagnostics=every:4")
SWEEP = """
[sweep]
name = mixed
base = tiny.ini
seeds = 1:2
[arm.plain]
run.method = grpo
[arm.measured]
run.method = darling
log.diagnostics = every:3
log.eval_samples = on
[arm.judged]
run.method = darling
partition.method = exact
eval.partition = classifier
eval.ngram_n = 2
log.eval_samples = on
"""


def near(got, want, what, tolerance=1e-6):
    expect(np.isclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True), f"{what}: {got}, expected {want}")


def shares(labels):
    return np.unique(labels, return_counts=True)[1] / len(labels)


def vote(labels, correct, pick):
    votes = {c: sum(labels[i] == c for i in pick) for c in {labels[i] for i in pick}}
    winners = [c for c, n in votes.items() if n == max(votes.values())]
    return sum(2 * correct[labels == c].sum() > (labels == c).sum() for c in winners) / len(winners)


def utility(labels, quality, pick):
    seen, total, norm = set(), 0.0, 0.0
    for place, i in enumerate(pick):
        total += 0.8**place * (10 * quality[i] if labels[i] not in seen else 0)
        norm += 0.8**place
        seen.add(labels[i])
    return total / norm


def check_eval(file, ngram):
    e = {name: file["eval"][name][:] for name in file["eval"]}
    vocab, at_k = len(file["vocab/token"]), {name: np.zeros(len(e["k"])) for name in ("pass", "maj", "distinct", "coverage", "utility", "maxg")}
    row, prompts, samples = len(e["step"]) - 1, *e["quality"].shape[1:]
    for q in range(prompts):
        labels, quality = e["cluster"][row, q], e["quality"][row, q].astype(float)
        correct = quality > 0
        text = [tuple(t[t > 0]) for t in e["token"][row, q]]
        near(e["num_correct"][row, q], correct.sum(), "num_correct")
        near(e["num_distinct"][row, q], len(set(labels)), "num_distinct")
        near(e["num_distinct_correct"][row, q], len(set(labels[correct])), "num_distinct_correct")
        near(e["num_distinct_wrong"][row, q], len(set(labels[~correct])), "num_distinct_wrong")
        for name, part in (("class_entropy", labels), ("class_entropy_correct", labels[correct]), ("class_entropy_wrong", labels[~correct])):
            want = -(shares(part) * np.log(shares(part))).sum() if len(part) else math.nan
            near(e[name][row, q], want, name)
        grams = [t[i : i + ngram] for t in text for i in range(len(t) - ngram + 1)]
        near(e["distinct_n"][row, q], len(set(grams)) / len(grams) if grams else 0, "distinct_n")
        tokens = [t for y in text for t in y]
        near(e["ead"][row, q], len(set(tokens)) / (vocab * (1 - ((vocab - 1) / vocab) ** len(tokens))), "ead")
        near(e["length"][row, q], len(tokens) / samples, "length")
        expect(1 - 1e-6 <= e["vendi"][row, q] <= len(set(text)) + 1e-6, "vendi is outside of [1, distinct texts]")
        expect(0 <= e["self_bleu"][row, q] <= 1 + 1e-6, "self_bleu is outside of [0, 1]")
        expect(0 <= e["semantic_entropy"][row, q] <= math.log(len(set(labels))) + 1e-6, "semantic_entropy is too large")
        for i, k in enumerate(e["k"]):
            picks = list(itertools.combinations(range(samples), int(k)))
            mean = lambda f, over=picks: np.mean([f(p) for p in over]) / prompts
            at_k["pass"][i] += mean(lambda p: correct[list(p)].any())
            at_k["maj"][i] += mean(lambda p: vote(labels, correct, p))
            at_k["distinct"][i] += mean(lambda p: len({labels[j] for j in p}))
            at_k["coverage"][i] += mean(lambda p: len({labels[j] for j in p if correct[j]}))
            at_k["maxg"][i] += mean(lambda p: quality[list(p)].max())
            at_k["utility"][i] += mean(lambda p: utility(labels, quality, p), list(itertools.permutations(range(samples), int(k))))
    for name, values in at_k.items():
        for i, k in enumerate(e["k"]):
            near(e[f"{name}_at_k"][row, i], values[i], f"{name}@{k}", 1e-9)
    return e


def columns(work):
    run("train", "-c", "tiny.ini", *LOGGED, "-o", "a", cwd=work)
    with h5py.File(work / "a/run.h5") as file:
        e = check_eval(file, 4)
        for labels, classes in zip(e["cluster"].reshape(-1, 8), e["class_id"].reshape(-1, 8)):
            want = [int(np.argmax(classes == c)) for c in classes]
            expect(list(labels) == want, f"classes {classes} have labels {labels}")
    run("compare", "a", "--metric", "eval.maj_at_4", "--metric", "eval.vendi", cwd=work)


def diagnostics(work):
    # Small steps: the prediction of the entropy's change is of first order in them.
    words = ("train", "-c", "tiny.ini", "optim.lr=2e-5")
    run(*words, "-o", "plain", cwd=work)
    run(*words, *LOGGED, "-o", "a", cwd=work)
    run(*words, *LOGGED, "-o", "one", threads=1, cwd=work)
    expect(run("digest", "plain", "a", "--common", cwd=work).returncode == 0, "measuring changed the run")
    expect(digest(work / "a") == digest(work / "one"), "another digest with one thread")
    with h5py.File(work / "a/run.h5") as file:
        d = {name: file["diagnostics"][name][:] for name in file["diagnostics"]}
        m = {name: file["metrics"][name][:] for name in file["metrics"]}
        classes = file["rollouts/class_id"][:]
    expect(list(d["step"]) == list(range(0, 30, 4)), f"measured at {d['step']}")
    known = 0
    for i, step in enumerate(d["step"]):
        # No divergence and no bonus: the parts add up to the gradient the step took.
        for a, b, angle in (("positive", "negative", "sign"), ("dominant", "rare", "mode")):
            p, q, c = d[f"grad_norm_{a}"][i], d[f"grad_norm_{b}"][i], d[f"grad_cosine_{angle}"][i]
            total = math.sqrt(max(0, p * p + q * q + (2 * p * q * c if p > 0 and q > 0 else 0)))
            near(total, m["grad_norm"][step], f"grad_norm of {a} and {b} at {step}", 1e-4)
            known += p > 0 and q > 0
        change, predicted = d["entropy_change"][i], d["entropy_change_predicted"][i]
        largest = np.abs(d["entropy_change"]).max()
        expect(abs(change - predicted) <= 0.1 * abs(change) + 0.1 * largest, f"step {step}: entropy {change}, predicted {predicted}")
        most = [np.unique(g, return_counts=True)[1].max() for g in classes[step]]
        odds = [math.log((n + 0.5) / (len(g) - n + 0.5)) for n, g in zip(most, classes[step])]
        near(d["mode_log_odds"][i], np.mean(odds), "mode_log_odds")
        expect(not d["gradient_noise_ratio"][i] < 0, "gradient_noise_ratio is negative")
    expect(known > 0, "no step has both parts")
    # A judge that merges everything leaves nothing that is rare; all of the gradient is the dominant cluster's.
    run(*words, *LOGGED, "partition.method=noisy_oracle", "partition.false_merge=1", "diversity.shaping=none", "-o", "merged", cwd=work)
    # The gradients are those of the policy term: bonus and divergence change none of the first step's.
    run(*words, *LOGGED, "entropy.coef=0.05", "kl.coef=0.1", "-o", "bonus", cwd=work)
    with h5py.File(work / "merged/run.h5") as file, h5py.File(work / "bonus/run.h5") as bonus:
        for i, step in enumerate(file["diagnostics/step"][:]):
            expect(file["diagnostics/grad_norm_rare"][i] == 0, "one cluster has a rare part")
            near(file["diagnostics/grad_norm_dominant"][i], file["metrics/grad_norm"][step], "grad_norm_dominant of one cluster", 1e-4)
        expect((file["diagnostics/grad_norm_dominant"][:] > 0).any(), "one cluster has no gradient at all")
        for name in ("positive", "negative", "dominant", "rare"):
            near(bonus[f"diagnostics/grad_norm_{name}"][0], d[f"grad_norm_{name}"][0], f"grad_norm_{name} with a bonus", 1e-6)
        expect(bonus["metrics/grad_norm"][0] != m["grad_norm"][0], "the bonus has no gradient")
    expect(np.abs(d["entropy_change"]).max() > 0, "the entropy never changed")


def classifier(work):
    run("train", "-c", "tiny.ini", "eval.partition=classifier", "partition.method=oracle", "log.eval_samples=on", "-o", "a", cwd=work)
    with h5py.File(work / "a/run.h5") as file:
        e = check_eval(file, 4)
        for labels, tokens in zip(e["cluster"].reshape(-1, 8), e["token"].reshape(-1, 8, e["token"].shape[-1])):
            for i, label in enumerate(labels):
                expect(label <= i and labels[label] == label, f"labels {labels} are not canonical")
                equal = [j for j in range(i) if (tokens[i] == tokens[j]).all()]
                expect(not equal or labels[equal[0]] == label, "equal texts are in two classes")
    with h5py.File(work / "a/run.h5") as file:
        last = file["eval/num_distinct_correct"][-1].mean()
    import json

    out = json.loads(run("eval", "a", "--json", cwd=work).stdout)
    near(out["num_distinct_correct"], last, "motley eval with the classifier")


def packed(work):
    (work / "sweep.ini").write_text(SWEEP)
    run("sweep", "run", "sweep.ini", cwd=work)
    cells = sorted((work / "runs" / "mixed").glob("*/run.h5"))
    expect(len(cells) == 3, f"{len(cells)} cells instead of 3")
    for cell in cells:
        expect_equal_alone(work, cell)


def refusals(work):
    for text, *words in (
        ("log.diagnostics (command line): unknown value \"every:0\"; allowed: every:N, none", "log.diagnostics=every:0"),
        ("unknown value \"all\"; allowed: every:N, none", "log.diagnostics=all"),
        ("did you mean \"classifier\"?", "eval.partition=clasifier"),
        ("eval.samples (command line): the pair classifier partitions at most 4096 samples", "eval.partition=classifier", "eval.samples=5000"),
    ):
        done = run("train", "-c", "tiny.ini", *words, "-o", "b", check=False, cwd=work)
        expect(done.returncode == 2 and text in done.stderr, f"{words}: {done.returncode} {done.stderr}")


def main():
    reproduce.motley = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "tiny.ini").write_text(LEARNT)
        {"columns": columns, "diagnostics": diagnostics, "classifier": classifier, "packed": packed, "refusals": refusals}[sys.argv[2]](work)
    print("ok")


if __name__ == "__main__":
    main()
