"""A hand-tuned GRPO step in PyTorch: static key-value cache, inference mode, fused AdamW, fused projections.

    torch_step.py --case S --threads 2 [--compile] [--bf16]
"""

import time

from common import BETAS, CASES, CLIP_HIGH, CLIP_LOW, GRAD_CLIP, LEARNING_RATE, NORM_EPS, ROPE_THETA, Reference, arguments, finish, rewards, time_steps

args = arguments((["--compile"], {"action": "store_true"}), (["--bf16"], {"action": "store_true"}))

import torch  # noqa: E402  (after the threads are set)
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(args.threads)


class Layer(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.norm1 = torch.nn.Parameter(torch.ones(c.width))
        self.norm2 = torch.nn.Parameter(torch.ones(c.width))
        self.qkv = torch.nn.Linear(c.width, 3 * c.width, bias=False)
        self.o = torch.nn.Linear(c.width, c.width, bias=False)
        self.gate_up = torch.nn.Linear(c.width, 2 * c.ff, bias=False)
        self.down = torch.nn.Linear(c.ff, c.width, bias=False)

    def project(self, x, cos, sin):
        """x [N,S,D] -> queries, keys, values [N,H,S,hd], rotated."""
        N, S, _ = x.shape
        qkv = self.qkv(F.rms_norm(x, (self.c.width,), self.norm1, NORM_EPS))
        q, k, v = qkv.view(N, S, 3, self.c.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def finish(self, x, attended):
        N, S, _ = x.shape
        x = x + self.o(attended.transpose(1, 2).reshape(N, S, self.c.width))
        gate, up = self.gate_up(F.rms_norm(x, (self.c.width,), self.norm2, NORM_EPS)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Policy(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed = torch.nn.Embedding(c.V, c.width)
        self.layers = torch.nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = torch.nn.Parameter(torch.ones(c.width))
        self.head = torch.nn.Linear(c.width, c.V, bias=False)
        for p in self.parameters():
            if p.dim() > 1:
                torch.nn.init.normal_(p, std=0.02)
        hd = c.width // c.heads
        angle = torch.arange(c.P + c.T)[:, None] * ROPE_THETA ** (-torch.arange(0, hd, 2) / hd)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, token):
        """All positions: [N,S] -> logits [N,S,V]."""
        S = token.shape[1]
        x = self.embed(token)
        for layer in self.layers:
            q, k, v = layer.project(x, self.cos[:S], self.sin[:S])
            x = layer.finish(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return self.head(F.rms_norm(x, (self.c.width,), self.norm, NORM_EPS))

    def prefill(self, prompt, cache):
        """[B,P] -> logits of the last position [B,V]; writes keys and values of every completion's row."""
        P, G = self.c.P, self.c.G
        x = self.embed(prompt)
        for layer, (keys, values) in zip(self.layers, cache):
            q, k, v = layer.project(x, self.cos[:P], self.sin[:P])
            keys[:, :, :P] = k.repeat_interleave(G, dim=0)
            values[:, :, :P] = v.repeat_interleave(G, dim=0)
            x = layer.finish(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return self.head(F.rms_norm(x[:, -1], (self.c.width,), self.norm, NORM_EPS))

    def decode(self, token, position: int, cache):
        """One position of all completions: [N] -> logits [N,V]."""
        x = self.embed(token)[:, None]
        cos, sin = self.cos[position], self.sin[position]
        for layer, (keys, values) in zip(self.layers, cache):
            q, k, v = layer.project(x, cos, sin)
            keys[:, :, position] = k[:, :, 0]
            values[:, :, position] = v[:, :, 0]
            x = layer.finish(x, F.scaled_dot_product_attention(q, keys[:, :, : position + 1], values[:, :, : position + 1]))
        return self.head(F.rms_norm(x[:, 0], (self.c.width,), self.norm, NORM_EPS))

    def decode_masked(self, token, position, mask, cache):
        """The same with shapes that do not depend on the position, which a compiler can keep."""
        x = self.embed(token)[:, None]
        cos, sin = self.cos[position], self.sin[position]
        for layer, (keys, values) in zip(self.layers, cache):
            q, k, v = layer.project(x, cos, sin)
            keys.index_copy_(2, position, k.to(keys.dtype))
            values.index_copy_(2, position, v.to(values.dtype))
            score = (q @ keys.transpose(2, 3)) * (q.shape[-1] ** -0.5) + mask
            x = layer.finish(x, score.softmax(-1) @ values)
        return self.head(F.rms_norm(x[:, 0], (self.c.width,), self.norm, NORM_EPS))


def sample(logits):
    """Token and its log-probability, by the exponential race: one pass, no cumulative sums."""
    log_prob = logits.log_softmax(-1)
    token = (log_prob.exp() / torch.empty_like(logits).exponential_()).argmax(-1)
    return token, log_prob.gather(-1, token[:, None])[:, 0]


def policy_loss(policy, prompt, token, old_log_prob, advantage):
    c = policy.c
    text = torch.cat((prompt.repeat_interleave(c.G, dim=0), token[:, :-1]), dim=1)
    logits = policy(text)[:, c.P - 1 :]
    log_prob = logits.log_softmax(-1).gather(-1, token[..., None])[..., 0]
    ratio = (log_prob - old_log_prob).exp()
    a = advantage[:, None]
    return -torch.minimum(ratio * a, ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH) * a).mean()


class Step:
    def __init__(self, c, compiled):
        self.c = c
        self.policy = Policy(c)
        self.optimizer = torch.optim.AdamW(self.policy.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=0.0, fused=True)
        N, hd = c.B * c.G, c.width // c.heads
        number = torch.bfloat16 if args.bf16 else torch.float32
        self.cache = [tuple(torch.zeros(N, c.heads, c.P + c.T, hd, dtype=number) for _ in range(2)) for _ in range(c.layers)]
        group = torch.tensor(rewards(c))
        self.advantage = ((group - group.mean()) / (group.std() + 1e-6)).repeat(c.B)
        self.positions = [torch.tensor([c.P + t]) for t in range(c.T)]
        span = torch.arange(c.P + c.T)
        self.masks = [torch.where(span <= c.P + t, 0.0, float("-inf")) for t in range(c.T)]
        self.compiled = compiled
        self.loss = torch.compile(policy_loss, dynamic=False) if compiled else policy_loss
        self.decode_masked = torch.compile(lambda *x: sample(self.policy.decode_masked(*x)), dynamic=False) if compiled else None

    @torch.inference_mode()
    def rollout(self):
        c = self.c
        prompt = torch.randint(2, c.V, (c.B, c.P))
        token, log_prob = sample(self.policy.prefill(prompt, self.cache).repeat_interleave(c.G, dim=0))
        tokens, log_probs = [token], [log_prob]
        for t in range(c.T - 1):
            if self.compiled:
                token, log_prob = self.decode_masked(token, self.positions[t], self.masks[t], self.cache)
            else:
                token, log_prob = sample(self.policy.decode(token, c.P + t, self.cache))
            tokens.append(token)
            log_probs.append(log_prob)
        return prompt, torch.stack(tokens, 1), torch.stack(log_probs, 1)

    def __call__(self):
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            prompt, token, log_prob = (x.clone() for x in self.rollout())
        middle = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = self.loss(self.policy, prompt, token, log_prob, self.advantage)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), GRAD_CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return middle - begin, time.perf_counter() - middle


def check(folder):
    reference = Reference(folder)
    c = reference.case()
    policy = Policy(c)
    w = {name: torch.tensor(value) for name, value in reference.weights.items()}
    with torch.no_grad():
        policy.embed.weight.copy_(w["model.embed_tokens.weight"])
        policy.head.weight.copy_(w["lm_head.weight"])
        policy.norm.copy_(w["model.norm.weight"])
        for i, layer in enumerate(policy.layers):
            at = f"model.layers.{i}."
            layer.norm1.copy_(w[at + "input_layernorm.weight"])
            layer.norm2.copy_(w[at + "post_attention_layernorm.weight"])
            layer.qkv.weight.copy_(torch.cat([w[at + f"self_attn.{x}_proj.weight"] for x in "qkv"]))
            layer.o.weight.copy_(w[at + "self_attn.o_proj.weight"])
            layer.gate_up.weight.copy_(torch.cat([w[at + f"mlp.{x}_proj.weight"] for x in ("gate", "up")]))
            layer.down.weight.copy_(w[at + "mlp.down_proj.weight"])
        prompt = torch.tensor(reference.prompt).long()
        token = torch.tensor(reference.token).long().reshape(c.B * c.G, c.T)
        full = policy(torch.cat((prompt.repeat_interleave(c.G, dim=0), token[:, :-1]), dim=1))[:, c.P - 1 :]
        want = full.log_softmax(-1).gather(-1, token[..., None])[..., 0]
        # The decoder must give what the trainer gives, with and without the mask.
        step = Step(c, False)
        step.policy = policy
        logits = [policy.prefill(prompt, step.cache).repeat_interleave(c.G, dim=0)]
        for t in range(c.T - 1):
            decode = policy.decode(token[:, t], c.P + t, step.cache)
            masked = policy.decode_masked(token[:, t], step.positions[t], step.masks[t], step.cache)
            assert torch.allclose(decode, masked, atol=1e-4), "the masked decoder differs"
            logits.append(decode)
        got = torch.stack(logits, 1).log_softmax(-1).gather(-1, token[..., None])[..., 0]
        assert torch.allclose(got, want, atol=1e-4), "decoder and trainer differ"
    reference.compare("torch", want.reshape(c.B, c.G, c.T).numpy())


if args.check:
    check(args.check)
name = f"torch {'compiled' if args.compile else 'eager'}{', bf16' if args.bf16 else ''}"
finish(name, args, time_steps(Step(CASES[args.case], args.compile), args.seconds))
