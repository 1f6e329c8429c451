#include "weir/adapters/boost_asio.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <boost/asio.hpp>

#include "adapters/event_loop.hpp"

namespace weir::testing {
namespace {

namespace net = ::boost::asio;
using attachment = adapters::boost_asio_attachment;
constexpr auto& deferred = ::boost::asio::deferred;

}  // namespace
}  // namespace weir::testing

#include "adapters/any_asio.inc"
