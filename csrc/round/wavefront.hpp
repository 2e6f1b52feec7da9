// Which tiles of a matrix can be rounded now: a tile waits for the one to the left of it and, with feedback across
// rows, for the one above. Threads take some at a time; rows of tiles that came first are preferred, so that few are
// open at once.
#pragma once
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace taut {

struct TilePlace {
    size_t row = 0, column = 0;  // counted in tiles
};

class Wavefront {
public:
    Wavefront(size_t rows, size_t columns, bool from_above)
        : done_(rows), running_(rows), columns_(columns), from_above_(from_above) {}

    // Up to `most` tiles that do not wait for each other; none: all is done, or another thread failed.
    std::vector<TilePlace> take(size_t most) {
        std::unique_lock lock(guard_);
        for (;;) {
            std::vector<TilePlace> places = ready((1 + waiting_) * most);
            if (!places.empty()) {
                // Shared out among this thread and those that wait, for whom a single tile is better than none.
                places.resize(std::min(most, (places.size() + waiting_) / (1 + waiting_)));
                for (const TilePlace& p : places) running_[p.row] = true;
                return places;
            }
            if (failed_ || first_ == done_.size()) return {};
            waiting_++;
            changed_.wait(lock);
            waiting_--;
        }
    }

    void finish(const std::vector<TilePlace>& places) {
        const std::lock_guard lock(guard_);
        for (const TilePlace& p : places) {
            done_[p.row]++;
            running_[p.row] = false;
        }
        while (first_ < done_.size() && done_[first_] == columns_) first_++;
        changed_.notify_all();
    }

    void fail() {
        const std::lock_guard lock(guard_);
        failed_ = true;
        changed_.notify_all();
    }

private:
    std::vector<TilePlace> ready(size_t most) const {
        std::vector<TilePlace> places;
        for (size_t row = first_; row < done_.size() && places.size() < most && !failed_; row++) {
            const size_t column = done_[row];
            if (from_above_ && row > first_ && done_[row - 1] == 0) break;
            if (running_[row] || column == columns_) continue;
            if (!from_above_ || row == 0 || done_[row - 1] > column) places.push_back({row, column});
        }
        return places;
    }

    std::mutex guard_;
    std::condition_variable changed_;
    std::vector<size_t> done_;  // tiles of each row
    std::vector<bool> running_;
    size_t first_ = 0;  // row that is not done
    size_t waiting_ = 0;  // threads
    size_t columns_;
    bool from_above_;
    bool failed_ = false;
};

}  // namespace taut
