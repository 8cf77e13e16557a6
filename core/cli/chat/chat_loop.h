// Reads turns and commands until the end of the input and gives them to a conversation.
#pragma once

#include "cli/chat/conversation.h"
#include "cli/chat/line_source.h"

namespace tetrad::cli {

// Returns the exit code. Everything said to the person goes to stderr. With a person at the other end an
// error that leaves the conversation usable (a prompt too long, a file that cannot be read) is printed and
// the loop goes on; otherwise it is thrown on.
int run_chat_loop(LineSource& lines, Conversation& conversation);

}  // namespace tetrad::cli
