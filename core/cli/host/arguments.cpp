#include "cli/host/arguments.h"

#include "cli/host/legacy_flags.h"
#include "cli/launch/engine_path.h"
#include "cli/protocol/messages.h"
#include "config/suggest.h"
#include "guard/settings.h"
#include "text/utf8.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <filesystem>

namespace tetrad::cli {

namespace {

constexpr const char* footer =
    "Exit codes: 0 ok, 1 runtime error, 2 usage or config, 3 plugin refused, 4 numerics, 124 ended by the "
    "guard,\n"
    "125 guard cannot see memory, 128+n ended by signal n. Results go to stdout, everything else to stderr.\n"
    "The predecessor's flags (--kvc-backend, --turns, --prompt, ...) are taken as well: docs/config.md.";

class Builder {
 public:
  // config_chosen: the command line says by other means which config is meant.
  Builder(Arguments& arguments, bool config_chosen) : a_(arguments), config_chosen_(config_chosen) {
    app_.footer(footer);
    app_.require_subcommand(0, 1);
    app_.set_version_flag("--version",
                          fmt::format("host {} (protocol {})", TETRAD_VERSION, protocol_version));
    configs(&app_, false);
    add_run_commands();
    add_config_commands();
    add_plugin_commands();
    add_runs_commands();
    add_checkpoints_commands();
    add_parity_commands();
    add_other_commands();
  }

  CLI::App& app() { return app_; }

 private:
  CLI::App* command(CLI::App* parent, const std::string& name, const std::string& what) {
    CLI::App* sub = parent->add_subcommand(name, what);
    plugin_path(sub);
    return sub;
  }

  void plugin_path(CLI::App* app) {
    app->add_option("--plugin-path", a_.plugin_paths,
                    "Folder searched for plugins before all others (repeatable)")
        ->type_name("DIR")
        ->allow_extra_args(false);
  }

  void sets(CLI::App* app) {
    app->add_option("--set", a_.sets, "Override a value of the config (repeatable)")
        ->type_name("KEY=VALUE ...");
  }

  void configs(CLI::App* app, bool required) {
    app->add_option("--config", a_.configs, "Config file; a later one overrides (repeatable)")
        ->type_name("FILE")
        ->allow_extra_args(false)
        ->required(required && !config_chosen_);
    sets(app);
    if (app == &app_) plugin_path(app);
    app->add_option("--engine", a_.engine, "")->group("");
    if (app->get_name() != "why") language(app, "Language of the run's summary: en or zh-TW");
  }

  void language(CLI::App* app, const std::string& what) {
    app->add_option("--lang", a_.language, what)->type_name("LANG");
  }

  void add_run_commands() {
    CLI::App* chat =
        command(&app_, "chat", "Chat: the config's script of turns, or turns from standard input");
    configs(chat, true);

    CLI::App* generate = command(&app_, "generate", "Answer one prompt");
    configs(generate, true);
    generate->add_option("--prompt", a_.prompt, "The prompt")->type_name("TEXT")->required();
    generate->add_flag("--raw", a_.raw, "Feed the prompt as it stands, without the chat template");
    generate
        ->add_option("--repeat", a_.repeat, "Answer it N times anew, for timing: the record lists all runs")
        ->type_name("N")
        ->check(CLI::Range(1, 1000));
    json(generate, "One JSON record on stdout instead of the text");

    CLI::App* eval = command(&app_, "eval", "Perplexity of a text, as JSON");
    configs(eval, true);
    eval->add_option("--text", a_.text, "The text file (default: eval.text of the config)")
        ->type_name("FILE");

    CLI::App* train = command(&app_, "train", "Train every parameter of the config's model");
    configs(train, true);
    train->add_flag("--dry-run", a_.dry_run,
                    "Say what the run will need in memory, with each optimizer, and end");

    CLI::App* bench = command(
        &app_, "bench", "Prefill and decode tokens per second at several depths, beside memory's copy rate");
    configs(bench, true);
    bench->add_option("--out", a_.out, "Write the JSON record there too")->type_name("FILE.json");
    json(bench, "The record as JSON instead of the table");

    tensors("logits", "Store the logits of every position of a prompt as safetensors",
            "Result: input_ids int64 [T], logits float32 [T, V]");
    tensors(
        "gradients", "Store loss and gradients of a prompt's next tokens as safetensors",
        "Result: input_ids int64 [T], loss float32 [1], each gradient in float32 by its parameter's name");
  }

