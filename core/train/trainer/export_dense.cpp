#include "train/trainer/export_dense.h"

#include "io/atomic_file.h"
#include "io/safetensors_writer.h"
#include "model/names.h"
#include "model/plugin_call.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <system_error>
#include <utility>

namespace tetrad::train {
namespace fs = std::filesystem;
namespace {

constexpr const char* kWeights = "model.safetensors";
// What a model folder may hold beside its weights.
constexpr const char* kCopied[] = {"tokenizer.json",
                                   "tokenizer_config.json",
                                   "special_tokens_map.json",
                                   "generation_config.json",
                                   "chat_template.jinja",
                                   "vocab.json",
                                   "merges.txt",
                                   "added_tokens.json",
                                   "LICENSE"};

io::DType stored_dtype(at::ScalarType dtype) {
  return dtype == at::kFloat ? io::DType::f32 : dtype == at::kHalf ? io::DType::f16 : io::DType::bf16;
}

const char* torch_name(at::ScalarType dtype) {
  return dtype == at::kFloat ? "float32" : dtype == at::kHalf ? "float16" : "bfloat16";
}

at::Tensor values_of(model::Transformer& model, const Parameter& parameter, WeightId id) {
  if (id < 0) return model.norm_weight(parameter);
  at::Tensor values;
  model::check(model.backend().dequantized(id, values), model.backend_id(),
               "dequantized of " + parameter.name);
  return values;
}

WeightId matrix_id(const model::Transformer& model, const Parameter& parameter) {
  using Block = model::Transformer::Block;
  if (model.embedding().parameter == &parameter) return model.embedding().id;
  if (model.head().parameter == &parameter) return model.head().id;
  for (const Block& b : model.blocks())
    for (const auto* matrix : {&b.q, &b.k, &b.v, &b.o, &b.gate, &b.up, &b.down})
      if (matrix->parameter == &parameter) return matrix->id;
  return -1;
}

void write_config(const fs::path& source, const fs::path& target, at::ScalarType dtype) {
  std::ifstream in(source / "config.json");
  nlohmann::json config = nlohmann::json::parse(in);
  const char* const key = config.contains("dtype") ? "dtype" : "torch_dtype";
  config[key] = torch_name(dtype);
  io::write_file(target / "config.json", config.dump(2) + "\n");
}

// Removed with what is in it unless commit() was called.
class Staging {
 public:
  explicit Staging(const fs::path& target)
      : target_(target),
        path_(target.parent_path() / fmt::format(".{}.{}.tmp", target.filename().string(), ::getpid())) {
    fs::create_directory(path_);
  }
  ~Staging() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  const fs::path& path() const noexcept { return path_; }
  void commit() {
    fs::rename(path_, target_);
    path_.clear();
  }

 private:
  fs::path target_, path_;
};

}  // namespace

void require_export_possible(const fs::path& target) {
  std::error_code failed;
  if (fs::exists(target, failed))
    throw Error(ExitCode::usage, fmt::format("[export] {} is there already; name a folder that is not "
                                             "(train.export_dir), or remove it",
                                             target.string()));
  const fs::path parent = fs::absolute(target).parent_path();
  if (::access(parent.c_str(), W_OK) != 0)
    throw Error(ExitCode::usage, fmt::format("[export] the folder {} cannot be written to", parent.string()));
}

Exported export_dense(model::Transformer& model, const fs::path& source, const fs::path& given) {
  const fs::path target = fs::absolute(given).lexically_normal();
  require_export_possible(target);
  const at::ScalarType dtype = model.setup().dtype;
  try {
    Staging staging(target);
    std::vector<io::TensorSpec> specs;
    for (const Parameter& p : model.parameters()) specs.push_back({p.name, stored_dtype(dtype), p.shape});
    io::SafetensorsWriter writer(staging.path() / kWeights, std::move(specs), {{"format", "pt"}});
    Exported exported;
    exported.bytes = writer.file_bytes();
    for (const Parameter& p : model.parameters()) {
      const at::Tensor host = values_of(model, p, matrix_id(model, p)).to(dtype).cpu().contiguous();
      writer.append(p.name, {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
    }
    writer.finish();
    exported.files.emplace_back(kWeights);
    write_config(source, staging.path(), dtype);
    exported.files.emplace_back("config.json");
    for (const char* name : kCopied) {
      if (!fs::exists(source / name)) continue;
      fs::copy_file(source / name, staging.path() / name);
      exported.files.emplace_back(name);
    }
    staging.commit();
    return exported;
  } catch (const fs::filesystem_error& e) {
    throw Error(fmt::format("[export] {}: {}", target.string(), e.what()));
  }
}

}  // namespace tetrad::train
