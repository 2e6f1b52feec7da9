// How records are laid out: read and checked, and what both directions need of it.
#pragma once
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
        size_t at = 0;
        for (size_t r = 0; r < count; r++) {
            int64_t of_record = 0;
            for (size_t t = 0; t < once_; t++) of_record += look_[t][from_[t][r]];
            for (size_t g = 0; g < groups_; g++) {
                int64_t sum = of_record;
                for (size_t t = once_; t < terms_; t++)
                    sum += look_[t][from_[t] ? from_[t][r * groups_ + g] : uint8_t(g)];
                const int64_t bucket = (sum >> shift_) - base_;
                act(at++, uint8_t(bucket < 0 ? 0 : bucket > last_ ? last_ : bucket));
            }
        }
    }
    int64_t base() const { return base_; }
    void set_base(int64_t base) { base_ = base; }
    // act(sum >> shift) of each group: what buckets are made of.
    template <class Act>
    void each_sum(size_t count, const Act& act) const {
        for (size_t r = 0; r < count; r++)
            for (size_t g = 0; g < groups_; g++) {
                int64_t sum = 0;
                for (size_t t = 0; t < terms_; t++)
                    sum += look_[t][!from_[t] ? uint8_t(g) : t < once_ ? from_[t][r] : from_[t][r * groups_ + g]];
                act(sum >> shift_);
            }
    }

private:
    std::array<std::array<int32_t, 256>, 8> look_;  // the terms of a record first, then those of its groups
    std::array<const uint8_t*, 8> from_{};
    size_t once_ = 0, terms_ = 0, groups_;
    int shift_;
    int64_t base_, last_;
};

// Which fields later ones need.
uint32_t kept_fields(const RecordsFields& records);

}  // namespace taut
