"""The same step by TRL's GRPOTrainer on a Llama of the same shape, completions of exactly T tokens.

    trl_step.py --case S --threads 2
"""

import statistics
import tempfile
import time

from common import BETAS, CASES, CLIP_HIGH, CLIP_LOW, GRAD_CLIP, LEARNING_RATE, NORM_EPS, ROPE_THETA, Reference, arguments, finish, rewards

args = arguments()

import torch  # noqa: E402  (after the threads are set)
import transformers  # noqa: E402
from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

torch.set_num_threads(args.threads)
transformers.logging.set_verbosity_error()


def tokenizer_of(c):
    words = {"<pad>": 0, "<eos>": 1, **{f"t{v}": v for v in range(2, c.V)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", padding_side="left")


def model_of(c):
    config = transformers.LlamaConfig(
        vocab_size=c.V, hidden_size=c.width, num_hidden_layers=c.layers, num_attention_heads=c.heads, num_key_value_heads=c.heads,
        intermediate_size=c.ff, max_position_embeddings=c.P + c.T, rms_norm_eps=NORM_EPS, rope_theta=ROPE_THETA, tie_word_embeddings=False,
        pad_token_id=0, eos_token_id=1, bos_token_id=None)
    return transformers.LlamaForCausalLM(config)


class StepClock(transformers.TrainerCallback):
    def __init__(self):
        self.marks = []

    def on_step_end(self, *_, **__):
        self.marks.append(time.perf_counter())


def train(c, seconds):
    draw = torch.Generator().manual_seed(0)
    texts = [" ".join(f"t{v}" for v in torch.randint(2, c.V, (c.P,), generator=draw).tolist()) for _ in range(512)]
    group = rewards(c)
    clock = StepClock()

    def reward(completions, **_):
        return [group[i % c.G] for i in range(len(completions))]

    def run(steps, folder):
        config = GRPOConfig(
            output_dir=folder, per_device_train_batch_size=c.B * c.G, num_generations=c.G, steps_per_generation=1, num_iterations=1,
            max_completion_length=c.T, max_steps=steps, learning_rate=LEARNING_RATE, lr_scheduler_type="constant", adam_beta1=BETAS[0],
            adam_beta2=BETAS[1], max_grad_norm=GRAD_CLIP, epsilon=CLIP_LOW, epsilon_high=CLIP_HIGH, beta=0.0, temperature=1.0, use_cpu=True,
            bf16=False, fp16=False, gradient_checkpointing=False, save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
            optim="adamw_torch_fused", dataloader_num_workers=0, generation_kwargs={"min_new_tokens": c.T})
        trainer = GRPOTrainer(model=model_of(c), reward_funcs=reward, args=config, train_dataset=Dataset.from_dict({"prompt": texts}),
                              processing_class=tokenizer_of(c), callbacks=[clock])
        trainer.train()

    with tempfile.TemporaryDirectory() as folder:
        run(4, folder)
        one = clock.marks[-1] - clock.marks[-2]
        clock.marks.clear()
        run(2 + max(3, min(200, round(seconds / one))), folder)
    lengths = [b - a for a, b in zip(clock.marks[1:], clock.marks[2:])]
    return {"step_s": statistics.median(lengths), "rollout_s": None, "update_s": None, "steps": len(lengths)}


def check(folder):
    reference = Reference(folder)
    model = transformers.LlamaForCausalLM.from_pretrained(f"{folder}/hf", dtype=torch.float32)
    B, G, T = reference.token.shape
    P = reference.prompt.shape[1]
    prompt = torch.tensor(reference.prompt).long().repeat_interleave(G, dim=0)
    token = torch.tensor(reference.token).long().reshape(B * G, T)
    with torch.no_grad():
        logits = model(torch.cat((prompt, token[:, :-1]), dim=1)).logits[:, P - 1 :]
    got = logits.log_softmax(-1).gather(-1, token[..., None])[..., 0]
    reference.compare("trl", got.reshape(B, G, T).numpy())


if args.check:
    check(args.check)
finish("trl", args, train(CASES[args.case], args.seconds))
