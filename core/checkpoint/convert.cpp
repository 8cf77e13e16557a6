#include "checkpoint/convert.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "checkpoint/new_directory.h"
#include "checkpoint/transcode.h"
#include "io/atomic_file.h"
#include "io/json.h"

namespace tetrad::checkpoint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What belongs to a model beside its weights and config.json.
constexpr const char* companions[] = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
    "LICENSE",
    "LICENSE.txt",
};

json output_config(const fs::path& directory, const model::ModelConfig& config, const Plan& plan) {
  json result = io::read_json(directory / "config.json");
  result.erase("quantization_config");
  result["tie_word_embeddings"] = config.tie_word_embeddings;
  if (plan.layout == Layout::dense) {
    // transformers 5 writes "dtype", earlier versions "torch_dtype".
    result[result.contains("dtype") ? "dtype" : "torch_dtype"] = "bfloat16";
  } else {
    result["quantization_config"] = quantization_config(plan.layout, plan.activations, plan.dense_linears);
  }
  return result;
}

// Writes the weight files and remembers what every tensor's bytes were.
class Writer {
 public:
  Writer(const Conversion& conversion, const Plan& plan, const fs::path& directory)
      : conversion_(conversion), plan_(plan), directory_(directory) {
    for (const Planned& planned : plan.tensors) {
      if (planned.scale_group.empty()) continue;
      groups_[planned.scale_group].push_back(planned.source);
    }
  }

  void write(const Checkpoint& source) {
    for (std::size_t i = 0; i < plan_.tensors.size(); ++i) {
      const Planned& planned = plan_.tensors[i];
      if (!writer_ || planned.shard != shard_) open_shard(planned.shard);
      if (i + 1 < plan_.tensors.size()) source.prefetch(*plan_.tensors[i + 1].source);
      write_one(planned, source.path().string());
      source.release(*planned.source);
    }
    close_shard();
  }

  // SHA-256 of each stored tensor, by its name.
  const std::map<std::string, std::string>& digests() const { return digests_; }

 private:
  void open_shard(std::size_t shard) {
    close_shard();
    shard_ = shard;
    std::vector<io::TensorSpec> specs;
    for (const Planned& planned : plan_.tensors) {
      if (planned.shard == shard) specs.insert(specs.end(), planned.stored.begin(), planned.stored.end());
    }
    // transformers looks for this mark.
    writer_ = std::make_unique<io::SafetensorsWriter>(directory_ / plan_.shard_files[shard], std::move(specs),
                                                      std::map<std::string, std::string>{{"format", "pt"}});
  }

  void close_shard() {
    if (!writer_) return;
    for (auto& [name, hash] : hashes_) digests_[name] = hash.hex_digest();
    hashes_.clear();
    writer_->finish();
    writer_.reset();
  }

  void put(const std::string& name, std::span<const std::byte> bytes) {
    if (conversion_.stop != nullptr && *conversion_.stop != 0) throw Interrupted{*conversion_.stop};
    hashes_[name].update(bytes.data(), bytes.size());
    writer_->append(name, bytes);
    done_ += bytes.size();
    if (conversion_.progress) conversion_.progress("write", done_, plan_.bytes);
  }

  ByteSink sink(const std::string& name) {
    return [this, &name](std::span<const std::byte> bytes) { put(name, bytes); };
  }

  void put_scale(const std::string& name, const GlobalScale& scale, bool divides) {
    const float value = scale.divides == divides ? scale.value : 1.0F / scale.value;
    put(name, std::as_bytes(std::span(&value, 1)));
  }

  void write_one(const Planned& planned, const std::string& where) {
    const Tensor& tensor = *planned.source;
    if (tensor.planes) check_block_scales(tensor, where);
    switch (planned.step) {
      case Step::copy:
        copy(tensor.bytes, sink(planned.codes));
        if (tensor.bytes.empty()) put(planned.codes, {});
        break;
      case Step::narrow:
        to_bf16(tensor, sink(planned.codes));
        break;
      case Step::decode:
        decode_bf16(tensor, sink(planned.codes));
        break;
      case Step::planes:
        copy(tensor.planes->codes, sink(planned.codes));
        copy(tensor.planes->scales, sink(planned.scales));
        if (!planned.lo_codes.empty()) copy(tensor.planes->lo_codes, sink(planned.lo_codes));
        put_scale(planned.global, tensor.planes->global, planned.global_divides);
        if (!planned.input.empty()) put_scale(planned.input, *tensor.planes->input, planned.input_divides);
        break;
      case Step::encode: {
        const nvfp4::GlobalScale global =
            nvfp4::global_scale(group_amax(planned.scale_group), conversion_.encoding.options);
        encode(tensor, global, conversion_.encoding.options, sink(planned.codes), sink(planned.scales));
        const float value = planned.global_divides ? global.encode : global.decode;
        put(planned.global, std::as_bytes(std::span(&value, 1)));
        break;
      }
    }
  }

