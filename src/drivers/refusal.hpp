#pragma once

#include "drivers/drivers.hpp"
#include "weir/driver.hpp"

namespace weir::detail {

/// Whether the refusal means "not available here", so that the next driver may be tried. A lack of
/// memory or descriptors does not: hiding it would only move the failure.
bool means_unavailable(const refusal& why) noexcept;

/// The refusal as a person wants to read it: what was tried, what the system answered, the likely
/// cause on this machine, and what to do.
driver_report explain(std::string_view driver, const refusal& why);

/// The same of the client of a daemon, whose socket is at `path`.
driver_report explain_client(const std::string& path, const refusal& why);

}  // namespace weir::detail
