// Optimizer state that lies in pinned host memory and is on the device for its update alone (option `offload:
// pinned`). Copies run on two streams of their own, one for each direction, so that while one parameter is
// updated the state of the next comes and that of the last one goes. Device copies live in one ring of bytes,
// as large as the largest state and twice the second largest; a place is taken again when what left it is
// back in host memory. Streams wait for events, the host for nothing but settle().
//
// On the CPU there is no stream and no pinned memory: copies are plain ones. No plugin offers that; it is
// there so that a machine without a device tests the order of things.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "optim/param_state.h"

namespace tetrad::optim {

// States smaller than this stay where they are: a copy costs more than they free.
inline constexpr std::int64_t kLeastOffloaded = std::int64_t{64} << 10;

class PinnedStates {
 public:
  explicit PinnedStates(at::Device device);
  ~PinnedStates();
  PinnedStates(const PinnedStates&) = delete;
  PinnedStates& operator=(const PinnedStates&) = delete;

  // Moves the tensors of state.movable() to host memory. `state` outlives this.
  void adopt(ParamState& state);
  bool holds(const ParamState& state) const { return moved_.contains(&state); }

  // Makes the state's tensors device ones, ready for the current stream, and begins to fetch `next` (null:
  // nothing is known), whose turn is expected to come.
  void bring(ParamState& state, ParamState* next);
  // After the work on a state that was brought is enqueued: its tensors are host ones again, and their
  // contents follow. Reading them on the host needs settle().
  void send(ParamState& state);
  // Waits until every host copy is what it should be. What was fetched ahead is dropped.
  void settle();

  std::int64_t pinned_bytes() const noexcept { return pinned_bytes_; }
  std::int64_t device_bytes() const noexcept {
    return ring_.defined() ? static_cast<std::int64_t>(ring_.nbytes()) : 0;
  }
  // Fetches that were of use, of all brought states: for tests.
  std::int64_t fetched_ahead() const noexcept { return fetched_ahead_; }

  // The ring's bytes for states of these sizes, in any order.
  static std::int64_t ring_bytes(std::vector<std::int64_t> sizes);

 private:
  using Mark = std::shared_ptr<c10::Event>;  // null on the CPU

  struct Moved {
    std::vector<at::Tensor> host;  // in the order of movable()
    std::int64_t bytes = 0;        // of them, each from a multiple of 256 on
    Mark returned;                 // the host copy is complete after it
  };
  struct Place {  // of the ring
    ParamState* state = nullptr;
    std::int64_t begin = 0, end = 0;
    bool busy = true;  // not sent back yet
    Mark ready;        // the device copy is complete
    Mark returned;     // and left
  };

  Mark mark(const std::optional<c10::Stream>& stream) const;
  std::optional<c10::Stream> current() const;
  void wait(const std::optional<c10::Stream>& stream, const Mark& mark) const;
  // Copies the state into the ring; false where its place is in use.
  bool fetch(ParamState& state);
  std::deque<Place>::iterator place_of(const ParamState& state);
  std::vector<at::Tensor> views(const Moved& moved, std::int64_t begin) const;
  void copy(const std::vector<at::Tensor>& from, const std::vector<at::Tensor>& to,
            const std::optional<c10::Stream>& stream) const;

  at::Device device_;
  std::optional<c10::Stream> in_, out_;
  at::Tensor ring_;
  std::int64_t cursor_ = 0;
  std::unordered_map<const ParamState*, Moved> moved_;
  std::deque<Place> places_;  // in the order in which they were taken
  std::int64_t pinned_bytes_ = 0, fetched_ahead_ = 0;
};

}  // namespace tetrad::optim
