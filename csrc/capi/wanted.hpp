// What is wanted of a tensor: values, or bytes of them, from one to another, or those of chosen rows.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace taut::capi {

// A row, and its place among those that were asked for.
struct Choice {
    uint64_t row;
    size_t place;
};

class Wanted {
public:
    Wanted(uint64_t begin, uint64_t end) : begin_(begin), end_(end) {}
    // Rows of `row` values each, in rising order; some may come several times, and are wanted once.
    Wanted(const Choice* choices, size_t count, uint64_t row) : choices_(choices), count_(count), row_(row) {
        if (count) begin_ = choices[0].row * row, end_ = (choices[count - 1].row + 1) * row;
    }
    uint64_t begin() const { return begin_; }
    uint64_t end() const { return end_; }
    bool empty() const { return begin_ == end_; }
    // The same, where each unit is so many.
    Wanted times(uint64_t width) const {
        Wanted made = *this;
        made.begin_ *= width, made.end_ *= width, made.row_ *= width;
        return made;
    }
    // The first that are wanted from `from` to `to`: a .. b; false: none are.
    bool next(uint64_t from, uint64_t to, uint64_t& a, uint64_t& b) const {
        a = std::max(from, begin_), b = std::min(to, end_);
        if (a >= b || !choices_) return a < b;
        const Choice* const found = std::lower_bound(choices_, choices_ + count_, a / row_,
                                                     [](const Choice& one, uint64_t row) { return one.row < row; });
        a = std::max(a, found->row * row_), b = std::min(b, (found->row + 1) * row_);
        return a < b;
    }

private:
    const Choice* choices_ = nullptr;  // none: all from begin to end
    size_t count_ = 0;
    uint64_t row_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace taut::capi
