// Environment variables for the engine, which inherits the launcher's. What the user has set stays.
#pragma once

namespace tetrad::cli {

// The engine's threads wait instead of spinning. For work that is many short products: on a machine that has
// other work, spinning threads take the time of working ones (8 times slower measured).
void let_threads_wait();

// For training steps: threads that wait, and a small cache of oneDNN's. It keeps the code of each product's
// shape, 1024 shapes by default. Padding is dropped, so that each step has a number of tokens of its own: a
// third of a MiB a shape would add up to some hundred MiB that are never used again.
void prepare_for_training();

}  // namespace tetrad::cli