  // A command that stores what the model computes for one prompt.
  void tensors(const char* name, const char* what, const char* result) {
    CLI::App* app = command(&app_, name, what);
    configs(app, true);
    CLI::Option_group* source = app->add_option_group("prompt");
    source->add_option("--prompt", a_.prompt, "The prompt")->type_name("TEXT");
    source->add_option("--prompt-file", a_.prompt_file, "File with the prompt")->type_name("FILE");
    source->add_option("--ids", a_.ids, "Token ids: 1,2,3")->type_name("IDS");
    source->require_option(1);
    app->add_flag("--raw", a_.raw, "Feed the prompt as it stands, without the chat template");
    app->add_option("--out", a_.out, result)->type_name("FILE.safetensors")->required();
  }

  void add_config_commands() {
    CLI::App* config = app_.add_subcommand("config", "Check, show and compare configs");
    config->require_subcommand(1);
    CLI::App* validate = command(config, "validate", "Check config files; all errors at once");
    validate->add_option("FILE", a_.files, "Config files")->required();
    sets(validate);
    json(validate, "The result as JSON");
    CLI::App* show = command(config, "show", "The resolved config: bases merged, defaults filled in");
    show->add_option("FILE", a_.files, "Config file")->required()->expected(1);
    sets(show);
    show->add_flag("--origin", a_.origins, "Where each value comes from");
    show->add_option("--key", a_.key, "Only the value at this path")->type_name("KEY");
    json(show, "As JSON");
    CLI::App* schema = command(config, "schema", "Every key with type, default and documentation");
    schema->add_option("KEY", a_.key, "Only this key or section");
    schema->add_flag("--markdown", a_.markdown, "As Markdown");
    json(schema, "JSON Schema for editors");
    CLI::App* diff = command(config, "diff", "Keys in which two configs differ");
    diff->add_option("FILES", a_.files, "Two config files, A and B")->required()->expected(2);
    sets(diff);
    json(diff, "As JSON");
  }

  void add_plugin_commands() {
    CLI::App* plugins = app_.add_subcommand("plugins", "Plugins that were found");
    plugins->require_subcommand(1);
    json(command(plugins, "list", "Every plugin file with its verdict"), "As JSON");
    CLI::App* inspect = command(plugins, "inspect", "One plugin: options, capabilities, numerics, build");
    inspect->add_option("PLUGIN", a_.plugin, "Id, or path of a file (which need not be loadable)")
        ->required();
    json(inspect, "As JSON");
    CLI::App* why = command(plugins, "why", "Why a plugin of a kind is, or is not, taken");
    why->add_option("KIND", a_.plugin, "linear, kv_cache, ...")->required();
    configs(why, false);
    why->add_option("--device", a_.device, "Ask for this device: auto, cpu, cuda or cuda:N")
        ->capture_default_str();
    why->add_flag("--no-engine", a_.no_engine, "Only what the files claim; load nothing");
    json(why, "As JSON");
    CLI::App* check =
        command(plugins, "check", "Run a plugin's conformance cases, each in its own process; exit 0 or 3");
    check->add_option("PLUGIN", a_.plugin, "Id, or path of a file")->required();
    check->add_option("--option", a_.options, "Option of the plugin (repeatable; others at their defaults)")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    check
        ->add_option("--case", a_.cases, "Only cases whose name matches, e.g. 'linear/forward*' (repeatable)")
        ->type_name("PATTERN")
        ->allow_extra_args(false);
    check->add_option("--device", a_.device, "Check on this device: cpu (the default), cuda or cuda:N");
    check->add_option("--timeout", a_.timeout_secs, "Seconds that a case may take")
        ->type_name("SECS")
        ->check(CLI::Range(0.1, 86400.0))
        ->capture_default_str();
    check->add_option("--engine", a_.engine, "")->group("");
    json(check, "As JSON");
  }

