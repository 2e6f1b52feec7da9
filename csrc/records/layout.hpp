// How records are laid out: read and checked, and what both directions need of it.
#pragma once
#include <algorithm>

#include "records/records.hpp"

namespace taut {

// Reads a layout, and sees that its fields cover each bit of a record once.
Status read_layout(ConstBytes layout, RecordsFields& records, Memory& memory);

// The table of a context from its elements' frequencies, which sum to 2^12: of symbols of several elements the product.
Status make_record_table(const RecordField& field, const std::array<uint16_t, 256>& elements, Table& table);

// What an element's value stands for in a context.
int32_t record_function(uint8_t function, int bits, uint32_t value);

// Calls act(loop numbers' sum of strides, per piece) ... for the symbols of loops from .. to - 1, in order.
template <class Act>
void each_place(const RecordField& f, size_t from, size_t to, const Act& act) {
    std::array<uint16_t, 6> at{};
    for (;;) {
        std::array<uint32_t, 8> bits{};
        for (size_t p = 0; p < f.pieces; p++)
            for (size_t l = from; l < to; l++) bits[p] += uint32_t(at[l]) * f.piece[p].stride[l];
        act(bits);
        size_t l = to;
        while (l > from && ++at[l - 1] == f.counts[l - 1]) at[--l] = 0;
        if (l == from) return;
    }
}

// Contexts of the groups of some records, from the values of earlier fields.
class RecordContexts {
public:
    // `kept[f]`: values of field f, record after record, where a later field needs them.
    RecordContexts(const RecordsFields& records, const RecordField& field, const uint8_t* const* kept);
    // act(group's number in all, bucket) for each group of `count` records.
    template <class Act>
    void each(size_t count, const Act& act) const {
        each_sum(count, [&](size_t group, int64_t sum) {
            const int64_t bucket = (sum >> shift_) - base_;
            act(group, uint8_t(bucket < 0 ? 0 : bucket > last_ ? last_ : bucket));
        });
    }
    // act(group's number in all, sum of its terms).
    template <class Act>
    void each_sum(size_t count, const Act& act) const {
        std::array<int64_t, kBlock> of_record, of_group;
        for (size_t first = 0; first < count; first += kBlock) {
            const size_t n = std::min(kBlock, count - first);
            of_record.fill(0);
            for (size_t t = 0; t < once_; t++) {
                const uint8_t* v = from_[t] + first;
                for (size_t i = 0; i < n; i++) of_record[i] += look_[t][v[i]];
            }
            if (once_ == terms_ && groups_ == 1) {
                for (size_t i = 0; i < n; i++) act(first + i, of_record[i]);
                continue;
            }
            for (size_t g0 = 0; g0 < n * groups_; g0 += kBlock)
                groups_of(first, g0, std::min(kBlock, n * groups_ - g0), of_record, of_group, act);
        }
    }

private:
    static constexpr size_t kBlock = 256;
    std::array<std::array<int32_t, 256>, 8> look_;  // the terms of a record first, then those of its groups
    std::array<const uint8_t*, 8> from_{};
    size_t once_ = 0, terms_ = 0, groups_;
    int shift_;
    int64_t base_, last_;

    // Groups g0 .. g0 + n of those of a block of records.
    template <class Act>
    void groups_of(size_t first, size_t g0, size_t n, const std::array<int64_t, kBlock>& of_record,
                   std::array<int64_t, kBlock>& sum, const Act& act) const {
        for (size_t i = 0, r = g0 / groups_, g = g0 % groups_; i < n; i++) {
            sum[i] = of_record[r];
            if (++g == groups_) g = 0, r++;
        }
        for (size_t t = once_; t < terms_; t++) {
            const uint8_t* v = from_[t];
            if (!v) {
                for (size_t i = 0, g = g0 % groups_; i < n; i++) {
                    sum[i] += look_[t][g];
                    if (++g == groups_) g = 0;
                }
                continue;
            }
            v += first * groups_ + g0;
            for (size_t i = 0; i < n; i++) sum[i] += look_[t][v[i]];
        }
        for (size_t i = 0; i < n; i++) act(first * groups_ + g0 + i, sum[i]);
    }
};

// Which fields later ones need.
uint32_t kept_fields(const RecordsFields& records);

}  // namespace taut
