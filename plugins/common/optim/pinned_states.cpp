#include "optim/pinned_states.h"

#include <ATen/ops/empty.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "optim/optimizer_base.h"

namespace tetrad::optim {
namespace {

constexpr std::int64_t kAlign = 256;  // as the device's allocator gives; kernels load 16 bytes at once

std::int64_t aligned(std::int64_t bytes) {
  return (bytes + kAlign - 1) / kAlign * kAlign;
}

}  // namespace

PinnedStates::PinnedStates(at::Device device) : device_(device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl guard(device.type());
  if (!device_.has_index()) device_ = guard.getDevice();
  in_ = guard.getStreamFromGlobalPool(device_);
  out_ = guard.getStreamFromGlobalPool(device_);
}

PinnedStates::~PinnedStates() {
  // Copies under way read and write memory of this object.
  if (in_) in_->synchronize();
  if (out_) out_->synchronize();
}

std::optional<c10::Stream> PinnedStates::current() const {
  if (!in_) return std::nullopt;
  return c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
}

PinnedStates::Mark PinnedStates::mark(const std::optional<c10::Stream>& stream) const {
  if (!stream) return nullptr;
  auto event = std::make_shared<c10::Event>(device_.type());
  event->record(*stream);
  return event;
}

void PinnedStates::wait(const std::optional<c10::Stream>& stream, const Mark& mark) const {
  if (stream && mark) mark->block(*stream);
}

void PinnedStates::adopt(ParamState& state) {
  Moved moved;
  for (at::Tensor* tensor : state.movable()) {
    at::Tensor host =
        at::empty(tensor->sizes(), tensor->options().device(at::kCPU).pinned_memory(!device_.is_cpu()));
    host.copy_(*tensor);
    moved.bytes += aligned(static_cast<std::int64_t>(host.nbytes()));
    pinned_bytes_ += static_cast<std::int64_t>(host.nbytes());
    *tensor = host;
    moved.host.push_back(std::move(host));
  }
  if (ring_.defined()) {  // another parameter may need a larger one
    settle();
    ring_ = at::Tensor();
  }
  moved_.emplace(&state, std::move(moved));
}

std::int64_t PinnedStates::ring_bytes(std::vector<std::int64_t> sizes) {
  std::sort(sizes.begin(), sizes.end(), std::greater<>());
  sizes.resize(std::max<std::size_t>(sizes.size(), 2), 0);
  return sizes[0] + 2 * sizes[1];
}

std::deque<PinnedStates::Place>::iterator PinnedStates::place_of(const ParamState& state) {
  return std::find_if(places_.begin(), places_.end(),
                      [&](const Place& place) { return place.busy && place.state == &state; });
}

std::vector<at::Tensor> PinnedStates::views(const Moved& moved, std::int64_t begin) const {
  std::vector<at::Tensor> all;
  for (const at::Tensor& host : moved.host) {
    const auto bytes = static_cast<std::int64_t>(host.nbytes());
    all.push_back(ring_.narrow(0, begin, bytes).view(host.scalar_type()).view(host.sizes()));
    begin += aligned(bytes);
  }
  return all;
}

void PinnedStates::copy(const std::vector<at::Tensor>& from, const std::vector<at::Tensor>& to,
                        const std::optional<c10::Stream>& stream) const {
  const c10::OptionalStreamGuard on = stream ? c10::OptionalStreamGuard(*stream) : c10::OptionalStreamGuard();
  for (std::size_t i = 0; i < from.size(); ++i) to[i].copy_(from[i], /*non_blocking=*/true);
}

bool PinnedStates::fetch(ParamState& state) {
  Moved& moved = moved_.at(&state);
  if (!ring_.defined()) {
    std::vector<std::int64_t> sizes;
    for (const auto& [each, other] : moved_) sizes.push_back(other.bytes);
    ring_ = at::empty({ring_bytes(std::move(sizes))}, at::TensorOptions().dtype(at::kByte).device(device_));
    wait(in_, mark(current()));  // whoever had this memory before worked on the current stream
    cursor_ = 0;
  }
  std::int64_t begin = cursor_;
  if (begin + moved.bytes > ring_.numel()) begin = 0;
  const auto overlaps = [&](const Place& place) {
    return place.begin < begin + moved.bytes && begin < place.end;
  };
  for (const Place& place : places_)
    if (overlaps(place) && place.busy) return false;
  for (const Place& place : places_)
    if (overlaps(place)) wait(in_, place.returned);
  std::erase_if(places_, overlaps);
  wait(in_, moved.returned);
  copy(moved.host, views(moved, begin), in_);
  places_.push_back({&state, begin, begin + moved.bytes, true, mark(in_), nullptr});
  cursor_ = begin + moved.bytes;
  return true;
}

void PinnedStates::bring(ParamState& state, ParamState* next) {
  auto place = place_of(state);
  if (place != places_.end()) {
    ++fetched_ahead_;
  } else {
    // What was fetched for nothing has not been changed, and makes room. Its copy may still run; the next one
    // into that place follows it on the same stream.
    std::erase_if(places_, [](const Place& other) { return other.busy; });
    if (!fetch(state)) fail(StatusCode::internal, "offload: two states are on the device at once");
    place = place_of(state);
  }
  wait(current(), place->ready);
  const std::vector<at::Tensor> here = views(moved_.at(&state), place->begin);
  const std::vector<at::Tensor*> members = state.movable();
  for (std::size_t i = 0; i < members.size(); ++i) *members[i] = here[i];
  if (next != nullptr && next != &state && holds(*next) && place_of(*next) == places_.end())
    (void)fetch(*next);
}

void PinnedStates::send(ParamState& state) {
  const auto place = place_of(state);
  Moved& moved = moved_.at(&state);
  wait(out_, mark(current()));
  copy(views(moved, place->begin), moved.host, out_);
  place->busy = false;
  place->returned = moved.returned = mark(out_);
  const std::vector<at::Tensor*> members = state.movable();
  for (std::size_t i = 0; i < members.size(); ++i) *members[i] = moved.host[i];
}

void PinnedStates::settle() {
  if (in_) in_->synchronize();
  if (out_) out_->synchronize();
  places_.clear();
}

}  // namespace tetrad::optim
