#include "parity/arm/score.h"

#include "io/safetensors_writer.h"

#include <tetrad/base/sha256.h>

#include <chrono>
#include <span>

namespace tetrad::parity {
namespace {

std::span<const std::byte> bytes_of(const at::Tensor& row) {
  return {static_cast<const std::byte*>(row.const_data_ptr()), row.nbytes()};
}

Sha256::Digest digest_of(const at::Tensor& row) {
  return Sha256().update(row.const_data_ptr(), row.nbytes()).digest();
}

}  // namespace

void feed_script(generate::Context& context, const Script& script, const Feed& feed, const RowVisit& visit,
                 const std::function<void()>& before_piece) {
  context.reset();
  for (const FeedPiece& piece : feed_pieces(feed, script)) {
    if (before_piece) before_piece();
    if (piece.recompute) context.recompute();
    const auto ids = std::span(script.ids)
                         .subspan(static_cast<std::size_t>(piece.begin),
                                  static_cast<std::size_t>(piece.end - piece.begin));
    if (ids.size() == 1) {
      visit(piece.begin, context.feed(ids).cpu().contiguous());
      continue;
    }
    context.feed_all(ids, [&](std::int64_t first, const at::Tensor& logits) {
      const at::Tensor rows = logits.cpu().contiguous();
      for (std::int64_t i = 0; i < rows.size(0); ++i) visit(first + i, rows.select(0, i));
    });
  }
}

ScoreResult score_script(generate::Context& context, const Script& script, const Feed& feed,
                         std::int64_t iterations, std::int64_t vocab, const std::filesystem::path& file,
                         const std::map<std::string, std::string>& metadata,
                         const std::function<void()>& before_piece) {
  const auto total = static_cast<std::int64_t>(script.ids.size());
  const auto start = std::chrono::steady_clock::now();
  ScoreResult result;
  std::vector<Sha256::Digest> first;
  io::SafetensorsWriter writer(
      file, {{"input_ids", io::DType::i64, {total}}, {"logits", io::DType::f32, {total, vocab}}}, metadata);
  const std::vector<std::int64_t> wide(script.ids.begin(), script.ids.end());
  writer.append("input_ids", std::as_bytes(std::span(wide)));
  const std::int64_t shown = script.first_answer_position();
  feed_script(
      context, script, feed,
      [&](std::int64_t position, const at::Tensor& row) {
        writer.append("logits", bytes_of(row));
        if (iterations > 1) first.push_back(digest_of(row));
        if (position == shown)
          result.first_token.assign(row.const_data_ptr<float>(), row.const_data_ptr<float>() + row.numel());
      },
      before_piece);
  writer.finish();
  result.kv = context.kv_memory();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (result.iterations = 1; result.iterations < iterations && !result.first_difference;
       ++result.iterations) {
    feed_script(
        context, script, feed,
        [&](std::int64_t position, const at::Tensor& row) {
          if (result.first_difference || digest_of(row) == first[static_cast<std::size_t>(position)]) return;
          result.first_difference = {result.iterations + 1, position};
        },
        before_piece);
  }
  return result;
}

}  // namespace tetrad::parity
