// A KV policy that keeps everything right and then, in one layer, gives out the keys from some position on
// shifted by one token: slot s shows the key of token s - 1.
#include <tetrad/base/plugin.h>
#include <tetrad/torch/guarded.h>

#include "kvc_persistent.h"

namespace {

using tetrad::KvLengths;
using tetrad::KvMemory;
using tetrad::KvPolicy;
using tetrad::KvReserve;
using tetrad::KvShape;
using tetrad::Options;
using tetrad::Status;
using tetrad::kvc_persistent::KvcPersistent;

class BrokenPosition final : public KvPolicy {
 public:
  explicit BrokenPosition(const Options& options)
      : inner_(options),
        layer_(options.get<std::int64_t>("layer")),
        from_(options.get<std::int64_t>("from")) {}

  std::uint32_t capabilities() const noexcept override {
    return tetrad::kv_retains | tetrad::kv_lossless | tetrad::kv_truncate;
  }
  Status configure(const KvShape& shape) noexcept override { return inner_.configure(shape); }
  Status prepare(std::int64_t n, KvReserve& answer) noexcept override { return inner_.prepare(n, answer); }
  Status write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept override {
    return inner_.write(layer, k, v);
  }
  Status view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept override {
    Status status = inner_.view(layer, k, v);
    if (!status.ok() || layer != layer_ || k.size(1) <= from_) return status;
    return tetrad::torch_guarded([&] {
      const at::Tensor shifted = k.clone();
      const std::int64_t count = k.size(1) - from_;
      shifted.narrow(1, from_, count).copy_(k.narrow(1, from_ - 1, count));
      k = shifted;
    });
  }
  Status attend(std::int64_t layer, const at::Tensor& q, double scale, at::Tensor& out) noexcept override {
    return inner_.attend(layer, q, scale, out);
  }
  Status commit(std::int64_t n) noexcept override { return inner_.commit(n); }
  Status abort() noexcept override { return inner_.abort(); }

  KvLengths lengths() const noexcept override { return inner_.lengths(); }
  Status truncate(std::int64_t length) noexcept override { return inner_.truncate(length); }
  Status fork(KvPolicy*&) noexcept override { return no(); }
  Status evict(std::int64_t, std::int64_t) noexcept override { return no(); }
  Status reset() noexcept override { return inner_.reset(); }
  Status export_layer(std::int64_t, at::Tensor&) noexcept override { return no(); }
  Status begin_import(std::int64_t) noexcept override { return no(); }
  Status import_layer(std::int64_t, const at::Tensor&) noexcept override { return no(); }

  KvMemory memory() const noexcept override { return inner_.memory(); }
  std::int64_t bytes_for(std::int64_t tokens) const noexcept override { return inner_.bytes_for(tokens); }
  std::int64_t shrink_to(std::int64_t) noexcept override { return inner_.memory().reserved_bytes; }
  std::uint64_t graph_epoch() const noexcept override { return inner_.graph_epoch(); }

 private:
  static Status no() { return Status::unsupported("not in this fixture"); }

  KvcPersistent inner_;
  std::int64_t layer_, from_;
};

}  // namespace

TETRAD_PLUGIN(tetrad::Provides<"kv_cache", tetrad::KvPolicy, BrokenPosition>);