  void add_runs_commands() {
    CLI::App* runs = app_.add_subcommand("runs", "What earlier runs have left");
    runs->require_subcommand(1);
    CLI::App* list = runs->add_subcommand("list", "The runs, newest first");
    list->add_option("--limit", a_.most, "At most so many; 0 shows all")
        ->type_name("N")
        ->capture_default_str();
    CLI::App* show = runs->add_subcommand("show", "The summary of a run");
    show->add_option("RUN", a_.run_name, "Name or the beginning of one, path of its folder, or 'latest'")
        ->required();
    for (CLI::App* command : {list, show}) {
      language(command, "Language: en or zh-TW");
      command->add_option("--dir", a_.runs_dir, "Where the runs are (run.dir of the config)")
          ->type_name("DIR")
          ->capture_default_str();
    }
    json(list, "As JSON");
    json(show, "Everything that was recorded, as JSON");
  }

  void add_parity_commands() {
    CLI::App* parity = command(
        &app_, "parity", "Say where configs differ: same prompts, same weights, one run for each of them");
    parity->require_subcommand(0, 1);
    parity
        ->add_option("--config", a_.configs,
                     "Config file: each is an arm, the first the reference (repeatable)")
        ->type_name("FILE")
        ->allow_extra_args(false);
    sets(parity);
    parity
        ->add_option("--sweep", a_.sweeps,
                     "An arm for each value of a config key, with all others (repeatable)")
        ->type_name("KEY=VALUE,VALUE ...");
    parity->add_flag("--layers", a_.layers, "Compare hidden states, to name the layer where the arms part");
    parity->add_option("--text", a_.text, "Measure the perplexity of this text")->type_name("FILE");
    parity->add_option("--out", a_.out, "Folder of the result (default: one below run.dir)")
        ->type_name("DIR");
    parity->add_option("--resume", a_.resume, "Go on with the comparison in this folder")->type_name("DIR");
    parity->add_flag("--yes", a_.yes, "Run more than 100 arms");
    parity->add_option("--engine", a_.engine, "")->group("");
    CLI::App* show = parity->add_subcommand("show", "Render a result again");
    show->add_option("RESULT", a_.files, "Folder of the result, its report.json, or the name of its folder")
        ->required()
        ->expected(1);
    show->add_option("--html", a_.html, "Write the page there")->type_name("FILE");
    show->add_option("--csv", a_.csv, "Write the table there")->type_name("FILE");
    CLI::App* compare =
        parity->add_subcommand("compare", "What changed between two results; exit code 1 for worse");
    compare->add_option("RESULTS", a_.files, "Two results, the older one first")->required()->expected(2);
    for (CLI::App* app : {parity, show, compare}) {
      language(app, "Language: en or zh-TW");
      json(app, "The result as JSON");
    }
    for (CLI::App* app : {show, compare}) {
      app->add_option("--dir", a_.runs_dir, "Where results are looked for by name")
          ->type_name("DIR")
          ->capture_default_str();
    }
  }

  void add_checkpoints_commands() {
    CLI::App* checkpoints = app_.add_subcommand("checkpoints", "What training runs have saved");
    checkpoints->require_subcommand(1);
    CLI::App* list = checkpoints->add_subcommand("list", "The checkpoints in a folder");
    CLI::App* verify = checkpoints->add_subcommand(
        "verify", "Read every byte and compare checksums; exit code 1 when one is damaged");
    for (CLI::App* command : {list, verify}) {
      command
          ->add_option("DIR", a_.checkpoint_dir, "One checkpoint, or a run's folder of them (train.save_dir)")
          ->required();
      json(command, "As JSON");
    }
  }

