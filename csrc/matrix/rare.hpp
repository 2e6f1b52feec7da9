// Symbols of a matrix that no kernel settles.
#pragma once
#include "matrix/matrix.hpp"

namespace taut {

// Symbols that are not simply a level of one byte. Errors are kept until the block is done: kernels do not throw.
class RareSymbols {
public:
    struct Found {
        uint32_t lane, column;
        float amount;  // the level and its offset
        int64_t level;
    };
    RareSymbols(const ArrayHeader& h, Vec<uint8_t> tail, ConstBytes exceptions, Memory& memory)
        : found(memory), trellis_(h.matrix.trellis), tail_(std::move(tail)), exception_(exceptions.data),
          exceptions_end_(exceptions.data + exceptions.size) {
        for (size_t k = 0; k < 3; k++) offset_[k + 1] = h.offsets[k];
    }

    // A symbol and whether it was an escape; returns what it is at last.
    uint8_t meet(uint8_t symbol, bool escaped, int quantiser, size_t lane, size_t column) {
        if (escaped) {
            if (next_ == tail_.size()) return broken_ = true, uint8_t(128);
            symbol = tail_[next_++];
        }
        int32_t q = int32_t(symbol) - 128;
        if (symbol == kException) {
            if (size_t(exceptions_end_ - exception_) < sizeof q) return broken_ = true, symbol;
            std::memcpy(&q, exception_, sizeof q);
            exception_ += sizeof q;
        }
        const int64_t level = level_of(q, trellis_, quantiser);
        if (symbol == kException || level < -128 || level > 127)
            lost_ |= !found.try_push({uint32_t(lane), uint32_t(column), amount(q, level), level});
        return symbol;
    }

    float amount(int64_t q, int64_t level) const {
        const float by = offset_[size_t(q < -3 || q > 3 ? 3 : q < 0 ? -q : q)];
        return float(level) - (q < 0 ? -by : by);
    }
    Status status() const {
        if (lost_) return Status::no_memory();
        return broken_ ? Status("escapes or exceptions end early") : Status();
    }
    bool used_up() const { return next_ == tail_.size() && exception_ == exceptions_end_; }

    Vec<Found> found;  // since it was cleared

private:
    bool trellis_, broken_ = false, lost_ = false;
    std::array<float, 4> offset_{};
    Vec<uint8_t> tail_;
    size_t next_ = 0;
    const uint8_t *exception_, *exceptions_end_;
};

}  // namespace taut
