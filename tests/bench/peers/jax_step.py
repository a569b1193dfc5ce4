"""A GRPO step in JAX: one jitted function (scan over positions), vmapped over replicas.

    jax_step.py --case S --threads 2 [--replicas 16]
"""

import time

from common import BETAS, CASES, CLIP_HIGH, CLIP_LOW, GRAD_CLIP, LEARNING_RATE, NORM_EPS, ROPE_THETA, Reference, arguments, finish, rewards, time_steps

args = arguments()

import jax  # noqa: E402  (after the processors are bound)
import jax.numpy as jnp  # noqa: E402


def init(c, key):
    keys = iter(jax.random.split(key, 2 + 4 * c.layers))

    def matrix(rows, columns):
        return 0.02 * jax.random.normal(next(keys), (rows, columns))

    layers = [
        {"norm1": jnp.ones(c.width), "norm2": jnp.ones(c.width), "qkv": matrix(c.width, 3 * c.width), "o": matrix(c.width, c.width),
         "gate_up": matrix(c.width, 2 * c.ff), "down": matrix(c.ff, c.width)}
        for _ in range(c.layers)
    ]
    return {"embed": matrix(c.V, c.width), "head": matrix(c.width, c.V), "norm": jnp.ones(c.width), "layers": layers}


def rms_norm(x, w):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + NORM_EPS) * w


def angles(c):
    hd = c.width // c.heads
    angle = jnp.arange(c.P + c.T)[:, None] * ROPE_THETA ** (-jnp.arange(0, hd, 2) / hd)
    return jnp.cos(angle), jnp.sin(angle)


def rotate(x, cos, sin):
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)


def project(c, w, x, cos, sin):
    """x [N,S,D] -> queries, keys, values [N,H,S,hd], rotated."""
    N, S, _ = x.shape
    qkv = (rms_norm(x, w["norm1"]) @ w["qkv"]).reshape(N, S, 3, c.heads, -1).transpose(2, 0, 3, 1, 4)
    return rotate(qkv[0], cos, sin), rotate(qkv[1], cos, sin), qkv[2]


def attend(q, k, v, mask):
    score = jnp.einsum("nhqd,nhkd->nhqk", q, k) * q.shape[-1] ** -0.5
    return jnp.einsum("nhqk,nhkd->nhqd", jax.nn.softmax(jnp.where(mask, score, -jnp.inf), axis=-1), v)


def finish_layer(c, w, x, attended):
    N, S, _ = x.shape
    x = x + attended.transpose(0, 2, 1, 3).reshape(N, S, c.width) @ w["o"]
    gate, up = jnp.split(rms_norm(x, w["norm2"]) @ w["gate_up"], 2, axis=-1)
    return x + (jax.nn.silu(gate) * up) @ w["down"]


def forward(c, params, token):
    S = token.shape[1]
    cos, sin = (t[:S] for t in angles(c))
    mask = jnp.tril(jnp.ones((S, S), bool))
    x = params["embed"][token]
    for w in params["layers"]:
        q, k, v = project(c, w, x, cos, sin)
        x = finish_layer(c, w, x, attend(q, k, v, mask))
    return rms_norm(x, params["norm"]) @ params["head"]


def prefill(c, params, prompt):
    cos, sin = (t[: c.P] for t in angles(c))
    mask = jnp.tril(jnp.ones((c.P, c.P), bool))
    x = params["embed"][prompt]
    cache = []
    for w in params["layers"]:
        q, k, v = project(c, w, x, cos, sin)
        pad = ((0, 0), (0, 0), (0, c.T), (0, 0))
        cache.append((jnp.pad(jnp.repeat(k, c.G, 0), pad), jnp.pad(jnp.repeat(v, c.G, 0), pad)))
        x = finish_layer(c, w, x, attend(q, k, v, mask))
    return jnp.repeat(rms_norm(x[:, -1], params["norm"]) @ params["head"], c.G, 0), cache


def decode(c, params, token, position, cache):
    cos, sin = (jax.lax.dynamic_slice_in_dim(t, position, 1) for t in angles(c))
    mask = jnp.arange(c.P + c.T) <= position
    x = params["embed"][token][:, None]
    new = []
    for w, (keys, values) in zip(params["layers"], cache):
        q, k, v = project(c, w, x, cos, sin)
        keys = jax.lax.dynamic_update_slice_in_dim(keys, k, position, 2)
        values = jax.lax.dynamic_update_slice_in_dim(values, v, position, 2)
        new.append((keys, values))
        x = finish_layer(c, w, x, attend(q, keys, values, mask))
    return rms_norm(x[:, 0], params["norm"]) @ params["head"], new


def sample(key, logits):
    token = jax.random.categorical(key, logits)
    return token, jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], -1)[:, 0]


