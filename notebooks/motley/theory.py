"""What the expected update of a shaped reward does to a distribution over modes: n i.i.d. rollouts per group, oracle partition,
on policy, every rollout weighted alike. Tested by enumeration (tests/notebooks/package_test.py, tests/core/theory_test.cpp).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def collision_weight(n: int) -> float:
    """c_n = (n-2)/(n-1): how strongly a group of n feels diversity; none at n = 2."""
    return (n - 2) / (n - 1)


def effective_reward(p: Any, r: Any, n: int, method: str = "darling") -> np.ndarray:
    """What the expected advantage of mode m grows with, up to a constant [..., M]: r (1 - c_n p) for ``darling``, r for ``grpo``
    (without division by the deviation), and for ``difficulty``, which rewards the correct of a binary task with
    (n - #correct)/(n - 1), see :func:`difficulty_gain`."""
    p, r = np.asarray(p, dtype=np.float64), np.asarray(r, dtype=np.float64)
    if method == "darling":
        return r * (1 - collision_weight(n) * p)
    if method == "grpo":
        return np.broadcast_to(r, np.broadcast_shapes(p.shape, r.shape)).copy()
    if method == "difficulty":
        return difficulty_gain(np.sum(p * (r > 0), axis=-1, keepdims=True), n) * (r > 0)
    raise ValueError(f"effective_reward: no method {method!r}")


def difficulty_gain(q: Any, n: int) -> np.ndarray:
    """Effective reward of every correct mode under the control r (n - #correct)/(n-1), q the chance of a correct rollout.

    By the same argument as for DARLING with one class "correct": the others' rewards fall by 1/(n-1) each when a rollout is
    correct, so n/(n-1) E[A | correct] - n/(n-1) E[A | wrong] = 1 - c_n q. Modes do not enter.
    """
    return 1 - collision_weight(n) * np.asarray(q, dtype=np.float64)


def expected_advantage(p: Any, r: Any, n: int, method: str = "darling") -> np.ndarray:
    """E[A | a rollout lies in mode m] with the group's mean as baseline [..., M]; its mean under p is 0."""
    p = np.asarray(p, dtype=np.float64)
    f = effective_reward(p, r, n, method)
    return (n - 1) / n * (f - np.sum(p * f, axis=-1, keepdims=True))


def objective(p: Any, r: Any, n: int) -> np.ndarray:
    """J_n(p) = sum_m r_m (p_m - c_n p_m^2 / 2): what DARLING ascends; p [..., M] -> [...]."""
    p, r = np.asarray(p, dtype=np.float64), np.asarray(r, dtype=np.float64)
    return np.sum(r * (p - collision_weight(n) * p**2 / 2), axis=-1)


def stationary(r: Any, n: int) -> np.ndarray:
    """Fixed point of DARLING [M]: water-filling, p_m = (1 - lam/r_m)/c_n on the support r_m > lam."""
    r = np.asarray(r, dtype=np.float64)
    c = collision_weight(n)
    p = np.zeros_like(r)
    order = np.argsort(-r, kind="stable")
    for size in range(len(r), 0, -1):
        support = order[:size]
        lam = (size - c) / np.sum(1 / r[support])
        if np.all(r[support] > lam) or size == 1:
            p[support] = (1 - lam / r[support]) / c if c > 0 and size > 1 else 1.0
            return p
    return p


def flow(logits: Any, skill: Any, skew: Any, n: int, method: str, rate: float, steps: int) -> np.ndarray:
    """Mode shares over the noise-free update d logit_m = rate p_m (E[A | m]) of a softmax over modes; [steps + 1, M].

    ``skill`` [M] is the chance that mode m is right; one rollout's class is (mode, right or wrong), as in the task
    ``scratchpad``, where the habit (mode 0) is right on a share ``skew`` of the training prompts: pass ``skill[0] = skew``.
    On a prompt where the habit is right all its rollouts are, elsewhere none: the two kinds of prompt are averaged.
    """
    z, s = np.array(logits, dtype=np.float64), np.asarray(skill, dtype=np.float64)
    out = []
    for _ in range(steps + 1):
        p = np.exp(z - z.max())
        p /= p.sum()
        out.append(p)
        total = np.zeros_like(p)
        for weight, habit in ((float(skew), 1.0), (1 - float(skew), 0.0)):
            right = s.copy()
            right[0] = habit
            classes = np.concatenate((p * right, p * (1 - right)))  # mode x (right, wrong)
            reward = np.concatenate((np.ones_like(p), np.zeros_like(p)))
            a = expected_advantage(classes, reward, n, method)
            total += weight * (classes[: len(p)] * a[: len(p)] + classes[len(p) :] * a[len(p) :])
        z = z + rate * (total - p * total.sum())
    return np.array(out)
