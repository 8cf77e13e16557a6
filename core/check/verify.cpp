#include "check/verify.h"

#include "check/kv_cases.h"
#include "check/linear_cases.h"
#include "check/suite.h"
#include "check/verify_core.h"
#include "device/choose.h"
#include "plugin/elf_note.h"
#include "plugin/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace tetrad::check {
namespace {

struct Step {
  std::string kernel;
  std::function<Result()> run;
};

nlohmann::json run_step(const Step& step) {
  const auto start = std::chrono::steady_clock::now();
  std::string verdict = "pass", detail;
  try {
    detail = step.run().detail;
  } catch (const Skip& skip) {
    verdict = "skip";
    detail = skip.what();
  } catch (const std::exception& failure) {
    verdict = "fail";
    detail = failure.what();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {{"kernel", step.kernel}, {"verdict", verdict}, {"detail", detail}, {"seconds", seconds.count()}};
}

VerifyGroup group(const std::string& owner, const std::string& name, std::vector<Step> steps,
                  std::function<std::string()> build_id) {
  VerifyGroup made{owner, {}, {}};
  for (const Step& step : steps) made.kernels.push_back(step.kernel);
  made.run.name = name;
  made.run.run = [steps = std::move(steps), build_id = std::move(build_id)] {
    nlohmann::json kernels = nlohmann::json::array();
    for (const Step& step : steps) kernels.push_back(run_step(step));
    return Result{"", {{"build_id", build_id()}, {"kernels", kernels}}, ""};
  };
  return made;
}

bool has(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// bfloat16 is looked at in full; of the other dtypes the kernels that differ by it.
std::vector<Step> linear_steps(const Target& target, Path path) {
  using Check = Result (*)(const Target&, LinearPoint);
  const Claims& claims = target.contract.claims;
  const std::string path_name = path == Path::training ? "training" : "bridge";
  std::vector<Step> steps;
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
    if (!has(claims.dtypes, dtype_name(dtype))) continue;
    const auto add = [&](const char* name, Check check) {
      steps.push_back(
          {fmt::format("{}/{}/{}", name, path_name, dtype_name(dtype)), [&target, check, path, dtype] {
             return check(target, {path, dtype});
           }});
    };
    add("weights", check_weights);
    add("forward", check_forward);
    if (has(claims.weight_formats, "nvfp4_hi_lo")) add("tied-planes", check_tied_planes);
    if (dtype != at::kBFloat16) continue;
    if (has(claims.weight_formats, "nvfp4_hi")) add("planes", check_planes);
    add("gather", check_gather);
    if (path == Path::training) {
      add("grad-input", check_grad_input);
      add("grad-weight", check_grad_weight);
    }
  }
  return steps;
}

}  // namespace

std::string plugin_build_id(const Target& target) {
  const plugin::Candidate candidate = plugin::judge_file(target.file, plugin::PlaceClass::explicit_path);
  const std::filesystem::path file =
      target.cuda() && candidate.cuda_file ? *candidate.cuda_file : candidate.file;
  const std::string id = plugin::read_elf(file).build_id;
  return id.empty() ? "none" : id;
}

std::vector<VerifyGroup> verify_groups(const std::vector<Target>& targets, const std::string& device) {
  std::vector<VerifyGroup> groups;
  const auto of_engine = [] { return plugin::own_build_id(); };
  groups.push_back(
      group("core", "core/codec", {{"codec", verify_codec}, {"products", verify_products}}, of_engine));
  std::vector<Step> attention;
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
    attention.push_back({"attention/" + dtype_name(dtype),
                         [device, dtype] { return verify_attention(device::choose(device).device, dtype); }});
  }
  if (device != "cpu")
    attention.push_back({"sampling", [device] { return verify_sampling(device::choose(device).device); }});
  groups.push_back(group("core", "core/attention", std::move(attention), of_engine));
  for (const Target& target : targets) {
    const Claims& claims = target.contract.claims;
    if (claims.support.empty() || claims.support == "unsupported") continue;
    const auto of_plugin = [&target] { return plugin_build_id(target); };
    if (has(target.kinds, "linear")) {
      for (const Path path : {Path::training, Path::bridge}) {
        const std::string name = path == Path::training ? "training" : "bridge";
        if (has(claims.paths, name))
          groups.push_back(group(target.id, target.id + "/" + name, linear_steps(target, path), of_plugin));
      }
    }
    if (has(target.kinds, "kv_cache")) {
      groups.push_back(
          group(target.id, target.id + "/cache",
                {{"cache/bfloat16", [&target] { return check_kv_random(target, at::kBFloat16); }},
                 {"addresses/bfloat16", [&target] { return check_kv_addresses(target, at::kBFloat16); }}},
                of_plugin));
    }
  }
  return groups;
}

Case device_case(const std::string& device) {
  return {"device", [device] {
            const device::Choice choice = device::choose(device);
            const std::string name = device::hardware_name(choice);
            return Result{name, {{"device", name}, {"torch_device", choice.device.str()}}, ""};
          }};
}

}  // namespace tetrad::check
