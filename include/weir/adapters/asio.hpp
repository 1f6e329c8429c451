#pragma once

#include <type_traits>
#include <utility>

#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/defer.hpp>
#include <asio/error_code.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include "weir/adapters/any_asio.hpp"

namespace weir::detail {

/// What is needed of Asio without Boost.
struct standalone_asio {
  using io_context = ::asio::io_context;
  using descriptor = ::asio::posix::stream_descriptor;
  using error_code = ::asio::error_code;

  template <class Handler>
  static auto allocator_of(const Handler& handler) noexcept {
    return ::asio::get_associated_allocator(handler);
  }
  template <class Handler>
  static auto slot_of(const Handler& handler) noexcept {
    return ::asio::get_associated_cancellation_slot(handler);
  }
  template <class Handler, class Executor>
  static auto executor_of(const Handler& handler, const Executor& otherwise) noexcept {
    return ::asio::get_associated_executor(handler, otherwise);
  }
  template <class Executor>
  static auto work_guard(const Executor& executor) {
    return ::asio::make_work_guard(executor);
  }
  template <class Executor, class Function>
  static void defer(const Executor& executor, Function function) {
    ::asio::defer(executor, std::move(function));
  }
  template <class Token, class Signature, class Initiation, class... Arguments>
  static auto initiate(Initiation initiation, std::remove_reference_t<Token>& token,
                       Arguments&&... arguments) {
    return ::asio::async_initiate<Token, Signature>(std::move(initiation), token,
                                                    std::forward<Arguments>(arguments)...);
  }
};

}  // namespace weir::detail

namespace weir::adapters {

/// With Asio 1.19 or later, without Boost.
using asio_attachment = basic_asio_attachment<detail::standalone_asio>;

}  // namespace weir::adapters