def rollout(c, params, key):
    prompt_key, key = jax.random.split(key)
    prompt = jax.random.randint(prompt_key, (c.B, c.P), 2, c.V)
    keys = jax.random.split(key, c.T)
    logits, cache = prefill(c, params, prompt)
    token, log_prob = sample(keys[0], logits)

    def body(carry, x):
        token, cache = carry
        key, position = x
        logits, cache = decode(c, params, token, position, cache)
        token, log_prob = sample(key, logits)
        return (token, cache), (token, log_prob)

    _, (tokens, log_probs) = jax.lax.scan(body, (token, cache), (keys[1:], c.P + jnp.arange(c.T - 1)))
    return prompt, jnp.concatenate((token[None], tokens)).T, jnp.concatenate((log_prob[None], log_probs)).T


def token_log_prob(c, params, prompt, token):
    logits = forward(c, params, jnp.concatenate((jnp.repeat(prompt, c.G, 0), token[:, :-1]), axis=1))[:, c.P - 1 :]
    return jnp.take_along_axis(jax.nn.log_softmax(logits), token[..., None], -1)[..., 0]


def update(c, params, moments, count, prompt, token, old_log_prob):
    group = jnp.array(rewards(c))
    advantage = jnp.tile((group - group.mean()) / (group.std(ddof=1) + 1e-6), c.B)[:, None]

    def loss(params):
        ratio = jnp.exp(token_log_prob(c, params, prompt, token) - old_log_prob)
        return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP_LOW, 1 + CLIP_HIGH) * advantage).mean()

    gradient = jax.grad(loss)(params)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, GRAD_CLIP / (norm + 1e-6)), gradient)
    count = count + 1
    m = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, moments[0], gradient)
    v = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, moments[1], gradient)
    params = jax.tree.map(
        lambda p, m, v: p - LEARNING_RATE * (m / (1 - BETAS[0] ** count)) / (jnp.sqrt(v / (1 - BETAS[1] ** count)) + 1e-8), params, m, v)
    return params, (m, v), count


class Step:
    def __init__(self, c, replicas):
        keys = jax.random.split(jax.random.key(0), replicas)
        self.params = jax.vmap(lambda k: init(c, k))(keys)
        self.moments = (jax.tree.map(jnp.zeros_like, self.params), jax.tree.map(jnp.zeros_like, self.params))
        self.count = jnp.zeros(replicas)
        self.keys = keys
        self.number = 0
        self.rollout = jax.jit(jax.vmap(lambda p, k: rollout(c, p, k)))
        self.update = jax.jit(jax.vmap(lambda *x: update(c, *x)), donate_argnums=(0, 1, 2))

    def __call__(self):
        begin = time.perf_counter()
        self.number += 1
        keys = jax.vmap(lambda k: jax.random.fold_in(k, self.number))(self.keys)
        rolled = jax.block_until_ready(self.rollout(self.params, keys))
        middle = time.perf_counter()
        state = self.update(self.params, self.moments, self.count, *rolled)
        self.params, self.moments, self.count = jax.block_until_ready(state)
        return middle - begin, time.perf_counter() - middle


def check(folder):
    reference = Reference(folder)
    c = reference.case()
    w = {name: jnp.array(value) for name, value in reference.weights.items()}
    layers = []
    for i in range(c.layers):
        at = f"model.layers.{i}."
        layers.append({"norm1": w[at + "input_layernorm.weight"], "norm2": w[at + "post_attention_layernorm.weight"],
                       "qkv": jnp.concatenate([w[at + f"self_attn.{x}_proj.weight"] for x in "qkv"]).T, "o": w[at + "self_attn.o_proj.weight"].T,
                       "gate_up": jnp.concatenate([w[at + f"mlp.{x}_proj.weight"] for x in ("gate", "up")]).T, "down": w[at + "mlp.down_proj.weight"].T})
    params = {"embed": w["model.embed_tokens.weight"], "head": w["lm_head.weight"].T, "norm": w["model.norm.weight"], "layers": layers}
    prompt = jnp.array(reference.prompt)
    token = jnp.array(reference.token).reshape(c.B * c.G, c.T)
    want = token_log_prob(c, params, prompt, token)
    logits, cache = prefill(c, params, prompt)
    got = [logits]
    for t in range(c.T - 1):
        logits, cache = decode(c, params, token[:, t], c.P + t, cache)
        got.append(logits)
    got = jnp.take_along_axis(jax.nn.log_softmax(jnp.stack(got, 1)), token[..., None], -1)[..., 0]
    assert jnp.allclose(got, want, atol=1e-4), "decoder and trainer differ"
    reference.compare("jax", want.reshape(c.B, c.G, c.T))


if args.check:
    check(args.check)
finish("jax", args, time_steps(Step(CASES[args.case], args.replicas), args.seconds))
