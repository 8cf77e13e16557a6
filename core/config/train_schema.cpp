#include "config/train_schema.h"

#include "config/schema_builder.h"

namespace tetrad::config {
namespace {

std::vector<Field> data_fields() {
  return {
      Make("data", Type::list,
           "Files to learn from: TSV (`prompt<TAB>target` lines), JSONL (chats with `messages`) or plain "
           "text.")
          .by_default_empty_list()
          .elements(Make("file", Type::string, "A data file.").non_empty().meaning(Meaning::input_path)),
      Make("data_weights", Type::list,
           "Share of the examples that each file of `data` gives, in proportion. Empty: as many as each has.")
          .by_default_empty_list()
          .elements(Make("weight", Type::number, "A share.").above(0)),
      Make("on_bad_line", Type::choice,
           "A line that cannot be used ends the run (`stop`), or is left out and reported (`skip`).")
          .words({"stop", "skip"})
          .by_default("stop"),
      Make("too_long", Type::choice,
           "An example longer than `width`: its end is cut off and that is reported, it is skipped, or the "
           "run "
           "stops.")
          .words({"cut", "skip", "stop"})
          .by_default("cut"),
      Make("system", Type::string,
           "System message of the TSV examples. null does what the chat template does without one.")
          .nullable(),
      Make("learn_prompts", Type::boolean,
           "Score the prompts of TSV and chat data too, not the answers alone.")
          .by_default(false),
      Make("rows", Type::integer, "Rows of a batch.").at_least(1).by_default(4),
      Make("width", Type::integer, "Length of a row, and so of the longest example.")
          .at_least(2)
          .unit("tokens")
          .by_default(512),
      Make("pack", Type::boolean, "Several examples share a row; they do not see each other.")
          .by_default(true),
      Make("seed", Type::integer, "Seed of the data's order and of stochastic rounding.").by_default(0),
  };
}

std::vector<Field> step_fields() {
  return {
      Make("steps", Type::integer, "Steps of the whole run.").at_least(1).by_default(100),
      Make("micro_batches", Type::integer, "Batches whose gradients are added up for one step.")
          .at_least(1)
          .by_default(1),
      Make("accumulate_in", Type::choice,
           "How the gradients of micro-batches add up: in `float32` or `bfloat16`, one micro-batch after the "
           "other, with sums for the whole model; or in `blocks`: the backward pass takes each block of the "
           "model through all micro-batches before the next block, so that the sums of one block are held at "
           "a time, in float32, and what `checkpointing` keeps is kept for all micro-batches.")
          .words({"float32", "bfloat16", "blocks"})
          .by_default("float32"),
      Make("learning_rate", Type::number, "The highest learning rate of the schedule.")
          .at_least(0)
          .by_default(5e-5),
      Make("schedule", Type::choice, "How the learning rate falls after the warm-up.")
          .words({"constant", "linear", "cosine"})
          .by_default("cosine"),
      Make("warmup_steps", Type::integer, "Steps in which the learning rate rises to its highest.")
          .at_least(0)
          .by_default(0),
      Make("final_share", Type::number, "Share of the learning rate that is left at the end.")
          .at_least(0)
          .at_most(1)
          .by_default(0.0),
      Make("weight_decay", Type::number,
           "Decoupled weight decay (AdamW) of matrices; one-dimensional tensors have none.")
          .at_least(0)
          .by_default(0.0),
      Make("no_decay", Type::list,
           "Name patterns of further parameters without weight decay, e.g. `*embed*`.")
          .by_default_empty_list()
          .elements(Make("pattern", Type::string, "A pattern.").non_empty()),
      Make("freeze", Type::list,
           "Name patterns of parameters that are not trained. Everything else trains, embeddings, head and "
           "norms "
           "included.")
          .by_default_empty_list()
          .elements(Make("pattern", Type::string, "A pattern.").non_empty()),
      Make("gradients", Type::choice,
           "`two_phase` keeps all gradients until the backward pass is over, so that they are clipped by "
           "their exact norm and a bad step is skipped whole. `immediate` updates each parameter at once and "
           "keeps none.")
          .words({"two_phase", "immediate"})
          .by_default("two_phase"),
      Make("clip", Type::choice,
           "What gradients are scaled down by, to `max_norm`: their norm over all parameters (`global_norm`; "
           "not with `gradients: immediate`), that norm of the step before (`previous_norm`), for each "
           "parameter the root mean square of the update that its gradient alone would make, in units of the "
           "learning rate (`update_rms`), or nothing (`none`).")
          .words({"global_norm", "previous_norm", "update_rms", "none"})
          .by_default("global_norm"),
      Make("max_norm", Type::number, "What `clip` scales gradients down to.").above(0).by_default(1.0),
      Make(
          "max_skipped", Type::integer,
          "Steps in a row that may be skipped for a gradient that is not finite; then the run ends with exit "
          "code 4.")
          .at_least(1)
          .by_default(3),
      Make("checkpointing", Type::choice,
           "Activations that are computed again in the backward pass instead of being kept: `none`, "
           "`selective` (gate and up), `block` (all of a block). The numbers are the same.")
          .words({"none", "selective", "block"})
          .by_default("none"),
      section(
          "finish",
          "The last steps of the run train another reading of the same weights, so that what is exported is "
          "what was trained.",
          {Make("forward", Type::choice,
                "`hi`: the hi plane alone is the model; lo stays what the optimizer has not yet moved hi by.")
               .words({"hi"})
               .by_default("hi"),
           Make("steps", Type::integer, "How many; 0: none.").at_least(0).by_default(0),
           Make("learning_rate", Type::number,
                "Highest learning rate of a schedule of their own: the decay of `schedule`, from their first "
                "step to their last, after a warm-up of `warmup_steps`, but at most an eighth of them. null: "
                "the run's schedule goes on, whose rate is low by then. Refused where steps is 0.")
               .nullable()
               .at_least(0)}),
      Make("head_budget_mib", Type::integer,
           "Memory for logits; where they need more, the vocabulary is gone through in tiles.")
          .at_least(1)
          .unit("MiB")
          .by_default(512),
  };
}

std::vector<Field> result_fields() {
  return {
      Make("eval_data", Type::string, "File whose loss is measured (same formats as `data`). null: none.")
          .nullable()
          .non_empty()
          .meaning(Meaning::input_path),
      Make("eval_every", Type::integer, "Steps between two evaluations; 0: before and after training alone.")
          .at_least(0)
          .by_default(0),
      Make("eval_batches", Type::integer, "Batches of one evaluation at most; 0: all.")
          .at_least(0)
          .by_default(0),
      Make("patience", Type::integer,
           "Training ends after this many evaluations without a new lowest loss. null: never.")
          .nullable()
          .at_least(1),
      Make(
          "self_test", Type::list,
          "Prompts that are answered before, during (at evaluations) and after training; answers are stored.")
          .by_default_empty_list()
          .elements(Make("prompt", Type::string, "A user message.").non_empty()),
      Make("self_test_expect", Type::list,
           "What the answers must contain at the end, one for each prompt; an empty text asks nothing. A "
           "miss is "
           "exit code 1.")
          .by_default_empty_list()
          .elements(Make("text", Type::string, "A text.")),
      Make("self_test_files", Type::list,
           "TSV files of further prompts with a text that a right answer contains. Right answers are counted "
           "before and after; fewer after than before is exit code 1.")
          .by_default_empty_list()
          .elements(Make("file", Type::string, "A TSV file.").non_empty().meaning(Meaning::input_path)),
      Make("self_test_tokens", Type::integer, "Longest answer of a self test.")
          .at_least(1)
          .unit("tokens")
          .by_default(48),
      Make("save_dir", Type::string, "Folder of checkpoints. null: none are saved.")
          .nullable()
          .non_empty()
          .meaning(Meaning::output_path),
      Make("save_every", Type::integer, "Steps between two checkpoints; 0: at the end alone.")
          .at_least(0)
          .by_default(0),
      Make("keep_last", Type::integer, "Checkpoints that are kept.").at_least(1).by_default(2),
      Make("resume", Type::boolean, "Go on from the latest checkpoint in `save_dir`, where there is one.")
          .by_default(false),
      Make("export_dir", Type::string,
           "Folder that the trained model is exported to, for programs that read Hugging Face's format. It "
           "must "
           "not exist. null: no export.")
          .nullable()
          .non_empty()
          .meaning(Meaning::output_path),
      Make("export", Type::choice,
           "What `export_dir` holds: `dense` values, as this run decodes its weights; `tetrad`, the planes "
           "as they "
           "are stored; `compressed-tensors`, the hi planes as they are stored, for other programs. After it "
           "was "
           "written the folder is loaded on both paths and compared with the trained model.")
          .words({"dense", "tetrad", "compressed-tensors"})
          .by_default("dense"),
      Make("export_allow_drift", Type::boolean,
           "An answer of the self test that the trained model has right and the export wrong is only "
           "reported, and not exit code 1.")
          .by_default(false),
      Make("export_python", Type::string,
           "Python interpreter whose transformers library also reads the export, on the CPU, for a "
           "comparison with the trained model. null: that of $VIRTUAL_ENV, else .venv/bin/python, else "
           "python3; `none`: no such comparison. Where transformers is missing, the run says so and goes on.")
          .nullable()
          .non_empty(),
      Make("log_every", Type::integer, "Steps between two log lines.").at_least(1).by_default(1),
  };
}

}  // namespace

Field train_section() {
  std::vector<Field> fields = data_fields();
  for (auto part : {step_fields(), result_fields()}) {
    for (Field& field : part) fields.push_back(std::move(field));
  }
  return section("train", "Full-parameter training. Used by the task train.", std::move(fields));
}

}  // namespace tetrad::config
