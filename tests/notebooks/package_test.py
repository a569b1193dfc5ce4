#!/usr/bin/env python3
"""The package notebooks/motley: known answers, motley compare's numbers, reading of live files.

usage: package_test.py MOTLEY DATA     DATA: made by notebooks/sweeps/make
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
from itertools import combinations

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "notebooks"))
import motley  # noqa: E402
from motley import statistics, theory  # noqa: E402

program, data = "", pathlib.Path()


def run(*words):
    return subprocess.run([program, *words], check=True, capture_output=True, text=True, cwd=data).stdout


class Statistics(unittest.TestCase):
    def test_philox_known_answers(self):  # Random123's kat_vectors
        for counter, key, want in (
            ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
            ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
            ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
        ):
            self.assertEqual(tuple(int(w) for w in statistics.philox4x32_10(counter, key)), want)

    def test_pass_at_k_counts_subsets(self):
        for n in (1, 2, 5, 8):
            for c in range(n + 1):
                for k in range(1, n + 1):
                    hits = [any(i < c for i in pick) for pick in combinations(range(n), k)]
                    self.assertAlmostEqual(float(motley.pass_at_k(n, c, k)), np.mean(hits), places=13)
        np.testing.assert_allclose([float(motley.pass_at_k(8, 5, k)) for k in (1, 2, 4)], (0.625, 0.892857, 1), atol=5e-7)
        with self.assertRaises(ValueError):
            motley.pass_at_k(4, 2, 5)

    def test_iqm_is_the_trimmed_mean(self):
        from scipy.stats import trim_mean

        for n in (1, 3, 4, 7, 10):
            x = np.random.default_rng(n).normal(size=n)
            self.assertAlmostEqual(motley.iqm(x), trim_mean(x, 0.25), places=14)

    def test_entropy_law(self):
        h = np.linspace(0.1, 1.5, 40)
        law = motley.fit_entropy(h, 0.9 - 0.2 * np.exp(h), share=0.5)
        np.testing.assert_allclose(law, (0.2, 0.9, 0.7, 1, 0), atol=1e-12)

    def test_improvement_profile_sign(self):
        self.assertEqual(motley.probability_of_improvement([1, 2], [1, 0]), 7 / 8)
        np.testing.assert_array_equal(motley.performance_profile([0.1, 0.5, 0.9], [0, 0.5, 1]), (1, 1 / 3, 0))
        self.assertAlmostEqual(motley.sign_test(9, 10), 22 / 1024)

    def test_equals_compare(self):
        """Values, means, IQM and P(improvement) to the last digit; interval ends to one unit in the last place, because a
        compiler may or may not fuse the interpolation between two order statistics."""
        metric = "eval.num_distinct_correct"
        for words in (("collapse", "--by", "run.name"), ("regime", "--by", "run.method")):  # one task, six tasks
            want = json.loads(run("compare", *words, "--metric", metric, "--reps", "5000", "--ci-seed", "3", "--json"))
            frame = motley.load_eval(data / words[0], keys=["run.method", "task.rare_prior", "task.skew"], last=True)
            frame = frame.sort_values(["task.rare_prior", "task.skew", "seed"])

            def strata(arm):
                mine = frame[frame["arm" if words[2] == "run.name" else words[2]] == arm]
                groups = mine.groupby(["task.rare_prior", "task.skew"])
                return [g["num_distinct_correct"].to_numpy() for _, g in groups]

            for arm in want["arms"]:
                x = strata(arm["arm"])
                self.assertEqual(np.concatenate(x).tolist(), arm["values"])
                self.assertEqual(motley.mean(x), arm["mean"])
                self.assertEqual(motley.iqm(x), arm["iqm"])
                for statistic, names in (("mean", ("low", "high")), ("iqm", ("iqm_low", "iqm_high"))):
                    interval = motley.bootstrap_ci(x, statistic, reps=5000, seed=3)
                    for got, name in zip(interval, names):
                        self.assertLessEqual(abs(got - arm[name]), math.ulp(arm[name]), (arm["arm"], name))
            self.assertEqual(want["tasks"], 1 if words[0] == "collapse" else 6)
            for pair in want["pairs"]:
                x, y = strata(pair["arm"]), strata(pair["baseline"])
                self.assertEqual(motley.probability_of_improvement(x, y), pair["p_improvement"])
                interval = motley.bootstrap_ci([a - b for a, b in zip(x, y)], reps=5000, seed=3)
                for got, name in zip(interval, ("low", "high")):
                    self.assertLessEqual(abs(got - pair[name]), math.ulp(max(abs(pair[name]), 1e-300)), name)


class Partitions(unittest.TestCase):
    TRUTH, PREDICTED = (0, 0, 0, 3, 4, 4, 6, 7), (0, 0, 2, 2, 4, 4, 4, 7)

    def test_known_answers(self):
        self.assertAlmostEqual(motley.ari(self.TRUTH, self.PREDICTED), 0.339623, places=6)
        self.assertAlmostEqual(motley.nmi(self.TRUTH, self.PREDICTED), 0.768860, places=6)
        np.testing.assert_allclose(motley.pair_prf(self.TRUTH, self.PREDICTED), (0.4, 0.5, 0.444444), atol=1e-6)

    def test_extremes(self):
        self.assertEqual(motley.ari((0, 0), (5, 5)), 1)
        self.assertEqual(motley.nmi((0, 0), (5, 5)), 1)
        self.assertEqual(motley.ari((0, 1, 2), (2, 0, 1)), 1)

    def test_reliability_and_thresholds(self):
        said, true, count, error = motley.reliability([0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1])
        np.testing.assert_allclose((said, true, count), ((0.1, 0.9), (0.5, 1), (2, 2)))
        self.assertAlmostEqual(error, 0.5 * 0.4 + 0.5 * 0.1)
        np.testing.assert_allclose(motley.threshold_sweep([0.1, 0.4, 0.9], [0, 1, 1], [0.0, 0.5]), ((2 / 3, 1, 0.8), (1, 0.5, 2 / 3)))

    def test_side_file_agrees_with_motley_partition(self):
        labels = motley.side_file(data / "partitions.h5")
        with motley.open_run(data / "first") as file:
            np.testing.assert_array_equal(labels["logged"], file["partition/cluster"][:])


class Theory(unittest.TestCase):
    def enumerate(self, p, r, n, reward):
        """E[A | the first rollout lies in m] over all groups of n modes."""
        out = np.zeros(len(p))
        for modes in np.ndindex(*(len(p),) * n):
            chance = np.prod([p[m] for m in modes[1:]])
            q = reward(np.array(modes), np.array(r)[list(modes)])
            out[modes[0]] += chance * (q[0] - q.mean())
        return out

    def test_expected_advantages_by_enumeration(self):
        p, r = (0.5, 0.3, 0.15, 0.05), (1, 0.9, 0.5, 0)

        def darling(modes, q):
            return q * (modes[:, None] != modes[None]).sum(axis=1) / (len(modes) - 1)

        def difficulty(modes, q):
            return q * (len(q) - q.sum()) / (len(q) - 1)

        np.testing.assert_allclose(theory.expected_advantage(p, r, 4), (0.037375, 0.077375, -0.125125, -0.462625), atol=1e-9)
        for n in (2, 3, 4):
            np.testing.assert_allclose(theory.expected_advantage(p, r, n), self.enumerate(p, r, n, darling), atol=1e-12)
            binary = (1, 1, 0, 0)
            np.testing.assert_allclose(theory.expected_advantage(p, binary, n, "difficulty"), self.enumerate(p, binary, n, difficulty), atol=1e-12)

    def test_fixed_point(self):
        np.testing.assert_allclose(theory.stationary((1, 0.9, 0.5, 0.2), 8), (0.5351, 0.4649, 0, 0), atol=5e-5)
        np.testing.assert_allclose(theory.stationary((1, 0.5), 4), (0.8333, 0.1667), atol=5e-5)


class Runs(unittest.TestCase):
    def test_frames(self):
        frame = motley.load(data / "collapse")
        self.assertEqual(len(frame), 36 * 80)
        self.assertEqual(frame["arm"].nunique(), 6)
        self.assertIn("loss.clip_ratio_high", frame.columns)
        with motley.open_run(frame["file"][0]) as file:
            np.testing.assert_array_equal(frame["entropy"][:80].to_numpy(), file["metrics/entropy"][:])
            counts = motley.eval_counts(frame["file"][0])
            mean = motley.pass_at_k(counts["n"], counts["c"], 16).mean()
            at = list(file["eval/k"][:]).index(16)
            self.assertAlmostEqual(mean, file["eval/pass_at_k"][-1, at], places=12)

    def test_rollouts_read_as_inspect_does(self):
        frame = motley.rollouts(data / "first", step=30, prompt=1)
        self.assertEqual(len(frame), 8)
        shown = run("inspect", "first", "--step", "30", "--prompt", "1")
        for line in frame["text"]:
            self.assertIn(line, shown)
        one = motley.rollouts(data / "first", prompt_id=int(frame["prompt_id"][0]))
        self.assertEqual(one["prompt_id"].unique().tolist(), [frame["prompt_id"][0]])
        self.assertEqual(len(one[one["step"] == 30]), 8)
        valid = frame[frame["finish"] == "eos"]
        family = {"ANS": "direct", "SF": "forward", "SB": "backward", "SP": "pairs"}
        for words, name in zip(valid["text"].str.split(), valid["class_name"]):
            marker = next(w for w in words if w in family)
            self.assertEqual(name.split()[0], family[marker])
        with self.assertRaises(IndexError):
            motley.rollouts(data / "first", step=80)

    def test_stopped_run(self):
        self.assertEqual(motley.status(data / "stopped"), "interrupted")
        seen = sum(len(rows) for rows in motley.follow(data / "stopped"))
        self.assertEqual(seen, len(motley.load(data / "stopped")))
        self.assertGreater(seen, 0)

    def test_follows_a_run_that_is_written_and_killed(self):
        with tempfile.TemporaryDirectory() as folder:
            words = [program, "train", "-q", "-c", str(data / "first/config.ini"), "run.steps=100000", "-o", folder + "/live"]
            child = subprocess.Popen(words, cwd=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline and not pathlib.Path(folder, "live/run.h5").exists():
                    time.sleep(0.05)
                time.sleep(0.5)
                steps = []  # whole chunks of steps arrive at once
                for rows in motley.follow(folder + "/live", ("reward", "entropy"), poll=0.1, idle=60):
                    steps += rows["step"].tolist()
                    self.assertTrue(np.isfinite(rows["reward"]).all())
                    if len(steps) > 20:
                        break
                self.assertIsNone(child.poll(), "the rows were read while the run was written")
            finally:
                child.kill()
                child.wait()
            self.assertEqual(steps, list(range(len(steps))))
            self.assertGreater(len(steps), 20)
            self.assertEqual(motley.status(folder + "/live"), "running")  # a killed run cannot say otherwise
            again = [step for rows in motley.follow(folder + "/live", poll=0.1, idle=0.5) for step in rows["step"]]
            self.assertEqual(again, list(range(len(again))))
            self.assertGreaterEqual(len(again), len(steps))
            self.assertEqual(len(motley.load(folder + "/live")), len(again))


if __name__ == "__main__":
    program, data = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