  float group_amax(const std::string& group) {
    const auto known = amax_.find(group);
    if (known != amax_.end()) return known->second;
    float greatest = 0;
    for (const Tensor* tensor : groups_.at(group)) greatest = std::max(greatest, dense_amax(*tensor));
    amax_[group] = greatest;
    return greatest;
  }

  const Conversion& conversion_;
  const Plan& plan_;
  const fs::path& directory_;
  std::unique_ptr<io::SafetensorsWriter> writer_;
  std::size_t shard_ = 0;
  std::map<std::string, std::vector<const Tensor*>> groups_;
  std::map<std::string, float> amax_;
  std::map<std::string, Sha256> hashes_;  // of the shard being written
  std::map<std::string, std::string> digests_;
  std::uint64_t done_ = 0;
};

void write_index(const Plan& plan, const fs::path& directory) {
  if (plan.shard_files.size() == 1) return;
  json weight_map = json::object();
  for (const Planned& planned : plan.tensors) {
    for (const io::TensorSpec& spec : planned.stored) weight_map[spec.name] = plan.shard_files[planned.shard];
  }
  const json index = {{"metadata", {{"total_size", plan.bytes}}}, {"weight_map", weight_map}};
  io::write_file(directory / "model.safetensors.index.json", index.dump(2) + "\n");
}

// Reads what was written, from the disk where the system allows it, and compares every tensor with what was
// handed over; on the way the files' own checksums.
class Verifier {
 public:
  Verifier(const Conversion& conversion, const Plan& plan, const std::map<std::string, std::string>& digests)
      : conversion_(conversion), plan_(plan), digests_(digests) {}

  std::vector<WrittenFile> verify(const fs::path& directory) {
    std::size_t seen = 0;
    for (const std::string& name : plan_.shard_files) {
      const auto file = io::SafetensorsFile::open(directory / name);
      file.mapping().release(file.mapping().bytes(), io::PageCache::drop);
      Sha256 whole;
      whole.update(file.header().data(), file.header().size());
      for (const io::TensorView& tensor : file.tensors()) {
        verify_tensor(file, tensor, whole);
        ++seen;
      }
      files_.push_back({name, file.file_bytes(), whole.hex_digest()});
    }
    if (seen != digests_.size())
      throw Error(fmt::format("[convert] verify: {} tensors were written, {} are in the files",
                              digests_.size(), seen));
    return std::move(files_);
  }

 private:
  void verify_tensor(const io::SafetensorsFile& file, const io::TensorView& tensor, Sha256& whole) {
    constexpr std::size_t piece = std::size_t{16} << 20;
    Sha256 own;
    auto rest = tensor.bytes;
    while (!rest.empty()) {
      if (conversion_.stop != nullptr && *conversion_.stop != 0) throw Interrupted{*conversion_.stop};
      const auto now = rest.first(std::min(piece, rest.size()));
      if (now.size() > piece / 16) {
        std::thread other([&] { own.update(now.data(), now.size()); });
        whole.update(now.data(), now.size());
        other.join();
      } else {
        own.update(now.data(), now.size());
        whole.update(now.data(), now.size());
      }
      rest = rest.subspan(now.size());
      done_ += now.size();
      if (conversion_.progress) conversion_.progress("verify", done_, plan_.bytes);
    }
    file.release(tensor, io::PageCache::drop);
    const auto expected = digests_.find(tensor.name);
    if (expected == digests_.end() || expected->second != own.hex_digest()) {
      throw Error(
          fmt::format("[convert] verify: '{}' in {} is not what was written; the disk or the memory is at "
                      "fault, nothing was kept",
                      tensor.name, file.path().filename().string()));
    }
  }

  const Conversion& conversion_;
  const Plan& plan_;
  const std::map<std::string, std::string>& digests_;
  std::vector<WrittenFile> files_;
  std::uint64_t done_ = 0;
};

