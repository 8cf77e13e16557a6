// Optimizer: plugin kind "optimizer". It owns the optimizer state of every parameter (m, v and, where it
// keeps one, the master copy), decides in which format a trained parameter is stored, and updates a parameter
// in its own storage, out of a gradient that the host's sink hands over. It never sees the graph, the
// schedule or the clipping rule: those arrive as numbers in StepFactors.
//
// Threads: calls come from one host thread at a time; an optimizer may use libtorch's pool inside. Streams:
// on a CUDA device work goes to the current stream of the tensors' device and nothing synchronises (proof()
// and restore() may). Lifecycle: configure once -> prepare every parameter -> any order of the rest ->
// destroyed by the host. Errors: every call returns a Status (status.h); a call that fails for its arguments
// has changed nothing.
//
// Randomness: stochastic rounding draws come from a counter generator keyed by (setup.seed, parameter.name)
// and counted by (StepFactors::step, element), so an update depends on no other call and on no launch shape.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/base/status.h>
#include <tetrad/torch/capability.h>
#include <tetrad/torch/parameter.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tetrad {

struct OptimizerSetup {
  at::Device device = at::kCPU;
  bool deterministic = false;
  std::uint64_t seed = 0;
  bool unified_memory = false;  // the device has no memory of its own: it shares the host's
};

// Index of a prepared parameter in its optimizer.
using StateId = std::int32_t;

// What the host's sink stores for a parameter whose gradient waits for its update (two-phase).
enum class GradientFormat : std::uint8_t {
  fp32,   // dense
  bf16,   // dense
  nvfp4,  // one plane, blocks of 16 along a row
};

// One gradient. Exactly one of `dense` and `planes` is set; any optimizer takes both for any parameter whose
// gradient format is nvfp4, and dense ones of either type for the others. It is read only, and may be freed
// or written over when update() has returned (on CUDA: by later work of the same stream).
struct Gradient {
  at::Tensor dense;  // fp32 or bf16 [shape], contiguous
  Planes planes;     // codes and scales [N, Kp / 2], [N, Kp / 16]; no lo plane
  // fp32 [1] on the device: the planes' global scale where the host does not know it (it then replaces
  // planes.decode_scale); undefined otherwise.
  at::Tensor decode_scale;
};

// The numbers of one step, the same for every parameter.
struct StepFactors {
  // Count of updates, from 1: bias correction and random draws. A step that was skipped may use its number
  // again.
  std::int64_t step = 1;
  double lr = 0.0;
  // fp32 [1] on the device, multiplies the gradient (clip factor, 1 / loss scale); undefined means 1.
  at::Tensor scale;
  // int32 [1] on the device; undefined means 0 and forbids nothing. Not 0: update() changes nothing. An
  // update that meets a non-finite gradient leaves the block of 16 (or element) it is in untouched and makes
  // a 0 here its StateId + 1, which stops later updates: the step is torn, and the host must not save it.
  at::Tensor stop;
  bool measure = false;  // fill proof(); costs a temporary copy of each parameter
  // Above 0: each gradient is scaled down further, parameter by parameter, to this root mean square of what
  // it alone would move: with g the gradient times `scale` and v' the corrected second moment that it would
  // make, rms = sqrt(mean(g^2 / max(v', eps^2))) (StableAdamW, arXiv:2304.13013), and the gradient is
  // multiplied by min(1, max_update_rms / rms). Every item then has `update_rms`.
  double max_update_rms = 0.0;
};

struct UpdateItem {
  StateId state = -1;
  Gradient gradient;
  // fp32 [1] on the device where StepFactors::max_update_rms is above 0, undefined otherwise: update() writes
  // rms here, before it is limited.
  at::Tensor update_rms;
};

// How one of a parameter's tensors is stored.
struct Storage {
  std::string format = "none";  // "fp32", "bf16", "nvfp4", "nvfp4 hi+lo", "int8", ...
  std::int64_t bytes = 0;       // scales included
};

