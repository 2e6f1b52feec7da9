// The same work on several threads, which share it out themselves.
#pragma once

#ifndef TAUT_THREADS
#define TAUT_THREADS 1
#endif
#if TAUT_THREADS && !defined(_WIN32) && !defined(__wasi__) && !defined(__EMSCRIPTEN__)
#define TAUT_PTHREADS 1
#include <pthread.h>
#else
#define TAUT_PTHREADS 0
#endif

namespace taut::capi {

#if TAUT_PTHREADS
class Lock {
public:
    void lock() { pthread_mutex_lock(&mutex_); }
    void unlock() { pthread_mutex_unlock(&mutex_); }

private:
    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};
#else
class Lock {
public:
    void lock() {}
    void unlock() {}
};
#endif

class Held {
public:
    explicit Held(Lock& lock) : lock_(lock) { lock_.lock(); }
    ~Held() { lock_.unlock(); }
    Held(const Held&) = delete;

private:
    Lock& lock_;
};

constexpr int kMaxThreads = 64;

// Runs `work(context)` on this thread and on threads - 1 others, as many of them as the system gives.
template <class Work>
void on_threads(int threads, Work work) {
#if TAUT_PTHREADS
    pthread_t crew[kMaxThreads];
    int started = 0;
    const auto run = [](void* context) -> void* {
        (*static_cast<Work*>(context))();
        return nullptr;
    };
    while (started < threads - 1 && started < kMaxThreads && pthread_create(&crew[started], nullptr, run, &work) == 0)
        started++;
    work();
    for (int i = 0; i < started; i++) pthread_join(crew[i], nullptr);
#else
    (void)threads;
    work();
#endif
}

}  // namespace taut::capi
