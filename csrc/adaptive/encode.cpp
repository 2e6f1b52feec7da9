// Indices to adaptive arrays: the options that make the sample shortest, then every chunk on its own.
#include <algorithm>
#include <bit>
#include <cmath>

#include "adaptive/model.hpp"
#include "adaptive/range.hpp"
#include "base/parallel.hpp"

namespace taut {
namespace {

constexpr uint64_t kChunkValues = uint64_t(1) << 21;
constexpr uint64_t kSampleValues = uint64_t(1) << 19, kSampleDecisions = uint64_t(1) << 19;  // at most, of a sample

// Rows to choose options by, which code them up to thirteen times: the fewer, the more decisions a value takes.
uint64_t sample_rows(const IndexCounts& c, uint64_t rows, size_t columns) {
    const uint64_t decisions = std::max<uint64_t>(1, c.live + 2 * c.bits);  // about: each bit's length and value
    return std::clamp<uint64_t>(std::min(rows * kSampleDecisions / decisions, kSampleValues / columns), 1, rows);
}

// Log-odds in the prior's four bits.
uint8_t odds(double yes, double no, int middle) {
    const double logit = std::log((yes + 0.4) / (no + 0.4));
    return uint8_t(std::clamp(int(std::lround(logit / 0.75)) + middle, 0, 15));
}

// Each option in turn: whatever makes the sample shorter stays.
void choose_options(AdaptiveFields& a, const IndexCounts& c, const int32_t* indices, uint64_t rows, size_t columns) {
    a.options = uint8_t(c.dead_rows | c.dead_columns << 1 | 2 << 2 | 2 << 4 | 2 << 6);
    size_t best = encode_adaptive_rows(a, indices, rows, columns).size();
    const auto attempt = [&](int shift, uint8_t mask, uint8_t value) {
        AdaptiveFields other = a;
        other.options = uint8_t((a.options & ~(mask << shift)) | value << shift);
        if (other.options == a.options) return;
        const size_t size = encode_adaptive_rows(other, indices, rows, columns).size();
        if (size < best) a = other, best = size;
    };
    if (c.dead_rows) attempt(0, 1, 0);
    if (c.dead_columns) attempt(1, 1, 0);
    for (int shift : {2, 4, 6})
        for (uint8_t value : {1, 0, 3}) attempt(shift, 3, value);
    AdaptiveFields other = a;
    other.signs = true;
    if (encode_adaptive_rows(other, indices, rows, columns).size() < best) a = other;
}

}  // namespace

std::vector<uint8_t> encode_adaptive_rows(const AdaptiveFields& a, const int32_t* indices, uint64_t rows,
                                          size_t columns) {
    RangeEncoder out;
    AdaptiveModel<RangeEncoder> model(out, a, columns);
    if (a.column_flags()) {
        std::vector<uint8_t> dead(columns, 1);
        for (uint64_t i = 0; i < rows * columns; i++) dead[i % columns] &= indices[i] == 0;
        model.columns(dead);
    }
    std::vector<int32_t> q(columns);
    for (uint64_t r = 0; r < rows; r++) {
        std::copy_n(indices + r * columns, columns, q.begin());
        const bool dead = std::all_of(q.begin(), q.end(), [](int32_t v) { return v == 0; });
        if (a.row_flags() && model.row_is_dead(dead)) continue;
        model.row(q.data());
    }
    return out.finish();
}

void IndexCounter::add(const int32_t* indices, uint64_t rows) {
    const size_t columns = used_.size();
    for (uint64_t r = 0; r < rows; r++) {
        const int32_t* q = indices + r * columns;
        const uint64_t before = found_.nonzero;
        for (size_t i = 0; i < columns; i++) {
            const uint32_t m = q[i] < 0 ? 0u - uint32_t(q[i]) : uint32_t(q[i]);
            found_.nonzero += m > 0;
            found_.larger += m > 1;
            found_.bits += uint64_t(std::bit_width(m));
            used_[i] |= m > 0;
            found_.largest = std::max(found_.largest, m);
        }
        live_rows_ += found_.nonzero > before;
    }
    rows_ += rows;
}

IndexCounts IndexCounter::counts() const {
    IndexCounts c = found_;
    uint64_t live_columns = 0;
    for (uint8_t u : used_) live_columns += u;
    c.live = live_rows_ * live_columns;
    c.dead_rows = live_rows_ < rows_;
    c.dead_columns = live_columns < used_.size();
    return c;
}

IndexCounts count_indices(const int32_t* indices, uint64_t rows, size_t columns) {
    IndexCounter counter(columns);
    counter.add(indices, rows);
    return counter.counts();
}

void set_prior(AdaptiveFields& a, const IndexCounts& c) {
    a.largest = uint8_t(std::bit_width(c.largest) - 1);
    a.prior = uint8_t(odds(double(c.nonzero), double(c.live - c.nonzero), 10) |
                      odds(double(c.larger), double(c.nonzero - c.larger), 11) << 4);
}

struct AdaptiveStream::State {
    ArrayHeader h;
    IndexCounter counter;
    size_t columns() const { return size_t(h.row_length); }
};

AdaptiveStream::AdaptiveStream(uint64_t count, const AdaptiveSpec& spec)
    : state_(new State{ArrayHeader(), IndexCounter(size_t(spec.columns))}) {
    ArrayHeader& h = state_->h;
    h.kind = Kind::adaptive;
    constexpr uint8_t widths[4] = {4, 2, 2, 8};
    h.output = spec.output;
    h.width = widths[int(spec.output)];
    h.step = spec.step;
    h.adaptive = spec.fields;
    h.count = count;
    h.row_length = spec.columns;
    const uint64_t chunks = std::max<uint64_t>(1, (count + kChunkValues / 2) / kChunkValues);
    const uint64_t wanted = (h.row_count() + chunks - 1) / chunks;
    h.chunk_rows = std::clamp<uint64_t>(wanted, 1, kMaxChunkValues / state_->columns());
}
AdaptiveStream::~AdaptiveStream() = default;

uint64_t AdaptiveStream::chunk_rows() const { return state_->h.chunk_rows; }

void AdaptiveStream::count(const int32_t* indices, uint64_t rows) { state_->counter.add(indices, rows); }

uint64_t AdaptiveStream::sample_rows() const {
    const ArrayHeader& h = state_->h;
    return std::min(taut::sample_rows(state_->counter.counts(), h.row_count(), state_->columns()), h.chunk_rows);
}

std::vector<uint8_t> AdaptiveStream::header(const int32_t* sample) {
    AdaptiveFields& a = state_->h.adaptive;
    const IndexCounts c = state_->counter.counts();
    set_prior(a, c);
    choose_options(a, c, sample, sample_rows(), state_->columns());
    return write_adaptive_header(state_->h);
}

std::vector<std::vector<uint8_t>> AdaptiveStream::code(const int32_t* indices, uint64_t rows, int threads) const {
    const ArrayHeader& h = state_->h;
    const size_t columns = state_->columns();
    std::vector<std::vector<uint8_t>> chunks((rows + h.chunk_rows - 1) / h.chunk_rows);
    parallel_for(chunks.size(), threads, [&](size_t i) {
        const uint64_t first = i * h.chunk_rows, n = std::min(h.chunk_rows, rows - first);
        chunks[i] = encode_adaptive_rows(h.adaptive, indices + first * columns, n, columns);
    });
    return chunks;
}

Encoded encode_adaptive(const int32_t* indices, uint64_t count, const AdaptiveSpec& spec, int threads) {
    AdaptiveStream stream(count, spec);
    const uint64_t rows = count / spec.columns;
    stream.count(indices, rows);
    std::vector<uint8_t> header = stream.header(indices);
    return {std::move(header), stream.code(indices, rows, threads)};
}

}  // namespace taut