const char* profile_word(nvfp4::Profile profile) {
  switch (profile) {
    case nvfp4::Profile::te:
      return "te";
    case nvfp4::Profile::torchao_inference:
      return "torchao_inference";
    case nvfp4::Profile::modelopt:
      return "modelopt";
    case nvfp4::Profile::compressed_tensors:
      return "compressed_tensors";
  }
  return "unknown";
}

json manifest(const Conversion& conversion, const Plan& plan, const Checkpoint& source,
              const std::vector<WrittenFile>& files, const std::map<std::string, std::string>& digests) {
  json written = json::object();
  for (const WrittenFile& file : files) written[file.name] = {{"bytes", file.bytes}, {"sha256", file.sha256}};
  json encoded = nullptr;
  const bool encodes = std::any_of(plan.tensors.begin(), plan.tensors.end(),
                                   [](const Planned& planned) { return planned.step == Step::encode; });
  if (encodes) {
    const nvfp4::EncodeOptions& options = conversion.encoding.options;
    encoded = {{"profile", profile_word(options.profile)},
               {"global_scale", options.global == nvfp4::GlobalRule::exact ? "exact" : "power_of_two"}};
  }
  return {{"version", 1},
          {"program", "tetrad " + conversion.version},
          {"layout", layout_name(plan.layout)},
          {"source", {{"layout", layout_name(source.layout())}, {"identity", source.identity()}}},
          {"encoded", encoded},
          {"quantised_weights", plan.quantised},
          {"files", written},
          {"tensors_sha256", digests}};
}

bool same_place(const fs::path& a, const fs::path& b) {
  std::error_code failed;
  return fs::weakly_canonical(a, failed) == fs::weakly_canonical(b, failed);
}

}  // namespace

std::vector<std::string> copy_companions(const fs::path& from, const fs::path& to) {
  std::vector<std::string> copied;
  for (const char* name : companions) {
    std::error_code failed;
    if (!fs::is_regular_file(from / name, failed)) continue;
    const io::MappedFile file(from / name);
    io::write_file(to / name, file.bytes());
    copied.emplace_back(name);
  }
  return copied;
}

Converted convert(const Conversion& conversion) {
  if (conversion.layout == Layout::dat)
    throw Error(ExitCode::usage, "[convert] the .dat layout is read only; use --format tetrad");
  if (same_place(conversion.from, conversion.to))
    throw Error(ExitCode::usage, "[convert] --from and --to are the same place; give a new name");
  const fs::path config_folder = config_directory(conversion.from, conversion.config_from);
  model::ModelConfig config = model::ModelConfig::load(config_folder);
  const Checkpoint source = Checkpoint::open(conversion.from);
  source.adapt(config);
  source.check_names(config);
  const Plan plan =
      make_plan(source, config, conversion.layout, conversion.encoding, conversion.max_shard_bytes);

  NewDirectory target(conversion.to);
  target.require_space(plan.bytes + (std::uint64_t{64} << 20));
  Writer writer(conversion, plan, target.path());
  writer.write(source);
  write_index(plan, target.path());
  io::write_file(target.path() / "config.json", output_config(config_folder, config, plan).dump(2) + "\n");
  if (plan.layout == Layout::modelopt) {
    io::write_file(target.path() / "hf_quant_config.json",
                   modelopt_quant_config(plan.activations, plan.dense_linears).dump(2) + "\n");
  }
  copy_companions(config_folder, target.path());

  Converted result;
  result.files = Verifier(conversion, plan, writer.digests()).verify(target.path());
  // As the next reader will see it.
  const Checkpoint written = Checkpoint::open(target.path());
  written.check_names(model::ModelConfig::load(target.path()));
  io::write_file(target.path() / manifest_name,
                 manifest(conversion, plan, source, result.files, writer.digests()).dump(2) + "\n");
  target.commit();

  result.directory = target.target();
  result.from = source.layout();
  result.layout = plan.layout;
  result.tensors = plan.tensors.size();
  result.quantised = plan.quantised;
  result.read_bytes = source.tensor_bytes();
  for (const WrittenFile& file : result.files) result.written_bytes += file.bytes;
  result.notes = source.notes();
  if (plan.inverts) {
    result.notes.emplace_back(
        "the fp32 scale was inverted, because one layout multiplies by it and the other divides: converting "
        "back "
        "will change its last bit in places");
  }
  return result;
}

}  // namespace tetrad::checkpoint
