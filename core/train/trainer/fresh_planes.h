// The planes of a trained parameter encoded anew: hi gets the block scales and codes that fit its values now
// (profile te's, under the global scale it has), lo what is left. While a model trains as hi + lo its block
// scales move by factors of two alone and hi lags behind the sum, which costs nothing there and a lot where
// hi alone is read: so it is done once, where train.finish begins.
#pragma once

#include <tetrad/torch/parameter.h>

#include <cstdint>
#include <deque>

#include "train/trainer/optimizer_states.h"

namespace tetrad::train {

// True when the parameter has a lo plane and was encoded anew; its version is then raised, and its values
// have moved by what the last plane rounds. Waits for the device.
bool encode_anew(Parameter& parameter);

// encode_anew() of every parameter that trains; how many had a lo plane.
std::int64_t encode_anew(std::deque<Parameter>& parameters, const OptimizerStates& states);

}  // namespace tetrad::train
