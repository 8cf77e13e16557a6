#include "cli/engine/transformers_check.h"

#include "io/json.h"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <thread>

extern char** environ;

namespace tetrad::cli {
namespace {

namespace fs = std::filesystem;

// Exit code 3: transformers or a part of it is not there; the last line of stderr says what.
constexpr const char* kProgram = R"python(
import json, sys
request = json.load(open(sys.argv[1] + "/request.json"))
try:
    import torch
    import transformers
    config = json.load(open(request["folder"] + "/config.json"))
    more = {}
    if "quantization_config" in config:
        import compressed_tensors
        more["quantization_config"] = transformers.CompressedTensorsConfig(dequantize=True)
except ImportError as e:
    print(e, file=sys.stderr)
    sys.exit(3)
torch.set_num_threads(request["threads"])
transformers.logging.set_verbosity_error()
model = transformers.AutoModelForCausalLM.from_pretrained(
    request["folder"], dtype=getattr(torch, request["dtype"]), local_files_only=True, **more).eval()
nll, tokens, kept, answers = 0.0, 0, [], []
with torch.no_grad():
    for document in request["documents"]:
        targets = torch.tensor(document["targets"])
        log_p = model(torch.tensor([document["ids"]])).logits[0].float().log_softmax(-1)
        scored = (targets >= 0).nonzero().flatten()
        rows = log_p[scored]
        nll -= rows.gather(1, targets[scored].unsqueeze(1)).double().sum().item()
        tokens += len(scored)
        if len(kept) < request["positions"]:
            kept += list(rows[:request["positions"] - len(kept)])
    for prompt in request["prompts"]:
        ids, cache, answer = torch.tensor([prompt]), None, []
        while len(answer) < request["max_new_tokens"]:
            out = model(ids, past_key_values=cache, use_cache=True)
            cache, token = out.past_key_values, out.logits[0, -1].float().argmax().item()
            if token in request["stop_ids"]:
                break
            answer.append(token)
            ids = torch.tensor([[token]])
        answers.append(answer)
if kept:
    torch.stack(kept).numpy().tofile(sys.argv[1] + "/log_p.f32")
json.dump({"nll": nll, "tokens": tokens, "rows": len(kept), "columns": len(kept[0]) if kept else 0, "answers": answers,
           "version": transformers.__version__}, open(sys.argv[1] + "/answer.json", "w"))
)python";

// A folder that is gone when this is.
class Scratch {
 public:
  Scratch() {
    const fs::path parent = fs::temp_directory_path();
    std::string name = (parent / "tetrad-transformers-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw std::system_error(errno, std::generic_category(), "no folder can be made in " + parent.string());
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const noexcept { return path_; }

 private:
  fs::path path_;
};

std::string last_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line, last;
  while (std::getline(in, line))
    if (!line.empty()) last = line;
  return last.substr(0, 300);
}

// This process's environment, without devices and without the network.
std::vector<std::string> child_environment() {
  std::vector<std::string> all;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view entry = *each;
    if (!entry.starts_with("CUDA_VISIBLE_DEVICES=") && !entry.starts_with("HF_HUB_OFFLINE="))
      all.emplace_back(entry);
  }
  all.emplace_back("CUDA_VISIBLE_DEVICES=");
  all.emplace_back("HF_HUB_OFFLINE=1");
  return all;
}

// The exit status, or nothing when it could not be started; `what` then says why.
std::optional<int> run_python(const std::string& python, const fs::path& folder, double timeout,
                              const std::atomic<bool>& interrupt, std::string& what) {
  std::vector<std::string> words = {python, "-c", kProgram, folder.string()},
                           environment = child_environment();
  std::vector<char*> argv, envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& entry : environment) envp.push_back(entry.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 2, (folder / "stderr").c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t child = -1;
  const int failed = ::posix_spawnp(&child, python.c_str(), &actions, nullptr, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    what = fmt::format("{} cannot be started: {}", python, std::strerror(failed));
    return std::nullopt;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout);
  for (int status = 0;;) {
    const pid_t done = ::waitpid(child, &status, WNOHANG);
    if (done == child) return status;
    if (done < 0 && errno != EINTR) {
      what = fmt::format("waiting for {} failed: {}", python, std::strerror(errno));
      return std::nullopt;
    }
    if (interrupt.load() || std::chrono::steady_clock::now() > end) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      what = interrupt.load() ? "interrupted" : fmt::format("it took longer than {:.0f} s", timeout);
      return std::nullopt;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

void write_request(const fs::path& file, const TransformersRequest& r) {
  nlohmann::json documents = nlohmann::json::array();
  for (const TransformersRequest::Document& d : r.documents)
    documents.push_back({{"ids", d.ids}, {"targets", d.targets}});
  std::ofstream out(file);
  out << nlohmann::json{{"folder", r.folder.string()}, {"dtype", r.dtype},
                        {"documents", documents},      {"positions", r.positions},
                        {"prompts", r.prompts},        {"stop_ids", r.stop_ids},
                        {"threads", r.threads},        {"max_new_tokens", r.max_new_tokens}};
  out.close();
  if (!out) throw std::runtime_error("the request cannot be written to " + file.string());
}

void read_answer(const fs::path& folder, TransformersReading& reading) {
  const nlohmann::json answer = io::read_json(folder / "answer.json");
  reading.version = answer.at("version").get<std::string>();
  reading.nll = answer.at("nll").get<double>();
  reading.tokens = answer.at("tokens").get<std::int64_t>();
  reading.answers = answer.at("answers").get<std::vector<std::vector<std::int32_t>>>();
  const auto rows = answer.at("rows").get<std::int64_t>(), columns = answer.at("columns").get<std::int64_t>();
  if (rows == 0) return;
  const fs::path file = folder / "log_p.f32";
  const at::Tensor log_p = at::empty({rows, columns}, at::kFloat);
  std::ifstream in(file, std::ios::binary);
  in.read(static_cast<char*>(log_p.mutable_data_ptr()), static_cast<std::streamsize>(log_p.nbytes()));
  if (!in) throw std::runtime_error("the distributions cannot be read from " + file.string());
  reading.log_p = log_p;
}

}  // namespace

std::optional<std::string> find_python(const std::optional<std::string>& configured) {
  if (configured) return *configured == "none" ? std::nullopt : configured;
  std::error_code ignored;
  if (const char* environment = std::getenv("VIRTUAL_ENV"); environment != nullptr && *environment != '\0') {
    const fs::path file = fs::path(environment) / "bin" / "python";
    if (fs::exists(file, ignored)) return file.string();
  }
  const fs::path here = fs::path(".venv") / "bin" / "python";
  return fs::exists(here, ignored) ? fs::absolute(here, ignored).string() : std::string("python3");
}

TransformersReading read_with_transformers(const std::string& python, const TransformersRequest& request,
                                           const std::atomic<bool>& interrupt) {
  TransformersReading reading;
  try {
    const Scratch scratch;
    write_request(scratch.path() / "request.json", request);
    const std::optional<int> status =
        run_python(python, scratch.path(), request.timeout_seconds, interrupt, reading.missing);
    if (!status) return reading;
    const std::string said = last_line(scratch.path() / "stderr");
    if (WIFEXITED(*status) && WEXITSTATUS(*status) == 3)
      reading.missing = fmt::format("{} has no transformers that can read it ({})", python, said);
    else if (WIFSIGNALED(*status))
      reading.missing = fmt::format("{} was ended by signal {}", python, WTERMSIG(*status));
    else if (*status != 0)
      reading.missing = fmt::format("transformers failed ({})", said);
    else
      read_answer(scratch.path(), reading);
  } catch (const std::exception& e) {
    reading.missing = e.what();
  }
  return reading;
}

}  // namespace tetrad::cli
