"""What the peers share: the cases of `motley bench`, made-up work, timing, the check against motley.

Every peer does the same work as `motley bench`: B prompts of P random tokens, G completions of exactly T
tokens each from a random Llama-shaped policy, group-normalised advantages of rewards that half of each
group gets, one clipped policy-gradient update with AdamW. No peer clusters or logs; motley does both in
the times it is compared with.
"""

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time


@dataclasses.dataclass(frozen=True)
class Case:
    V: int
    width: int
    layers: int
    heads: int
    ff: int
    P: int
    T: int
    B: int
    G: int

    @property
    def tokens(self):
        """Sampled tokens of a step; each is trained on once."""
        return self.B * self.G * self.T


CASES = {
    "S": Case(V=32, width=64, layers=2, heads=4, ff=192, P=12, T=20, B=32, G=8),
    "M": Case(V=64, width=128, layers=4, heads=4, ff=384, P=16, T=32, B=32, G=16),
    "L": Case(V=256, width=256, layers=6, heads=8, ff=768, P=32, T=64, B=16, G=16),
}
LEARNING_RATE = 3e-4
BETAS = (0.9, 0.95)
CLIP_LOW, CLIP_HIGH = 0.2, 0.28
GRAD_CLIP = 1.0
ROPE_THETA = 10000.0
NORM_EPS = 1e-5


def arguments(*extra):
    """Reads the command line and binds this process to its processors, before any library counts them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", choices=CASES, default="S")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=4.0, help="how long steps are timed")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--check", metavar="FOLDER", help="compare log-probabilities with motley's instead of timing")
    for words, settings in extra:
        parser.add_argument(*words, **settings)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return args


def rewards(case):
    """Rewards of one group: every other completion passes."""
    return [float(g % 2) for g in range(case.G)]


def time_steps(step, seconds, warm_up=3):
    """Calls step() -> (rollout_s, update_s) until `seconds` have passed; medians."""
    for _ in range(warm_up):
        step()
    rows = []
    begin = time.perf_counter()
    while len(rows) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        rollout_s, update_s = step()
        rows.append((time.perf_counter() - start, rollout_s, update_s))
    whole, rollout, update = (statistics.median(column) for column in zip(*rows))
    return {"step_s": whole, "rollout_s": rollout, "update_s": update, "steps": len(rows)}


def finish(program, args, result):
    case = CASES[args.case]
    print(json.dumps({"program": program, "case": args.case, "threads": args.threads, "replicas": args.replicas,
                      "tokens": args.replicas * case.tokens, **result}))


class Reference:
    """A policy and rollouts of motley: DIR/hf/model.safetensors and DIR/rollouts.npz (scripts/bench writes them)."""

    def __init__(self, folder):
        import numpy
        from safetensors.numpy import load_file

        self.weights = load_file(os.path.join(folder, "hf", "model.safetensors"))
        with open(os.path.join(folder, "hf", "config.json")) as file:
            self.config = json.load(file)
        rollouts = numpy.load(os.path.join(folder, "rollouts.npz"))
        self.prompt = rollouts["prompt"]  # [B,P] all of one length
        self.token = rollouts["token"]  # [B,G,T]
        self.length = rollouts["length"]  # [B,G]
        self.log_prob = rollouts["log_prob"]  # [B,G,T] nats

    def case(self):
        c = self.config
        B, G, T = self.token.shape
        return Case(V=c["vocab_size"], width=c["hidden_size"], layers=c["num_hidden_layers"], heads=c["num_attention_heads"],
                    ff=c["intermediate_size"], P=self.prompt.shape[1], T=T, B=B, G=G)

    def compare(self, program, log_prob):
        """Exits unless the log-probabilities of all tokens agree within 1e-4."""
        import numpy

        real = numpy.arange(self.token.shape[2]) < self.length[..., None]
        worst = float(numpy.abs(numpy.asarray(log_prob, dtype=numpy.float64) - self.log_prob)[real].max())
        print(json.dumps({"program": program, "compared": int(real.sum()), "largest_difference": worst}))
        sys.exit(0 if worst <= 1e-4 else 1)
