#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/slice.hpp"
#include "bench/target.hpp"

namespace weir::tools::bench {

/// A way of reading and writing the target.
class contestant {
 public:
  contestant() = default;
  contestant(const contestant&) = delete;
  contestant& operator=(const contestant&) = delete;
  virtual ~contestant() = default;

  /// "pread", or the driver's name as `open_driver` takes it.
  virtual std::string_view name() const noexcept = 0;

  /// Does the slice to its end; what fails ends it.
  virtual void run(slice& work) = 0;
};

/// A driver that cannot take part.
struct absence {
  std::string driver;
  std::string reason;
};

/// Who takes part: pread(2), every driver that is available, and the first of them in what merges
/// neighbours, for the regime that asks about that. All have the file open, for reading, and a
/// scratch file for writing; past the page cache as well if `direct`.
struct field_of_contestants {
  std::vector<std::unique_ptr<contestant>> contestants;
  std::vector<absence> absent;
};
std::expected<field_of_contestants, std::string> assemble(const target& file, bool direct);

/// Whether this contestant is measured in this regime.
bool takes_part(const contestant& who, const regime& what) noexcept;

}  // namespace weir::tools::bench
