// One position's logits of two arms: the figures that a comparison is made of. Everything in double over the
// stored fp32 values; natural logarithms, so KL is in nats.
//
//   KL(reference || own) = sum_j p_j (ln p_j - ln q_j), p = softmax(reference), q = softmax(own)
#pragma once

#include <cstdint>
#include <span>

namespace tetrad::parity {

struct RowFigures {
  bool reference_finite = true, own_finite = true;  // all figures but these are 0 where one of them is false
  double kl = 0;                                    // >= 0
  double max_difference = 0;                        // max |reference - own|
  double sum_difference = 0;                        // sum of it, for the mean
  // Greatest logit; the lowest id where several are equal.
  std::int64_t reference_top = 0, own_top = 0;
  // The tops are the same token, or one side holds both for equally likely (a tie has no right answer).
  bool agrees = true;
  double reference_gap = 0;  // reference: logit of reference_top - logit of own_top, >= 0
  // Standard deviation of the reference's logits over the vocabulary: what scales a relative error of the
  // last hidden state to the KL that it makes (contract.h).
  double reference_spread = 0;
};

// Two rows of equal, positive length.
RowFigures compare_rows(std::span<const float> reference, std::span<const float> own);

}  // namespace tetrad::parity
