// Work over an index range on a few threads. The first exception stops the rest and is thrown to the caller.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace taut {

template <class Act>
void parallel_for(size_t count, int threads, Act&& act) {
    if (threads <= 1 || count <= 1) {
        for (size_t i = 0; i < count; i++) act(i);
        return;
    }
    std::atomic<size_t> next{0};
    std::exception_ptr failure;
    std::mutex guard;
    const auto work = [&] {
        try {
            for (size_t i; (i = next.fetch_add(1)) < count;) act(i);
        } catch (...) {
            std::lock_guard lock(guard);
            if (!failure) failure = std::current_exception();
            next = count;
        }
    };
    std::vector<std::thread> crew;
    const size_t extra = std::min<size_t>(size_t(threads), count) - 1;
    crew.reserve(extra);
    try {
        for (size_t i = 0; i < extra; i++) crew.emplace_back(work);
    } catch (const std::exception&) {
        // The system gives no more threads or memory for them: those that run share the work.
    }
    work();
    for (std::thread& t : crew) t.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace taut
