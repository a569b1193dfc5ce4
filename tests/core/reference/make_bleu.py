#!/usr/bin/env python3
"""Reference numbers of the lexical bonus, from NLTK's sentence_bleu. Writes bleu.json beside itself.

    pip install nltk && python3 make_bleu.py

pairs: two token strings and sentence_bleu([reference], text) with the first `order` weights of DIVER.
groups: token strings and, for each, the mean over the others of (BLEU(i|j) + BLEU(j|i)) / 2, as
calculate_belu_matrix of NJU-RL/DIVER forms it (arXiv 2509.26209).
"""

import json
import pathlib
import random
import warnings

from nltk.translate.bleu_score import sentence_bleu

WEIGHTS = (0.02, 0.1, 0.15, 0.25, 0.38)


def bleu(reference, text, order):
    return float(sentence_bleu([[str(t) for t in reference]], [str(t) for t in text], weights=WEIGHTS[:order]))


def text(draw, longest, vocab):
    return [draw.randrange(vocab) for _ in range(draw.randrange(longest + 1))]


def main():
    warnings.simplefilter("ignore")
    draw = random.Random(5)
    pairs = []
    for case in range(60):
        reference, other = text(draw, 12, 2 + case % 3), text(draw, 12, 2 + case % 3)
        if case % 4 == 0:
            other = reference[: draw.randrange(len(reference) + 1)] + other[:2]
        order = 1 + case % 5 if case % 2 else 5
        pairs.append({"reference": reference, "text": other, "order": order, "bleu": bleu(reference, other, order) if other else 0.0})
    groups = []
    for n in (2, 3, 5, 8):
        texts = [text(draw, 10, 2) or [1] for _ in range(n)]
        likeness = [sum((bleu(texts[j], texts[i], 5) + bleu(texts[i], texts[j], 5)) / 2 for j in range(n) if j != i) / (n - 1) for i in range(n)]
        groups.append({"texts": texts, "likeness": likeness})
    out = pathlib.Path(__file__).with_name("bleu.json")
    out.write_text(json.dumps({"pairs": pairs, "groups": groups}) + "\n")


if __name__ == "__main__":
    main()