  void add_other_commands() {
    CLI::App* tokenize =
        app_.add_subcommand("tokenize", "Text on standard input to a JSON array of token ids");
    tokenize->add_option("--model", a_.model, "Folder of the model (its tokenizer.json)")
        ->type_name("DIR")
        ->required();
    tokenize->add_flag("--decode", a_.decode, "The other way: a JSON array of ids to text");

    add_convert_command();

    CLI::App* guard =
        command(&app_, "guard", "Run any command under the memory guard: host guard [limits] -- CMD ...");
    guard->add_option("--limit-gb", a_.limit_gb, "GiB for all its processes together, 'auto' or 'none'")
        ->type_name("GIB")
        ->capture_default_str();
    guard->add_option("--soft-gb", a_.soft_gb, "GiB at which the command gets SIGTERM, 'auto' or 'none'")
        ->type_name("GIB")
        ->capture_default_str();
    guard
        ->add_option("--sensor", a_.sensors,
                     "Guard sensor plugin (repeatable); default: those that this machine has a use for")
        ->type_name("ID")
        ->allow_extra_args(false);
    guard->add_flag("--refuse-blind", a_.refuse_blind,
                    "End with 125 instead of starting when a sensor cannot observe its memory");
    guard->add_flag("--verify", a_.verify,
                    "Instead of a command: test sensors, kill path and a refused allocation on this machine");
    json(guard->add_subcommand("status", "The guards that run on this machine"), "As JSON");
    guard->add_option("--report", a_.report, "Where a kill is reported: FILE.json, and FILE.txt for people")
        ->type_name("FILE.json");
    guard->add_option("--log", a_.log, "Each reading as a line of JSON; the newest are kept, see --log-mb")
        ->type_name("FILE");
    guard->add_option("--log-mb", a_.log_mb, "Most MiB that the log takes, FILE and FILE.1 together")
        ->check(CLI::Range(0.1, 1e6))
        ->capture_default_str();
    guard->add_option("--over-secs", a_.over_secs, "Seconds over the limit before it is ended")
        ->capture_default_str();
    guard->add_option("--poll-secs", a_.poll_secs, "Seconds between two readings")->capture_default_str();
    guard->add_option("--host-floor-gb", a_.host_floor_gb, "GiB that stay available on the machine")
        ->capture_default_str();

    CLI::App* doctor = command(&app_, "doctor", "What this machine, these plugins and the engine can do");
    json(doctor, "As JSON");
    CLI::Option* verify = doctor->add_flag(
        "--verify", a_.verify,
        "Run every kernel that a run here would use against plain code; what fails is refused afterwards");
    doctor->add_option("--device", a_.device, "What to verify: auto, cpu, cuda or cuda:N")
        ->capture_default_str()
        ->needs(verify);
    doctor->add_option("--out", a_.out, "The report of a verification (default: tetrad-verify.json)")
        ->type_name("FILE")
        ->needs(verify);
    doctor->add_option("--timeout-secs", a_.timeout_secs, "Seconds for all of a verification")
        ->check(CLI::Range(1.0, 3600.0))
        ->capture_default_str()
        ->needs(verify);
    doctor->add_option("--engine", a_.engine, "")->group("");
  }

  void add_convert_command() {
    CLI::App* convert = app_.add_subcommand(
        "convert", "Write a model in another layout: bfloat16, or NVFP4 as other programs read it");
    convert->add_option("--from", a_.from, "Model folder, .safetensors or .dat file")
        ->type_name("PATH")
        ->required();
    convert->add_option("--config-from", a_.config_from, "Folder of config.json and tokenizer; for a .dat")
        ->type_name("DIR");
    convert->add_option("--to", a_.to, "Folder to make; must not exist")->type_name("DIR")->required();
    convert->add_option("--format", a_.format, "Layout of the result")
        ->check(CLI::IsMember({"hf-bf16", "compressed-tensors", "modelopt", "tetrad"}))
        ->required();
    convert->add_option("--profile", a_.profile, "Whose encoder to follow bit for bit")
        ->check(CLI::IsMember({"te", "torchao_inference", "modelopt", "compressed_tensors"}))
        ->capture_default_str();
    convert->add_option("--global-scale", a_.global_scale, "Rule of the fp32 scale of weights encoded here")
        ->check(CLI::IsMember({"power_of_two", "exact"}))
        ->capture_default_str();
    convert
        ->add_option("--head", a_.head, "lm_head, or the embedding tied to it; auto: packed for tetrad alone")
        ->check(CLI::IsMember({"auto", "packed", "dense"}))
        ->capture_default_str();
    convert->add_option("--embedding", a_.embedding, "Embedding of a model with a head of its own")
        ->check(CLI::IsMember({"packed", "dense"}))
        ->capture_default_str();
    convert
        ->add_option("--keep", a_.keep,
                     "Module that stays, or becomes, dense; '*' is a wildcard (repeatable)")
        ->type_name("NAME")
        ->allow_extra_args(false);
    convert->add_option("--max-shard-gb", a_.max_shard_gb, "Largest weight file, in 10^9 bytes")
        ->check(CLI::Range(0.000001, 1e6))
        ->capture_default_str();
    json(convert, "The result as JSON");
  }

