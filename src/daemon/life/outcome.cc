#include "daemon/life/outcome.hpp"

#include <cerrno>
#include <system_error>

namespace weir::life {

std::unexpected<failure> failed(std::string sentence, int error) {
  sentence += ": " + std::system_category().message(error);
  return std::unexpected(failure{.sentence = std::move(sentence), .error = error});
}

std::unexpected<failure> failed(std::string sentence) { return failed(std::move(sentence), errno); }

}  // namespace weir::life
