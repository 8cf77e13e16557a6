#include "cli/engine/training_run.h"

#include "cli/engine/conversation_record.h"
#include "cli/engine/export_check.h"
#include "cli/engine/host_heap.h"
#include "cli/engine/soft_stage.h"
#include "train/trainer/bytes_text.h"
#include "train/trainer/export_dense.h"
#include "train/trainer/export_planes.h"
#include "train/trainer/fresh_planes.h"
#include "train/trainer/run_state.h"

#include <ATen/Context.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <utility>

namespace tetrad::cli {
namespace {

// SIGTERM asks for an end after the current step, so that it is saved.
volatile std::sig_atomic_t asked_to_end = 0;

extern "C" void note_end_request(int) {
  asked_to_end = 1;
}

const nlohmann::json& section(const RunMessage& run) {
  return run.config.at("train");
}

// What decides how the training goes; where its results lie does not belong to a checkpoint.
nlohmann::json numeric_settings(const nlohmann::json& train) {
  nlohmann::json settings = nlohmann::json::object();
  for (const char* key : {"rows", "width", "pack", "seed", "steps", "micro_batches", "accumulate_in",
                          "learning_rate", "schedule", "warmup_steps", "final_share", "finish",
                          "weight_decay", "no_decay", "freeze", "gradients", "clip", "max_norm"})
    settings[key] = train.at(key);
  return settings;
}

checkpoint::Layout export_layout(const nlohmann::json& train) {
  const auto word = train.at("export").get<std::string>();
  return word == "tetrad"               ? checkpoint::Layout::tetrad
         : word == "compressed-tensors" ? checkpoint::Layout::compressed_tensors
                                        : checkpoint::Layout::dense;
}

}  // namespace

TrainingRun::TrainingRun(Control& control, MemoryWatch& memory, nlohmann::json forecast)
    : control_(control),
      memory_(memory),
      forecast_(std::move(forecast)),
      settings_(train::TrainSettings::from(section(control.run()))),
      optimizer_(control.run(), settings_),
      session_((phases_.record(0, "start", {}, {}), control), memory, &optimizer_),
      data_(section(control.run()), session_.context().max_tokens(), session_.turn_format(),
            session_.tokenizer()),
      table_(session_.model().parameters(), optimizer_.states(), settings_),
      trainer_(session_.model(), optimizer_.states(), settings_),
      changes_(session_.model().parameters(), optimizer_.states()),
      self_test_(session_),
      progress_(isatty(STDERR_FILENO) == 1) {
  if (session_.model().setup().deterministic)
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  optimizer_.states().require_patterns_used();
  const std::deque<Parameter>& parameters = session_.model().parameters();
  if (settings_.finish_steps > 0 &&
      std::none_of(parameters.begin(), parameters.end(),
                   [](const Parameter& p) { return p.planes.lo_codes.defined(); }))
    throw Error(ExitCode::usage,
                "[train] train.finish: no parameter has a lo plane, so there is nothing to finish; use "
                "optim-adamw-nvfp4 with planes: 2 or 3, or set train.finish.steps to 0");
  require_exportable();
  step_bytes_ = forecast_.at("optimizers").front().at("step").get<std::int64_t>();
  const DeviceMemory device = session_.device_memory();
  phases_.record(0, "model_loaded", device, categories(device));
}

train::CategoryBytes TrainingRun::categories(const DeviceMemory& device) const {
  const train::ParameterTable::Totals& t = table_.totals();
  train::CategoryBytes bytes;
  bytes.weights = t.w;
  bytes.m = t.m;
  bytes.v = t.v;
  bytes.master = t.master;
  bytes.gradients = trainer_.gradient_bytes();
  bytes.activations = trainer_.activation_bytes();
  bytes.workspace =
      device.workspace_bytes + session_.linear_memory().workspace_bytes + optimizer_.memory().workspace_bytes;
  return bytes;
}

void TrainingRun::phase(const char* name) {
  const std::string done = name;
  const char* const next = done == "batch_ready"     ? "forward"
                           : done == "forward_done"  ? "backward"
                           : done == "backward_done" ? "update"
                                                     : "";
  progress_.show(trainer_.progress().step, settings_.schedule.steps, next);
  const DeviceMemory device = session_.device_memory();
  phases_.record(trainer_.progress().step + 1, name, device, categories(device));
  if (device.live_bytes > 0) return;
  if (done == "zero_grad_done") step_begins_at_ = phases_.host_bytes();
  step_took_ = std::max(step_took_, phases_.host_bytes() - step_begins_at_);
}

void TrainingRun::describe() {
  std::fprintf(stderr, "[train] optimizer: %s\n%s\n", optimizer_.description().c_str(),
               table_.text().c_str());
  session_.record().set("optimizer", optimizer_.description());
  session_.record().set("parameter_table", table_.json());
  session_.record().set("data", data_.report());
  roof_ = measure_product_rate(session_.device(), session_.model().setup().dtype);
  session_.record().set("roofline", roof_.to_json());
  session_.record().save();
}

nlohmann::json TrainingRun::evaluate(const std::string& when) {
  if (!data_.evaluation()) return nullptr;
  const auto most = section(session_.run()).at("eval_batches").get<std::int64_t>();
  data_.evaluation()->rewind();
  train::Trainer::Score score;
  for (std::int64_t i = 0; most == 0 || i < most; ++i) {
    const std::optional<train::Batch> batch = data_.evaluation()->next();
    if (!batch) break;
    const train::Trainer::Score one = trainer_.evaluate(*batch);
    score.nll += one.nll;
    score.tokens += one.tokens;
    give_back_if_asked();
  }
  const double loss = score.nll / static_cast<double>(std::max<std::int64_t>(score.tokens, 1));
  std::fprintf(stderr, "[eval] %s: loss %.4f perplexity %.3f over %lld tokens\n", when.c_str(), loss,
               std::exp(loss), static_cast<long long>(score.tokens));
  nlohmann::json result = {
      {"when", when}, {"forward", optimizer_.forward()}, {"step", trainer_.progress().step},
      {"loss", loss}, {"perplexity", std::exp(loss)},    {"tokens", score.tokens}};
  evaluations_.push_back(result);
  if (metrics_)
    metrics_->write(trainer_.progress().step, {{"eval/loss", loss}, {"eval/perplexity", std::exp(loss)}});
  return result;
}

void TrainingRun::evaluate_readings(const std::string& when) {
  if (settings_.finish_steps > 0) {
    const bool hi = optimizer_.forward() == "hi";
    optimizer_.finish(!hi);
    evaluate(when + ", as " + optimizer_.forward());
    optimizer_.finish(hi);
  }
  evaluate(settings_.finish_steps > 0 ? when + ", as " + optimizer_.forward() : when);
}

void TrainingRun::begin_finish() {
  const bool hi = settings_.finishing(trainer_.progress().step);
  if (!hi || optimizer_.forward() == "hi") return;
  // In the first step of all it has been encoded just now.
  const std::int64_t anew = trainer_.progress().step > 0
                                ? train::encode_anew(session_.model().trainable(), optimizer_.states())
                                : 0;
  optimizer_.finish(true);
  std::fprintf(stderr, "[train] train.finish: from step %lld on the hi plane alone is the model%s\n",
               static_cast<long long>(trainer_.progress().step + 1),
               anew > 0 ? "; planes were encoded anew, so that hi fits the current values" : "");
  if (trainer_.progress().step > 0) evaluate_readings("finish begins");
}

void TrainingRun::self_test(const std::string& when) {
  if (!self_test_.empty()) self_tests_[when] = self_test_.run(when, [this] { give_back_if_asked(); });
}

void TrainingRun::give_back_if_asked() {
  answer_soft_stage(session_, [this] {
    std::vector<std::string> done;
    if (session_.shrink_kv() > 0) done.emplace_back("KV slots of the self test given back");
    if (trainer_.recompute_blocks()) {
      done.emplace_back("later steps keep each block's input alone (train.checkpointing block)");
      step_bytes_ = step_took_ =
          0;  // what was foreseen no longer holds: the next step shows what it takes now
    }
    if (store_ && saved_step_ != trainer_.progress().step && trainer_.progress().step > 0) {
      save();
      done.push_back(fmt::format("step {} saved", trainer_.progress().step));
    }
    return done;
  });
}

void TrainingRun::log(const train::StepReport& r, bool shown) {
  if (trainer_.progress().step == 1 || losses_.empty()) first_loss_ = r.loss;
  last_loss_ = r.loss;
  losses_.push_back(r.loss);
  step_seconds_ += r.seconds;
  const DeviceMemory device = session_.device_memory();
  StepFigures figures;
  figures.report = r;
  figures.steps = settings_.schedule.steps;
  figures.peak_flops_per_second = roof_.flops_per_second;
  figures.memory_bytes = device.live_bytes > 0 ? device.live_peak_bytes : phases_.host_bytes();
  figures.seconds_left = step_seconds_ / static_cast<double>(losses_.size()) *
                         static_cast<double>(settings_.schedule.steps - r.step);
  if (metrics_) metrics_->write(r.step, step_scalars(figures));
  if (r.skipped)
    std::fprintf(stderr, "[train] step %lld skipped: %s\n", static_cast<long long>(r.step),
                 r.skipped->c_str());
  if (shown) std::fprintf(stderr, "%s\n", step_line(figures).c_str());
}

void TrainingRun::resume() {
  const nlohmann::json& train = section(session_.run());
  if (!train.at("save_dir").is_string()) return;
  identity_ =
      train::run_identity(session_.model().parameters(), optimizer_.states(), data_.loader().identity());
  identity_["forward"] = session_.config().at("linear").at("options").value("forward", "dense");
  train::StoreSettings settings;
  settings.folder = train.at("save_dir").get<std::string>();
  settings.keep_last = train.at("keep_last").get<int>();
  store_.emplace(std::move(settings));
  const std::optional<std::filesystem::path> latest = store_->latest();
  if (!latest) return;
  if (!train.at("resume").get<bool>())
    throw Error(ExitCode::usage, fmt::format("[train] train.save_dir holds a checkpoint already ({}); set "
                                             "train.resume=true to go on from it, or another folder",
                                             latest->string()));
  const train::RunState state = train::restore_run(
      train::Checkpoint::open(*latest), session_.model().trainable(), optimizer_.states(), identity_);
  data_.loader().restore(state.cursor);
  trainer_.resume(state.progress);
  const std::string read = state.settings.value("forward", optimizer_.forward());
  // One that was saved just before its finish begins it like a run that was not stopped (begin_finish).
  optimizer_.finish(settings_.finishing(state.progress.step) && read == "hi");
  if (read != optimizer_.forward())
    std::fprintf(
        stderr,
        "[train] the checkpoint was saved as a %s model, and with these train.steps and train.finish "
        "the run goes on as %s\n",
        read.c_str(), optimizer_.forward().c_str());
  saved_step_ = state.progress.step;
  std::fprintf(stderr, "[train] going on after step %lld from %s\n",
               static_cast<long long>(state.progress.step), latest->c_str());
}

void TrainingRun::save() {
  if (!store_ || saved_step_ == trainer_.progress().step) return;
  train::RunState state{trainer_.progress(), data_.loader().cursor(),
                        numeric_settings(section(session_.run()))};
  state.settings["forward"] = optimizer_.forward();
  const std::filesystem::path folder = store_->save(
      train::checkpoint_content(session_.model().parameters(), optimizer_.states(), identity_, state));
  saved_step_ = trainer_.progress().step;
  std::fprintf(stderr, "[train] saved %s\n", folder.c_str());
}

void TrainingRun::require_exportable() const {
  const nlohmann::json& train = section(session_.run());
  if (!train.at("export_dir").is_string() || train.at("export") == "dense") return;
  const bool hi = settings_.finish_steps > 0 || optimizer_.forward() == "hi";
  train::require_planes(session_.model(), export_layout(train), hi);
}

std::vector<std::string> TrainingRun::export_model() {
  const nlohmann::json& train = section(session_.run());
  if (!train.at("export_dir").is_string()) return {};
  const auto target = train.at("export_dir").get<std::string>();
  const checkpoint::Layout layout = export_layout(train);
  const bool hi = optimizer_.forward() == "hi";
  const std::string change = train::change_of_export(session_.model(), layout, hi);
  if (!change.empty()) std::fprintf(stderr, "[export] %s\n", change.c_str());
  const train::Exported exported =
      layout == checkpoint::Layout::dense
          ? train::export_dense(session_.model(), session_.model_directory(), target)
          : train::export_planes(session_.model(), layout, hi, session_.model_directory(), target);
  std::fprintf(stderr, "[export] %s: %s in %zu files, %s\n", target.c_str(),
               train::bytes_text(static_cast<std::int64_t>(exported.bytes)).c_str(), exported.files.size(),
               layout == checkpoint::Layout::dense ? "the weights as this run's model decodes them"
                                                   : "the planes as they are stored");
  nlohmann::json result = {
      {"folder", target},        {"format", train.at("export")},         {"bytes", exported.bytes},
      {"files", exported.files}, {"changes_the_model", !change.empty()}, {"check", nullptr}};
  // The folder as its next reader will see it: dense weights are not to be quantised anew.
  nlohmann::json options = session_.config().at("linear").at("options");
  const PluginRef* linear = &plugin_ref(session_.run(), "linear");
  if (layout != checkpoint::Layout::dense) {
    if (options.contains("forward")) options["forward"] = "hi+lo";  // of the planes that are there
  } else if (linear->id != "backend-bf16") {
    linear = &plugin_ref(session_.run(), "linear of the export");
    options = nlohmann::json::object();
    for (const nlohmann::json& option : linear->metadata.value("options", nlohmann::json::array()))
      options[option.at("key").get<std::string>()] = option.at("default");
  }
  give_back_freed();
  ExportCheck check(session_, check_batches(), self_tests_.value("after", nlohmann::json()));
  result["check"] = check.run(target, *linear, options);
  const nlohmann::json& python = train.at("export_python");
  check.run_transformers(target, layout != checkpoint::Layout::tetrad,
                         python.is_string() ? std::optional(python.get<std::string>()) : std::nullopt,
                         result["check"]);
  session_.record().set("export", std::move(result));
  if (!train.at("export_allow_drift").get<bool>()) return check.drifted();
  for (const std::string& what : check.drifted()) std::fprintf(stderr, "[export] %s\n", what.c_str());
  return {};
}

std::vector<train::Batch> TrainingRun::check_batches() {
  if (!data_.evaluation()) return data_.step_batches(1);
  std::vector<train::Batch> batches;
  data_.evaluation()->rewind();
  while (std::optional<train::Batch> batch = data_.evaluation()->next()) {
    batches.push_back(std::move(*batch));
    if (batches.size() == 8) break;
  }
  return batches;
}

void TrainingRun::open_metrics() {
  if (!session_.run().run_dir) return;
  train::MetricsSettings settings;
  settings.folder = std::filesystem::path(*session_.run().run_dir) / "metrics";
  metrics_.emplace(settings);
}

void TrainingRun::require_moved() {
  const std::vector<std::string> unmoved = trainer_.unmoved();
  if (unmoved.empty()) return;
  throw Error(fmt::format(
      "[train] {} of the trained parameters did not train at step {}: {}{}; freeze them by "
      "name (train.freeze) if that is meant",
      unmoved.size(), trainer_.progress().step, unmoved.front(), unmoved.size() > 1 ? " and others" : ""));
}

void TrainingRun::refuse_step_beyond_limit() {
  const std::optional<MemoryRoom> room = session_.memory_room();
  if (!room) return;
  // What was seen is better known than what was foreseen, which is an upper estimate.
  const std::int64_t seen = step_took_ + step_took_ / 4;
  std::int64_t more = step_bytes_;
  if (step_took_ > 0) more = step_bytes_ > 0 ? std::min(step_bytes_, seen) : seen;
  if (room->holds(more)) return;
  save();
  throw Error(
      fmt::format("[train] step {} {}: it was not begun{}; use train.checkpointing block, a smaller "
                  "train.rows or train.width, or raise guard.limit_gb",
                  trainer_.progress().step + 1, room->shortage(more),
                  store_ && saved_step_ == trainer_.progress().step
                      ? ", and the state is saved (train.resume goes on from it)"
                      : ""));
}

void TrainingRun::one_step(bool measure) {
  refuse_step_beyond_limit();
  const auto log_every = section(session_.run()).at("log_every").get<std::int64_t>();
  const std::vector<train::Batch> batches = data_.step_batches(settings_.micro_batches);
  const train::StepReport report = trainer_.step(batches, measure, [this](const char* name) { phase(name); });
  progress_.clear();
  const bool last = report.step == settings_.schedule.steps;
  log(report, report.step % log_every == 0 || last || report.step == 1);
  if (!measure || report.skipped) return;
  require_moved();
  last_proof_ = train::proofs_json(trainer_.proofs());
  if (!proved_) first_proof_ = last_proof_;
  proved_ = true;
}

TrainingRun::End TrainingRun::train_steps() {
  const nlohmann::json& train = section(session_.run());
  const auto eval_every = train.at("eval_every").get<std::int64_t>();
  const auto save_every = train.at("save_every").get<std::int64_t>();
  const nlohmann::json& patience = train.at("patience");
  while (trainer_.progress().step < settings_.schedule.steps) {
    if (control_.interrupt().load() || asked_to_end != 0) return End::interrupted;
    begin_finish();
    const std::int64_t next = trainer_.progress().step;
    const bool moves = settings_.rate(next) > 0.0;
    one_step(moves && (!proved_ || next + 1 == settings_.schedule.steps));
    const std::int64_t step = trainer_.progress().step;
    give_back_freed();
    give_back_if_asked();
    if (save_every > 0 && step % save_every == 0) save();
    if (eval_every == 0 || step % eval_every != 0 || step == settings_.schedule.steps) continue;
    const nlohmann::json result = evaluate(fmt::format("step {}", step));
    self_test(fmt::format("step {}", step));
    if (result.is_null()) continue;
    const double loss = result.at("loss").get<double>();
    if (best_loss_ == 0.0 || loss < best_loss_) {
      best_loss_ = loss;
      evaluations_without_gain_ = 0;
    } else if (++evaluations_without_gain_;
               patience.is_number() && evaluations_without_gain_ >= patience.get<std::int64_t>()) {
      std::fprintf(stderr, "[train] %lld evaluations without a lower loss: training ends (train.patience)\n",
                   static_cast<long long>(evaluations_without_gain_));
      return End::no_improvement;
    }
  }
  return End::steps;
}

nlohmann::json TrainingRun::memory_verdict() const {
  const nlohmann::json& chosen = forecast_.at("optimizers").front();
  const DeviceMemory device = session_.device_memory();
  const std::int64_t measured =
      device.live_peak_bytes > 0 ? device.live_peak_bytes : static_cast<std::int64_t>(memory_.peak());
  const auto limit = forecast_.at("limit_bytes").get<std::int64_t>();
  const bool fits = limit == 0 || measured <= limit;
  std::fprintf(
      stderr,
      "[memory] peak: forecast %s, measured %s; %s: %s. Will a full run with these settings fit? %s\n",
      train::bytes_text(chosen.at("peak_bytes").get<std::int64_t>()).c_str(),
      train::bytes_text(measured).c_str(), forecast_.at("limit").get<std::string>().c_str(),
      train::bytes_text(limit).c_str(), fits ? "yes" : "no");
  return {{"forecast", forecast_}, {"measured_peak_bytes", measured}, {"fits", fits}};
}

void TrainingRun::finish(End end) {
  const std::vector<std::string> unchanged = proved_ ? changes_.unchanged() : std::vector<std::string>{};
  const char* const ended = end == End::steps         ? "steps"
                            : end == End::interrupted ? "interrupted"
                                                      : "patience";
  std::fprintf(stderr, "%s", phases_.text().c_str());
  write_record(session_,
               {{"result",
                 {{"ended", ended},
                  {"forward", optimizer_.forward()},
                  {"step", trainer_.progress().step},
                  {"updates", trainer_.progress().updates},
                  {"tokens", trainer_.progress().tokens},
                  {"first_loss", first_loss_},
                  {"last_loss", last_loss_}}},
                {"losses", losses_},
                {"evaluations", evaluations_},
                {"self_test", self_tests_},
                {"proof", {{"first", first_proof_}, {"last", last_proof_}, {"unchanged", unchanged}}},
                {"memory_forecast", memory_verdict()},
                {"memory_phases", phases_.json()}});
  if (!unchanged.empty())
    throw Error(
        fmt::format("[train] {} trained parameters are what they were before training, to the bit: {}{}",
                    unchanged.size(), unchanged.front(), unchanged.size() > 1 ? " and others" : ""));
}

int TrainingRun::run() {
  const nlohmann::json& target = section(session_.run()).at("export_dir");
  if (target.is_string()) train::require_export_possible(target.get<std::string>());
  describe();
  resume();
  open_metrics();
  control_.phase("training", session_.memory().sample());
  if (trainer_.progress().step == 0) {
    evaluate_readings("before");
    self_test("before");
  }
  std::signal(SIGTERM, note_end_request);
  const End end = train_steps();
  save();
  if (end != End::interrupted) {
    if (settings_.finish_steps > 0 && optimizer_.forward() != "hi")
      std::fprintf(stderr, "[train] the run ended before train.finish: the model is hi + lo\n");
    evaluate_readings("after");
    self_test("after");
  }
  std::vector<std::string> drifted;
  if (end != End::interrupted) drifted = export_model();
  finish(end);
  for (const std::string& what : drifted) std::fprintf(stderr, "error: [export] %s\n", what.c_str());
  if (!drifted.empty()) return static_cast<int>(ExitCode::runtime);
  if (end == End::interrupted || self_test_.empty()) return 0;
  const nlohmann::json before = self_tests_.value("before", nlohmann::json());
  std::fprintf(stderr, "%s", SelfTest::compared(before, self_tests_.at("after")).c_str());
  const std::vector<std::string> failures = SelfTest::failures(before, self_tests_.at("after"));
  for (const std::string& failure : failures)
    std::fprintf(stderr, "error: [self_test] %s\n", failure.c_str());
  if (!failures.empty()) return static_cast<int>(ExitCode::runtime);
  return 0;
}

}  // namespace tetrad::cli
