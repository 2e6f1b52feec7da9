// Integers of a byte each, and the values that they stand for.
#include "codec/byte_integers.hpp"

#include <algorithm>

#include "array/values.hpp"
#include "matrix/basis.hpp"

namespace taut {
namespace {

constexpr size_t kSpare = 64;       // readable behind the symbols that a kernel takes
constexpr uint64_t kFewWide = 256;  // one integer in so many may be wider than a byte

MatrixRule matrix_rule(const ArrayHeader& h) {
    MatrixRule rule{{}, 1, nullptr};
    for (int k = 1; k < 8; k++)
        rule.offset[size_t(k)] = h.offsets[size_t(std::min(3, h.matrix.trellis ? (k + 1) / 2 : k) - 1)];
    return rule;
}

// A level less its offset (matrix/rare.hpp).
float amount_of(const MatrixRule& rule, int32_t level) {
    const float by = rule.offset[size_t(std::min<int64_t>(7, level < 0 ? -int64_t(level) : level))];
    return float(level) - (level < 0 ? -by : by);
}

// The value of an adaptive array's index, as its decoder puts it (adaptive/decode.cpp).
float adaptive_value(const ArrayHeader& h, uint64_t place, int32_t q) {
    const AdaptiveFields& a = h.adaptive;
    const uint64_t group = a.group ? a.group : h.row_length;
    const uint64_t groups = h.row_length / group + (h.row_length % group != 0);
    const uint64_t at = place / h.row_length * groups + place % h.row_length / group;
    if (!a.levels.empty()) {
        const uint64_t index = uint64_t(int64_t(q) - a.low);
        const float level = index < a.levels.size() ? a.levels[index] : 0;  // the lowest byte of a wider one
        return a.scales.empty() ? level : level * a.scales[at];
    }
    if (a.scales.empty()) return float(q) * h.step;
    return float(q - int64_t(a.zeros.empty() ? 0 : a.zeros[at])) * a.scales[at];
}

}  // namespace

ByteIntegers::ByteIntegers(ConstBytes header, uint64_t nbytes, const Kernels& kernels)
    : header_(read_header(header.data, header.size, nbytes)), kernels_(kernels) {
    const ArrayHeader& h = header_;
    if (!can_hold(h)) throw FormatError("the array is not made of integers");
    bytes_.resize(h.count + kSpare);
    decoder_ = std::make_unique<AnyDecoder>();
    must(decoder_->open(header, nbytes, kernels));
    if (h.kind == Kind::uniform) uniform_ = uniform_rule(h);
    if (h.kind != Kind::matrix) return;
    matrix_ = matrix_rule(h);
    for (uint64_t r = 0; r < h.row_count(); r++) row_scales_.push_back(matrix_row_scale(h, r));
    for (uint64_t c = 0; c < h.row_length; c++) column_scales_.push_back(decoder_->matrix().column_scale(c));
    basis_.assign(decoder_->matrix().basis().begin(), decoder_->matrix().basis().end());
}

uint64_t ByteIntegers::held_bytes() const {
    return bytes_.size() + wide_.capacity() * sizeof(Wide) + (row_scales_.size() + column_scales_.size() + basis_.size()) * sizeof(float);
}

bool ByteIntegers::take(ConstBytes chunk) {
    const ArrayHeader& h = header_;
    if (complete()) throw FormatError("array has " + std::to_string(h.chunk_count()) + " chunks, not these");
    const uint64_t each = h.chunk_rows * h.row_length, begin = taken_ * each, n = std::min(each, h.count - begin);
    integers_.resize(n);
    Vec<uint8_t> scratch;
    const Status status =
        decoder_->decode_chunk(taken_, chunk, reinterpret_cast<uint8_t*>(integers_.data()), scratch, Put::integers);
    if (status.what() == kWideLevel) return false;
    must(status);
    const AdaptiveFields& a = h.adaptive;
    const uint8_t turned = h.kind == Kind::uniform ? 128 : 0;  // symbols are indices and 128
    for (uint64_t i = 0; i < n && !a.levels.empty(); i++)
        if (uint64_t(int64_t(integers_[i]) - a.low) >= a.levels.size()) throw FormatError("an index without a level");
    for (uint64_t i = 0; i < n; i++) {
        const int32_t q = integers_[i];
        bytes_[begin + i] = uint8_t(uint8_t(q) ^ turned);
        if (q != int8_t(q)) wide_.emplace_back(begin + i, q);
    }
    if (wide_.size() > h.count / kFewWide) return false;
    if (++taken_ == h.chunk_count()) {
        decoder_.reset();
        std::vector<int32_t>().swap(integers_);
        header_.tables = Vec<Table>();
        wide_.shrink_to_fit();
    }
    return true;
}

float ByteIntegers::value_at(uint64_t place, int32_t q) const {
    const ArrayHeader& h = header_;
    if (h.kind == Kind::adaptive) return adaptive_value(h, place, q);
    if (h.kind == Kind::uniform) return reconstruct(uniform_, q);
    const float v = amount_of(matrix_, q) * row_scales_[place / h.row_length];
    return v * column_scales_[place % h.row_length];
}

// Values of one row from a column on; integers that are wider are put right by the caller.
void ByteIntegers::put_in_row(uint64_t row, uint64_t column, size_t n, Output output, uint8_t* out) const {
    const ArrayHeader& h = header_;
    const uint64_t begin = row * h.row_length + column;
    const uint8_t* bytes = bytes_.data() + begin;
    size_t done = 0;
    if (h.kind == Kind::uniform && kernels_.uniform) done = kernels_.uniform(uniform_, output, bytes, n, out);
    if (h.kind == Kind::matrix && kernels_.matrix_row) {
        MatrixRule rule = matrix_;
        rule.row_scale = row_scales_[row];
        rule.column_scale = column_scales_.data() + column;
        done = kernels_.matrix_row(rule, output, reinterpret_cast<const int8_t*>(bytes), n, out);
    }
    const int less = h.kind == Kind::uniform ? 128 : 0;
    for (; done < n; done++) {
        const int32_t q = less ? int32_t(bytes[done]) - less : int32_t(int8_t(bytes[done]));
        store(output, value_at(begin + done, q), out, done);
    }
}

void ByteIntegers::put(uint64_t begin, uint64_t end, uint8_t* out) const {
    if (basis_.empty()) return put_numbers(begin, end, header_.output, out);
    const size_t columns = size_t(header_.row_length), width = size_t(header_.width);
    std::vector<float> numbers(columns);
    std::vector<uint8_t> values(columns * width);
    Combination combination;
    must(combination.open(columns));
    for (uint64_t at = begin; at < end;) {
        const uint64_t row = at / columns, from = at % columns, n = std::min(end - at, columns - from);
        put_numbers(row * columns, (row + 1) * columns, Output::f32, reinterpret_cast<uint8_t*>(numbers.data()));
        uint8_t* const to = out + (at - begin) * width;
        must(combination.put(kernels_, numbers.data(), basis_.data(), header_.output, n == columns ? to : values.data()));
        if (n != columns) std::memcpy(to, values.data() + from * width, n * width);
        at += n;
    }
}

// Values begin .. end - 1, or their coefficients where there is a basis.
void ByteIntegers::put_numbers(uint64_t begin, uint64_t end, Output output, uint8_t* out) const {
    const ArrayHeader& h = header_;
    const uint64_t width = uint64_t(width_of(output));
    for (uint64_t at = begin; at < end;) {
        const uint64_t column = at % h.row_length, n = std::min(end - at, h.row_length - column);
        put_in_row(at / h.row_length, column, size_t(n), output, out + (at - begin) * width);
        at += n;
    }
    auto wide = std::lower_bound(wide_.begin(), wide_.end(), Wide(begin, INT32_MIN));
    for (; wide != wide_.end() && wide->first < end; ++wide)
        store(output, value_at(wide->first, wide->second), out, size_t(wide->first - begin));
}

}  // namespace taut
