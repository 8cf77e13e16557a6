#include "train/trainer/parameter_table.h"

#include "train/trainer/bytes_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <utility>

namespace tetrad::train {
namespace {

std::int64_t bytes_of(const at::Tensor& t) {
  return t.defined() ? static_cast<std::int64_t>(t.nbytes()) : 0;
}

// "model.layers.3.mlp.up_proj.weight" -> "model.layers.*.mlp.up_proj.weight".
std::string kind_of(const std::string& name) {
  constexpr std::string_view layers = "model.layers.";
  if (!name.starts_with(layers)) return name;
  const std::size_t dot = name.find('.', layers.size());
  return dot == std::string::npos ? name : "model.layers.*" + name.substr(dot);
}

nlohmann::json storage_json(const Storage& storage) {
  return {{"format", storage.format}, {"bytes", storage.bytes}};
}

std::string cell(const std::string& format, std::int64_t bytes) {
  if (format == "none") return "none";
  return fmt::format("{} {}", format, bytes_text(bytes));
}

}  // namespace

std::int64_t stored_bytes(const Parameter& p) {
  return bytes_of(p.dense) + bytes_of(p.planes.codes) + bytes_of(p.planes.scales) +
         bytes_of(p.planes.lo_codes) + bytes_of(p.planes.lo2_codes) + (p.planes.codes.defined() ? 4 : 0);
}

ParameterTable::ParameterTable(const std::deque<Parameter>& parameters, const OptimizerStates& states,
                               const TrainSettings& settings) {
  for (const Parameter& parameter : parameters) {
    Row row;
    row.parameter = &parameter;
    row.frozen = !states.trains(parameter);
    if (row.frozen)
      row.storage.w = {format_name(parameter.format), stored_bytes(parameter)};
    else
      row.storage = states.storage(parameter);
    if (settings.gradients == GradientMode::immediate) row.storage.grad = {};
    totals_.elements += parameter.numel();
    if (!row.frozen) totals_.trained += parameter.numel();
    totals_.w += row.storage.w.bytes;
    totals_.grad += row.storage.grad.bytes;
    totals_.m += row.storage.m.bytes;
    totals_.v += row.storage.v.bytes;
    totals_.master += row.storage.master.bytes;
    rows_.push_back(std::move(row));
  }
}

std::string ParameterTable::text() const {
  struct Line {
    std::int64_t tensors = 0, elements = 0;
    StorageTable sum;
    bool frozen = false;
  };
  std::vector<std::string> order;
  std::map<std::string, Line> lines;
  for (const Row& row : rows_) {
    // Rows join only where all their formats are the same.
    const StorageTable& s = row.storage;
    const std::string key = kind_of(row.parameter->name) + '\n' + s.w.format + '\n' + s.grad.format + '\n' +
                            s.m.format + '\n' + s.v.format + '\n' + s.master.format;
    if (!lines.contains(key)) order.push_back(key);
    Line& line = lines[key];
    ++line.tensors;
    line.elements += row.parameter->numel();
    line.frozen = row.frozen;
    const auto join = [](Storage& sum, const Storage& one) {
      sum.format = one.format;
      sum.bytes += one.bytes;
    };
    join(line.sum.w, s.w);
    join(line.sum.grad, s.grad);
    join(line.sum.m, s.m);
    join(line.sum.v, s.v);
    join(line.sum.master, s.master);
  }
  std::string text = fmt::format("{:<50} {:>4} {:>13}  {:<22} {:<18} {:<18} {:<18} {}\n", "parameter", "n",
                                 "elements", "w", "grad", "m", "v", "master");
  for (const std::string& key : order) {
    const Line& line = lines.at(key);
    text +=
        fmt::format("{:<50} {:>4} {:>13}  {:<22} {:<18} {:<18} {:<18} {}{}\n", key.substr(0, key.find('\n')),
                    line.tensors, line.elements, cell(line.sum.w.format, line.sum.w.bytes),
                    cell(line.sum.grad.format, line.sum.grad.bytes),
                    cell(line.sum.m.format, line.sum.m.bytes), cell(line.sum.v.format, line.sum.v.bytes),
                    cell(line.sum.master.format, line.sum.master.bytes), line.frozen ? "  (frozen)" : "");
  }
  const double per = static_cast<double>(totals_.all()) / static_cast<double>(totals_.elements);
  text += fmt::format(
      "{} parameters, {} trained; {} in all, {:.3f} bytes a parameter (w {:.3f}, grad {:.3f}, m {:.3f}, v "
      "{:.3f}, "
      "master {:.3f})",
      totals_.elements, totals_.trained, bytes_text(totals_.all()), per,
      static_cast<double>(totals_.w) / static_cast<double>(totals_.elements),
      static_cast<double>(totals_.grad) / static_cast<double>(totals_.elements),
      static_cast<double>(totals_.m) / static_cast<double>(totals_.elements),
      static_cast<double>(totals_.v) / static_cast<double>(totals_.elements),
      static_cast<double>(totals_.master) / static_cast<double>(totals_.elements));
  const bool two_planes = std::any_of(rows_.begin(), rows_.end(), [](const Row& row) {
    return !row.frozen && row.storage.w.format.find("hi+lo") != std::string::npos;
  });
  if (two_planes)
    text += "; w has two planes because one alone rounds most updates of fine-tuning away (docs/training.md)";
  return text;
}

nlohmann::json ParameterTable::json() const {
  nlohmann::json rows = nlohmann::json::array();
  for (const Row& row : rows_)
    rows.push_back({{"name", row.parameter->name},
                    {"elements", row.parameter->numel()},
                    {"shape", row.parameter->shape},
                    {"frozen", row.frozen},
                    {"w", storage_json(row.storage.w)},
                    {"grad", storage_json(row.storage.grad)},
                    {"m", storage_json(row.storage.m)},
                    {"v", storage_json(row.storage.v)},
                    {"master", storage_json(row.storage.master)}});
  return {
      {"parameters", rows},
      {"elements", totals_.elements},
      {"trained", totals_.trained},
      {"bytes",
       {{"w", totals_.w},
        {"grad", totals_.grad},
        {"m", totals_.m},
        {"v", totals_.v},
        {"master", totals_.master},
        {"all", totals_.all()}}},
      {"bytes_per_parameter", static_cast<double>(totals_.all()) / static_cast<double>(totals_.elements)}};
}

}  // namespace tetrad::train
