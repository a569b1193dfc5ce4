#!/usr/bin/env python3
"""Records what transformers makes of small Llama folders, into llama.json beside this script.

usage: make_llama.py EXPORTED       EXPORTED: a folder of `motley export RUN --to hf`
Needs torch, transformers, tokenizers. The foreign models are drawn here, so that nothing in their files is motley's.
"""

import base64
import json
import pathlib
import sys
import tempfile

import tokenizers
import torch
import transformers

WORDS = ["<unk>", "<s>", "</s>"] + [str(d) for d in range(10)] + ["\u0120ANS", "\u0120SF", "\u0120SB", "\u0120SP", "\u0120so"]
FOREIGN = {  # name -> configuration, dtype, shard size
    "grouped": (dict(hidden_size=32, intermediate_size=48, num_attention_heads=8, num_key_value_heads=2, rope_theta=1e5, rms_norm_eps=1e-6), torch.float32, "1GB"),
    "tied_bf16": (dict(hidden_size=24, intermediate_size=40, num_attention_heads=3, num_key_value_heads=3, rope_theta=500.0, rms_norm_eps=1e-3, tie_word_embeddings=True), torch.bfloat16, "1GB"),
    "sharded_f16": (dict(hidden_size=24, intermediate_size=40, num_attention_heads=2, num_key_value_heads=1), torch.float16, "6KB"),
}


def make(name, out):
    sizes, dtype, shard = FOREIGN[name]
    config = transformers.LlamaConfig(vocab_size=len(WORDS), num_hidden_layers=2, max_position_embeddings=64, initializer_range=0.3, bos_token_id=1, eos_token_id=2, **sizes)
    torch.manual_seed(sorted(FOREIGN).index(name))
    transformers.LlamaForCausalLM(config).to(dtype).save_pretrained(out, max_shard_size=shard)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={w: i for i, w in enumerate(WORDS)}, merges=[], unk_token="<unk>"))
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>").save_pretrained(out)


def record(folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    generator = torch.Generator().manual_seed(5)
    texts = []
    for n in (1, 4, 9):
        token = torch.randint(2, model.config.vocab_size, (1, n), generator=generator)
        with torch.no_grad():
            logits = model(token).logits[0]
            greedy = model.generate(token, attention_mask=torch.ones_like(token), do_sample=False, max_new_tokens=8, pad_token_id=0)[0, n:]
        texts.append({"token": token[0].tolist(), "logits": [[round(x, 6) for x in row] for row in logits.tolist()], "greedy": greedy.tolist()})
    files = {}
    for path in sorted(pathlib.Path(folder).iterdir()):
        text = base64.b64encode(path.read_bytes()).decode()
        files[path.name] = [text[i : i + 100] for i in range(0, len(text), 100)]
    return {"files": files, "texts": texts}


def main():
    cases = {"exported": record(sys.argv[1])}
    for name in FOREIGN:
        with tempfile.TemporaryDirectory() as out:
            make(name, out)
            cases[name] = record(out)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, tokenizers)}
    path = pathlib.Path(__file__).with_name("llama.json")
    path.write_text(json.dumps({"versions": versions, "cases": cases}, indent=1) + "\n")
    print(versions, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
