#pragma once

#include <expected>
#include <string>

#include "temporary_file.hpp"

namespace weir::tools {

/// A connection to "HOST:PORT" ("[::1]:80" for IPv6) or "unix:PATH", by a stream; or why there is
/// none, as a sentence.
std::expected<descriptor, std::string> connect_to_receiver(const std::string& where);

}  // namespace weir::tools
