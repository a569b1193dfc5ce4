#include "experiments/bench_counts.hpp"

namespace motley {

namespace {

constexpr double kFloat = sizeof(float);

/// Forward pass of the layers for `rows` tokens whose contexts add up to `attended` positions, in
/// `calls` calls that each stream the weights once.
StageCounts forward_counts(const Net& n, double rows, double attended, double calls) {
  const double layer_weights =
      double(n.width) * n.qkv_width() + double(n.width) * n.width + 3.0 * n.width * n.ff;
  const double row_values = 8.0 * n.width + 2.0 * n.qkv_width() + 2.0 * n.width + 6.0 * n.ff;
  StageCounts c;
  c.operations = n.layers * (2.0 * layer_weights * rows + 4.0 * n.width * attended);
  c.bytes = kFloat * n.layers *
            (layer_weights * calls + row_values * rows + 2.0 * n.kv_width() * (attended + rows));
  return c;
}

StageCounts head_counts(const Net& n, double rows, double calls) {
  return {2.0 * n.width * n.vocab * rows,
          kFloat * (double(n.width) * n.vocab * calls + (n.width + 2.0 * n.vocab) * rows)};
}

StageCounts operator+(StageCounts a, const StageCounts& b) {
  return {a.operations + b.operations, a.bytes + b.bytes};
}
StageCounts operator*(double factor, const StageCounts& a) {
  return {factor * a.operations, factor * a.bytes};
}

/// Sum of 1 .. n.
double triangle(double n) {
  return n * (n + 1) / 2;
}

}  // namespace

StepCounts count_step(const Net& net, const Shape& s, const PolicyTiling& tiling, int epochs,
                      const PairNet* classifier) {
  const double prompts = double(s.R) * s.B;
  const double completions = prompts * s.G;
  // The last token of a completion is an input of nothing.
  const double inputs = completions * (s.T - 1);
  const double own = completions * (double(s.P) * (s.T - 1) + triangle(s.T - 1));
  StepCounts c;
  c.sampled_tokens = c.trained_tokens = completions * s.T;
  c.trained_tokens *= epochs;
  c.pairs = completions * (s.G - 1) / 2;

  // A sequence of T positions per tile of groups; how many groups share one is the kernel's choice,
  // so the weights are counted once per position and prompt.
  c.rollout =
      forward_counts(net, prompts * s.P + inputs, prompts * triangle(s.P) + own, prompts * s.T) +
      head_counts(net, prompts + inputs, prompts * s.T);

  const double tiles = double(s.R) * tiling.tiles(s.B);
  const StageCounts layers =
      forward_counts(net, tiles * s.P + inputs, tiles * triangle(s.P) + own, tiles);
  const StageCounts head = head_counts(net, tiles + inputs, tiles);
  c.update = (3.0 * epochs) * (layers + head);

  if (classifier != nullptr) {
    const PairNet& p = *classifier;
    const double texts = p.form == ClassifierForm::bi_encoder ? completions : c.pairs;
    const double length = p.stream_length();
    const double hidden = double(p.width()) * p.features;
    c.classifier = forward_counts(p.encoder, texts * length, texts * length * length, texts) +
                   StageCounts{2.0 * (hidden + p.width()) * c.pairs,
                               kFloat * (hidden + p.features + 2.0 * p.width()) * c.pairs};
  }
  return c;
}

}  // namespace motley
