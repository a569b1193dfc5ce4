#pragma once
/// Sizes of a Llama-shaped decoder.

#include "core/base/describe.hpp"

namespace motley {

/// Of the layers' matrix products; weights, sums, attention and everything else are float.
enum class Precision : int { fp32, bf16 };
template <>
struct EnumNames<Precision> {
  static constexpr std::array<std::string_view, 2> names = {"fp32", "bf16"};
};

struct TransformerConfig {
  int layers = 2;     ///< L
  int width = 64;     ///< D
  int heads = 4;      ///< H
  int kv_heads = 4;   ///< grouped-query: heads % kv_heads == 0
  int ff = 192;       ///< inner width of the SwiGLU block
  bool tied = false;  ///< the head shares the embedding
  double rope_theta = 10000.0;
  double norm_eps = 1e-5;
  Precision precision = Precision::fp32;
  // Set from the task, not options:
  int vocab = 0;          ///< V
  int max_positions = 0;  ///< P + T
  bool causal = true;     ///< false for the pair classifier's encoder

  int head_dim() const { return width / heads; }
  int kv_width() const { return kv_heads * head_dim(); }
};

template <class C, class Visitor>
void describe(C& c,
              Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, TransformerConfig> {
  v("model.layers", c.layers, between(1, 128), "1", "transformer layers");
  v("model.width", c.width, between(8, 8192), "1", "width of the residual stream");
  v("model.heads", c.heads, between(1, 128), "1", "attention heads; divides model.width");
  v("model.kv_heads", c.kv_heads, between(1, 128), "1", "key-value heads; divides model.heads");
  v("model.ff", c.ff, between(8, 65536), "1", "inner width of the SwiGLU block");
  v("model.tied", c.tied, any_value, "1", "the output head shares the embedding");
  v("model.rope_theta", c.rope_theta, between(1, 1e9), "1", "base of the rotary frequencies");
  v("model.norm_eps", c.norm_eps, Range{.low = 0, .high = 1, .low_open = true}, "1",
    "epsilon inside the root of RMSNorm");
  v("model.precision", c.precision, any_value, "1",
    "operands of the layers' matrix products, in pretraining too; sums, weights and attention are fp32");
}

enum class ClassifierForm : int { bi_encoder, cross_encoder };
template <>
struct EnumNames<ClassifierForm> {
  static constexpr std::array<std::string_view, 2> names = {"bi_encoder", "cross_encoder"};
};
enum class Symmetrize : int { none, mean, both, either };
template <>
struct EnumNames<Symmetrize> {
  static constexpr std::array<std::string_view, 4> names = {"none", "mean", "and", "or"};
};

struct ClassifierConfig {
  ClassifierForm form = ClassifierForm::bi_encoder;
  int layers = 2;
  int width = 48;
  int heads = 4;
  int ff = 144;
  int steps = 400;
  int batch = 128;  ///< pairs per step
  double lr = 1e-3;
  Symmetrize symmetrize = Symmetrize::none;
  double train_noise = 0.0;
};

template <class C, class Visitor>
void describe(C& c, Visitor&& v) requires std::is_same_v<std::remove_const_t<C>, ClassifierConfig> {
  v("classifier.form", c.form, any_value, "1",
    "bi_encoder embeds each completion once; cross_encoder reads every pair (the paper's)");
  v("classifier.layers", c.layers, between(1, 64), "1", "encoder layers");
  v("classifier.width", c.width, between(8, 4096), "1", "encoder width");
  v("classifier.heads", c.heads, between(1, 128), "1", "encoder heads; divides classifier.width");
  v("classifier.ff", c.ff, between(8, 16384), "1", "inner width of the encoder's SwiGLU block");
  v("classifier.steps", c.steps, between(0, 1e6), "1", "training steps");
  v("classifier.batch", c.batch, between(2, 1e5), "1", "labelled pairs per training step");
  v("classifier.lr", c.lr, Range{.low = 0, .high = 1, .low_open = true}, "1", "peak learning rate");
  v("classifier.symmetrize", c.symmetrize, any_value, "1",
    "how the two orders of a pair are combined; the official code asks one order only");
  v("classifier.train_noise", c.train_noise, between(0, 0.5), "1",
    "share of training labels flipped");
}

}  // namespace motley