  void json(CLI::App* app, const std::string& what) { app->add_flag("--json", a_.json, what); }

  Arguments& a_;
  bool config_chosen_;
  CLI::App app_{"Tetrad: run Qwen3-class language models in NVFP4, with the numerics as plugins", "host"};
};

// The innermost command that was given.
CLI::App* innermost(CLI::App& app) {
  CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return at;
}

std::string full_name(const CLI::App* app) {
  const CLI::App* parent = app->get_parent();
  if (parent == nullptr) return "host";
  return full_name(parent) + " " + app->get_name();
}

std::vector<std::string> option_names(const CLI::App* app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app->get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  for (const CLI::App* group :
       app->get_subcommands([](const CLI::App* sub) { return sub->get_name().empty(); })) {
    for (std::string& name : option_names(group)) names.push_back(std::move(name));
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App* app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app->get_subcommands([](const CLI::App* s) { return !s->get_name().empty(); })) {
    names.push_back(sub->get_name());
  }
  return names;
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ExitCode::usage, "[cli] " + what);
}

std::string command_of(CLI::App& app) {
  const std::string name = full_name(innermost(app));
  constexpr std::string_view prefix = "host ";
  return name.size() > prefix.size() ? name.substr(prefix.size()) : "run";
}

bool takes_legacy_flags(const std::string& command) {
  return command == "run" || command == "chat" || command == "generate";
}

[[noreturn]] void refuse_unexpected(CLI::App& app, const std::string& fallback) {
  CLI::App* at = innermost(app);
  std::vector<std::string> left;
  for (CLI::App* level = at; level != nullptr && left.empty(); level = level->get_parent())
    left = level->remaining();
  if (left.empty()) left = app.remaining(true);
  if (left.empty()) refuse(fallback);
  const std::string word = left.front().substr(0, left.front().find('='));
  const std::string help = fmt::format("; see '{} --help'", full_name(at));
  if (word.size() > 1 && word.front() == '-') {
    std::vector<std::string> names = option_names(at);
    const std::string command = command_of(app);
    if (takes_legacy_flags(command)) {
      for (std::string& name : legacy_flag_names(command)) names.push_back(std::move(name));
    }
    const std::string near = config::did_you_mean(word, names);
    refuse(fmt::format("'{}' has no option '{}'{}", full_name(at), word, near.empty() ? help : near));
  }
  const std::vector<std::string> commands = command_names(at);
  const std::string near = config::did_you_mean(word, commands);
  if (!commands.empty())
    refuse(fmt::format("'{}' has no command '{}'{}", full_name(at), word, near.empty() ? help : near));
  refuse(fmt::format("'{}' takes no further argument '{}'{}", full_name(at), word, help));
}

// The command of a line before it is parsed: its first word that is neither an option nor an option's value.
std::string command_word(const std::vector<std::string>& words) {
  constexpr std::array valued = {"--config", "--set", "--plugin-path", "--engine", "--lang"};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool value_follows =
        word.find('=') == std::string::npos && i + 1 < words.size() && !words[i + 1].starts_with("--");
    if (std::find(valued.begin(), valued.end(), word) != valued.end() ||
        (is_legacy_flag(word) && value_follows) || word == "script") {
      ++i;
    } else if (!word.starts_with('-') && word.find('=') == std::string::npos) {  // --set takes several K=V
      return word;
    }
  }
  return "run";
}

void check_parity(const Arguments& arguments) {
  if (arguments.resume.empty()) {
    if (arguments.configs.empty())
      refuse("'host parity' needs --config FILE (one with a sweep, or several), or --resume DIR");
    return;
  }
  const bool more = !arguments.configs.empty() || !arguments.sets.empty() || !arguments.sweeps.empty() ||
                    arguments.out || arguments.text || arguments.layers || !arguments.plugin_paths.empty();
  if (more) refuse("'host parity --resume' goes on as planned: it takes no configs, settings or --out");
}