// A row of the parameter table.
struct StorageTable {
  Storage w;
  Storage grad;  // as a sink of two-phase training stores it
  Storage m;
  Storage v;
  Storage master;
  GradientFormat gradient = GradientFormat::fp32;
  // m, v and master lie in pinned host memory, and are on the device for their update alone.
  bool state_on_host = false;

  std::int64_t state_bytes() const noexcept { return m.bytes + v.bytes + master.bytes; }
};

// What the last update with StepFactors::measure did to one parameter.
struct UpdateProof {
  std::int64_t step = 0;         // 0: none was measured
  double weights_changed = 0.0;  // share of stored elements whose value changed
  double state_moved = 0.0;      // share of elements of m that are not 0
  double relative_change = 0.0;  // |w_new - w_old| / |w_old|, Euclidean, of the decoded values; 0 / 0 is 0
  double decay_part = 0.0;       // the same for weight decay alone: lr * weight_decay
};

// A tensor of the state, as checkpoints store it.
struct NamedTensor {
  std::string name;  // "m.codes", "v.scales", ...; unique within a parameter
  at::Tensor tensor;
};

struct OptimizerMemory {
  std::int64_t device_bytes = 0;  // state on the setup's device (host memory when that is the CPU)
  std::int64_t pinned_bytes = 0;  // state offloaded to pinned host memory
  std::int64_t workspace_bytes = 0;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // What would run under `setup`. May be asked before configure().
  virtual Capability capability(const OptimizerSetup& setup) const noexcept = 0;
  virtual Status configure(const OptimizerSetup& setup) noexcept = 0;

  // Registers a parameter that lives as long as the optimizer: makes its state (m = v = 0) and converts the
  // parameter's storage, dense or planes, to the format that this optimizer keeps (parameter.format says
  // which afterwards; the version is bumped if bits changed). A parameter that has this format already is
  // left bit for bit. No second copy of the weight stays, but for a master where the options ask for one.
  // Names must be unique. Refuses a parameter with non-finite values (numerics).
  virtual Status prepare(Parameter& parameter, double weight_decay, StateId& state) noexcept = 0;

  // One step of every item's parameter, in its own storage; bumps each parameter's version. A parameter may
  // occur once. All gradients of a step may come in one call (two-phase) or one by one (immediate).
  virtual Status update(std::span<const UpdateItem> items, const StepFactors& factors) noexcept = 0;

  // The row of a prepared parameter, with true bytes.
  virtual Status describe(StateId state, StorageTable& table) const noexcept = 0;
  // The row that a parameter of this shape and role, now stored as `format`, would have after prepare(): for
  // forecasts. Allocates nothing and needs no configure().
  virtual Status forecast(std::span<const std::int64_t> shape, Role role, Format format,
                          StorageTable& table) const noexcept = 0;

  // The state's own tensors, not copies: all that a checkpoint must hold beside the parameter itself. Their
  // addresses may change with every update.
  virtual Status state(StateId state, std::vector<NamedTensor>& tensors) noexcept = 0;
  // Overwrites the state with the tensors of a checkpoint, on any device. Names, shapes and types must be
  // those that state() gives; otherwise nothing is changed. The caller restores the parameter itself, before.
  virtual Status restore(StateId state, std::span<const NamedTensor> tensors) noexcept = 0;
  // Names arithmetic and layout of the state; a checkpoint with another text cannot be resumed.
  virtual std::string state_format() const noexcept = 0;

  virtual Status proof(StateId state, UpdateProof& proof) noexcept = 0;
  virtual OptimizerMemory memory() const noexcept = 0;
};

inline const char* gradient_format_name(GradientFormat format) noexcept {
  switch (format) {
    case GradientFormat::fp32:
      return "fp32";
    case GradientFormat::bf16:
      return "bf16";
    case GradientFormat::nvfp4:
      return "nvfp4";
  }
  return "unknown";
}

}  // namespace tetrad
