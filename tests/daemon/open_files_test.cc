// The files that a daemon has open.

#include "daemon/server/open_files.hpp"

#include <fcntl.h>

#include "daemon/descriptor.hpp"
#include "support/support.hpp"

namespace weir::testing {
namespace {

using detail::daemon::open_files;

class open_files_test : public driver_test {
 protected:
  temp_directory directory_;
};

TEST_P(open_files_test, a_file_is_closed_also_where_the_context_ends_before_its_turn_comes) {
  const int fd = make_file(directory_ / "file").release();
  auto context = open_context(GetParam());
  open_files files(*context);
  files.close(detail::daemon::descriptor(fd));
  context.reset();
  EXPECT_FALSE(is_open(fd));
}

INSTANTIATE_TEST_SUITE_P(drivers, open_files_test, ::testing::ValuesIn(driver_names),
                         name_of_driver);

}  // namespace
}  // namespace weir::testing