// A shipped config: below the current directory, or where this program was built or installed.
std::string shipped_config(const std::string& name) {
  namespace fs = std::filesystem;
  const fs::path program = program_folder();
  const std::array places = {fs::path("configs") / name,
                             (program / "../../configs" / name).lexically_normal(),
                             (program / "../share/tetrad/configs" / name).lexically_normal()};
  std::error_code failed;
  for (const fs::path& place : places) {
    if (fs::is_regular_file(place, failed)) return place.string();
  }
  refuse(fmt::format("the config {} is neither {} nor {} nor {}; name one with --config", name,
                     places[0].string(), places[1].string(), places[2].string()));
}

// Takes the predecessor's flags out of `words`. True when they choose the config.
LegacyFlags take_legacy(std::vector<std::string>& words) {
  LegacySituation situation;
  situation.command = command_word(words);
  if (!takes_legacy_flags(situation.command)) return {};
  situation.has_config = std::any_of(words.begin(), words.end(), [](const std::string& word) {
    return word == "--config" || word.starts_with("--config=");
  });
  situation.terminal = ::isatty(STDIN_FILENO) == 1;
  situation.memory_bytes = guard::read_capacity().total_bytes;
  LegacyFlags legacy = take_legacy_flags(words, situation);
  words = legacy.rest;
  return legacy;
}

}  // namespace

Parsed parse_arguments(int argc, const char* const* argv) {
  Parsed parsed;
  Arguments& arguments = parsed.arguments;
  // Everything after the first "--" is another program's command line, and none of the parser's business.
  std::vector<std::string> words(argv + 1, argv + argc);
  const auto separator = std::find(words.begin(), words.end(), "--");
  const bool separated = separator != words.end();
  if (separated) arguments.program.assign(separator + 1, words.end());
  words.erase(separator, words.end());
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool value = i > 0 && words[i - 1].starts_with("--");
    text::require_utf8(words[i], value ? "the value of " + text::lossy_utf8(words[i - 1])
                                       : fmt::format("argument {}", i + 1));
  }
  const LegacyFlags legacy = take_legacy(words);
  std::reverse(words.begin(), words.end());  // the parser takes them from the back

  Builder builder(arguments, legacy.config.has_value());
  CLI::App& app = builder.app();
  try {
    app.parse(words);
  } catch (const CLI::CallForHelp&) {
    parsed.answer = Answer{app.help()};
    return parsed;
  } catch (const CLI::CallForVersion& e) {
    parsed.answer = Answer{std::string(e.what()) + "\n"};
    return parsed;
  } catch (const CLI::ExtrasError& e) {
    refuse_unexpected(app, e.what());
  } catch (const CLI::ParseError& e) {
    // A missing argument often follows from a misspelt one; name that first.
    if (!innermost(app)->remaining().empty()) refuse_unexpected(app, e.what());
    refuse(fmt::format("'{}': {}; see '{} --help'", full_name(innermost(app)), e.what(),
                       full_name(innermost(app))));
  }
  arguments.command = command_of(app);
  arguments.sets.insert(arguments.sets.begin(), legacy.sets.begin(), legacy.sets.end());
  arguments.script_flags = legacy.script_flags;
  arguments.notes = legacy.notes;
  if (legacy.config) {
    arguments.configs.push_back(shipped_config(*legacy.config));
    arguments.notes.push_back(
        fmt::format("[host] config: {} ({})", arguments.configs.back(), legacy.config_reason));
  }
  if (arguments.command == "run" && arguments.configs.empty()) {
    refuse("nothing to do: give --config FILE or a command; see 'host --help'");
  }
  if (arguments.command == "parity") check_parity(arguments);
  if (arguments.command != "run") {
    // Options before the command belong to `host` alone and would be lost.
    if (innermost(app)->get_option_no_throw("--config") == nullptr && !arguments.configs.empty()) {
      refuse(fmt::format("'host {}' takes no --config", arguments.command));
    }
  }
  if (separated && arguments.command != "guard")
    refuse(fmt::format("'host {}' runs no other program: nothing may follow '--'", arguments.command));
  if (arguments.verify && !arguments.program.empty())
    refuse("'host guard --verify' runs no command of yours");
  if (arguments.command == "guard" && arguments.program.empty() && !arguments.verify) {
    refuse("'host guard' needs a command after '--': host guard --limit-gb 8 -- CMD ...");
  }
  return parsed;
}

}  // namespace tetrad::cli
