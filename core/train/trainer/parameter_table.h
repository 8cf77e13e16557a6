// The table of all parameters that a training run prints and stores: elements and, for each of w, grad, m, v
// and master, storage format and bytes. Every parameter of the model is in it, the frozen ones too.
#pragma once

#include "train/trainer/optimizer_states.h"

#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tetrad::train {

class ParameterTable {
 public:
  ParameterTable(const std::deque<Parameter>& parameters, const OptimizerStates& states,
                 const TrainSettings& settings);

  // Rows of equal kind (the same tensor of each layer) on one line; the last line says bytes per parameter.
  std::string text() const;
  nlohmann::json json() const;
  // Bytes of weights, of stored gradients (0 in immediate mode), and of m, v and master.
  struct Totals {
    std::int64_t elements = 0, trained = 0, w = 0, grad = 0, m = 0, v = 0, master = 0;
    std::int64_t all() const noexcept { return w + grad + m + v + master; }
  };
  const Totals& totals() const noexcept { return totals_; }

 private:
  struct Row {
    const Parameter* parameter = nullptr;
    bool frozen = false;
    StorageTable storage;
  };
  std::vector<Row> rows_;
  Totals totals_;
};

// Bytes of a parameter's own tensors.
std::int64_t stored_bytes(const Parameter& parameter);

}  // namespace tetrad::train
