// A file while one of the library's functions works on it. The functions that it calls (read, write, allocate, close) may
// call the library in turn; none gets at a file that is half read.
#pragma once
#include "capi/file.hpp"

namespace taut::capi {

// Closes and gives back what nobody uses.
inline void destroy(taut_file* file) {
    const Allocator allocator = file->memory.allocator();
    file->source.close();  // as long as all of the file is there
    file->~taut_file();
    allocator.release(allocator.context, file, sizeof(taut_file));
}

// Marks a file and those that it stands on, or `alone`. False: one of them is in use.
class InUse {
public:
    explicit InUse(taut_file& file, bool alone = false) : file_(&file) {
        for (taut_file* at = file_; at && good_; at = alone ? nullptr : at->base_file) {
            good_ = !at->in_use.exchange(true);
            marked_ += good_;
        }
        if (!good_) leave();
    }
    ~InUse() {
        if (good_) leave();
    }
    InUse(const InUse&) = delete;
    explicit operator bool() const { return good_; }

private:
    taut_file* file_;
    uint32_t marked_ = 0;
    bool good_ = true;

    // Whoever was closed meanwhile goes now.
    void leave() {
        for (taut_file *at = file_, *next; marked_ > 0; marked_--, at = next) {
            next = at->base_file;
            at->in_use = false;
            if (at->closing && !at->in_use.exchange(true)) destroy(at);
        }
    }
};

// Closes a file, or has it closed by the call that is at work on it.
inline void close_file(taut_file* file) {
    file->closing = true;
    if (!file->in_use.exchange(true)) destroy(file);
}

}  // namespace taut::capi
