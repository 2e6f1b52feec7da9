// Records to chunks: what to code of each field, in which contexts, and the chunks.
#include <algorithm>
#include <bit>
#include <stdexcept>

#include "base/bits.hpp"
#include "base/parallel.hpp"
#include "records/layout.hpp"
#include "records/write.hpp"

namespace taut {
namespace {

// Bytes of a chunk: its records, their symbols and contexts should stay in the second-level cache while it is decoded.
constexpr uint64_t kChunkBytes = uint64_t(1) << 19;

// Symbols of one field in some records, record after record.
class Gather {
public:
    explicit Gather(const RecordField& f) : f_(f) {
        each_place(f, 0, f.loops, [&](const std::array<uint32_t, 8>& bits) {
            unsigned up = 0;
            for (size_t p = 0; p < f.pieces; p++) {
                const unsigned at = f.piece[p].offset + bits[p], width = f.piece[p].width;
                at_.push_back({uint16_t(at / 8), uint8_t(at % 8), uint8_t((1u << width) - 1), uint8_t(up)});
                up += width;
            }
        });
        bytes_ = f.pieces == 1 && f.piece[0].width == 8;
    }
    void take(const uint8_t* bytes, size_t record, size_t records, uint8_t* out) const {
        const size_t n = f_.symbols(), pieces = f_.pieces;
        for (size_t r = 0; r < records; r++, bytes += record, out += n) {
            if (bytes_) {
                for (size_t i = 0; i < n; i++) out[i] = bytes[at_[i].byte];
                continue;
            }
            const Place* at = at_.data();
            for (size_t i = 0; i < n; i++) {
                unsigned symbol = 0;
                for (size_t p = 0; p < pieces; p++, at++)
                    symbol |= (unsigned(bytes[at->byte]) >> at->down & at->mask) << at->up;
                out[i] = uint8_t(symbol);
            }
        }
    }

private:
    struct Place {
        uint16_t byte;
        uint8_t down, mask, up;
    };
    const RecordField& f_;
    std::vector<Place> at_;
    bool bytes_;
};

// The symbols of all fields in a chunk, and the buckets of their groups.
struct ChunkSymbols {
    std::vector<std::vector<uint8_t>> symbols, buckets;
};

class RecordsEncoder : public RecordsStream {
public:
    RecordsEncoder(uint64_t bytes, uint64_t row_bytes, ConstBytes layout) {
        h_.kind = Kind::records;
        h_.width = 1;
        h_.count = bytes;
        h_.row_length = row_bytes;
        h_.coder = bytes < 16384 ? CoderId::small : CoderId::dense;
        h_.chunk_rows = std::clamp<uint64_t>(kChunkBytes / row_bytes, 1, std::max<uint64_t>(1, h_.row_count()));
        const Status wrong = read_layout(layout, h_.records, usual_memory);
        if (wrong) throw std::invalid_argument(wrong.what());
        h_.records.layout.assign(layout.data, layout.data + layout.size);
        if (row_bytes % h_.records.record || bytes % h_.records.record)
            throw std::invalid_argument("rows and bytes must be whole records");
        for (const RecordField& f : h_.records.fields) {
            gathers_.emplace_back(f);
            counts_.emplace_back(f.buckets);
        }
    }

    uint64_t chunk_bytes() const override { return h_.chunk_rows * h_.row_length; }

    void count(const uint8_t* bytes, uint64_t n) override {
        if (counted_ == 0) choose_bases(bytes, std::min(n, chunk_bytes()));
        counted_ += n;
        for (uint64_t at = 0; at < n; at += chunk_bytes()) {
            const ChunkSymbols c = look(bytes + at, std::min(chunk_bytes(), n - at));
            for (size_t i = 0; i < fields(); i++) tally(i, c);
        }
    }

    std::vector<uint8_t> header() override {
        std::vector<FieldPlan> plans;
        for (size_t i = 0; i < fields(); i++) plans.push_back(plan_field(h_.records.fields[i], counts_[i]));
        std::vector<uint8_t> out = write_records_header(h_, plans);
        for (const Table& t : h_.tables) tables_.push_back(make_encode_table<Dense>(t));
        return out;
    }

    std::vector<std::vector<uint8_t>> code(const uint8_t* bytes, uint64_t n, int threads) override {
        const uint64_t each = chunk_bytes();
        std::vector<std::vector<uint8_t>> chunks((n + each - 1) / each);
        parallel_for(chunks.size(), threads,
                     [&](size_t c) { chunks[c] = code_chunk(bytes + c * each, std::min(each, n - c * each)); });
        return chunks;
    }

    Encoded stored(const uint8_t* bytes) const {
        ArrayHeader h;
        h.width = 1;
        h.count = h_.count;
        h.row_length = h_.row_length;
        h.chunk_rows = h_.chunk_rows;
        Encoded result{begin_header(h), {}};
        for (uint64_t at = 0; at < h.count; at += chunk_bytes())
            result.chunks.emplace_back(bytes + at, bytes + std::min(h.count, at + chunk_bytes()));
        return result;
    }

private:
    ArrayHeader h_;
    std::vector<Gather> gathers_;
    std::vector<BucketCounts> counts_;
    std::vector<EncodeTable> tables_;
    uint64_t counted_ = 0;

    size_t fields() const { return h_.records.fields.size(); }

    // Buckets lie around the middle of what the first chunk has.
    void choose_bases(const uint8_t* bytes, uint64_t n) {
        const size_t records = size_t(n / h_.records.record);
        ChunkSymbols c = gather(bytes, records);
        const std::vector<const uint8_t*> kept = kept_of(c);
        for (RecordField& f : h_.records.fields) {
            if (f.buckets == 1 || records == 0) continue;
            std::vector<int64_t> sums;
            RecordContexts(h_.records, f, kept.data()).each_sum(
                records, [&](size_t, int64_t s) { sums.push_back(s >> f.shift); });
            std::nth_element(sums.begin(), sums.begin() + ptrdiff_t(sums.size() / 2), sums.end());
            f.base = int32_t(sums[sums.size() / 2] - f.buckets / 2);
        }
    }

    ChunkSymbols gather(const uint8_t* bytes, size_t records) const {
        ChunkSymbols c;
        for (size_t i = 0; i < fields(); i++) {
            c.symbols.emplace_back(records * h_.records.fields[i].symbols());
            gathers_[i].take(bytes, h_.records.record, records, c.symbols[i].data());
        }
        return c;
    }

    static std::vector<const uint8_t*> kept_of(const ChunkSymbols& c) {
        std::vector<const uint8_t*> kept;
        for (const auto& s : c.symbols) kept.push_back(s.data());
        return kept;
    }

    ChunkSymbols look(const uint8_t* bytes, uint64_t n) const {
        const size_t records = size_t(n / h_.records.record);
        ChunkSymbols c = gather(bytes, records);
        const std::vector<const uint8_t*> kept = kept_of(c);
        for (const RecordField& f : h_.records.fields) {
            std::vector<uint8_t>& buckets = c.buckets.emplace_back(records * f.groups(), uint8_t(0));
            if (f.buckets > 1)
                RecordContexts(h_.records, f, kept.data()).each(records, [&](size_t g, uint8_t b) { buckets[g] = b; });
        }
        return c;
    }

    void tally(size_t i, const ChunkSymbols& c) {
        const size_t inner = h_.records.fields[i].inner();
        const uint8_t* s = c.symbols[i].data();
        for (uint8_t bucket : c.buckets[i])
            for (size_t j = 0; j < inner; j++) counts_[i][bucket][*s++]++;
    }

    std::vector<uint8_t> code_chunk(const uint8_t* bytes, uint64_t n) const {
        const ChunkSymbols c = look(bytes, n);
        std::vector<uint8_t> raw;
        std::vector<std::vector<uint8_t>> sorted;  // by field and context
        std::vector<SymbolRun> runs;
        for (size_t i = 0; i < fields(); i++) {
            const RecordField& f = h_.records.fields[i];
            if (!f.coded) {
                BitWriter bits;
                for (uint8_t s : c.symbols[i]) bits.put(s, f.width());
                const auto packed = bits.finish();
                raw.insert(raw.end(), packed.begin(), packed.end());
                continue;
            }
            const size_t first = sorted.size(), inner = f.inner();
            sorted.resize(first + f.contexts);
            const uint8_t* s = c.symbols[i].data();
            for (uint8_t bucket : c.buckets[i]) {
                auto& to = sorted[first + (f.contexts > 1 ? f.map[bucket] : 0)];
                to.insert(to.end(), s, s + inner);
                s += inner;
            }
        }
        for (size_t t = 0; t < sorted.size(); t++) runs.push_back({&tables_[t], sorted[t].data(), sorted[t].size()});
        const CodedRuns coded = h_.coder == CoderId::small ? code_runs<Dense, 4>(runs) : code_runs<Dense, 64>(runs);
        std::vector<uint8_t> out;
        out.reserve(10 + raw.size() + coded.units_size + coded.states_size);
        put_varint(out, coded.units_size);
        out.insert(out.end(), raw.begin(), raw.end());
        out.insert(out.end(), coded.units, coded.units + coded.units_size);
        out.insert(out.end(), coded.states.data(), coded.states.data() + coded.states_size);
        return out;
    }
};

}  // namespace

std::unique_ptr<RecordsStream> stream_records(uint64_t bytes, uint64_t row_bytes, ConstBytes layout) {
    return std::make_unique<RecordsEncoder>(bytes, row_bytes, layout);
}

Encoded encode_records(const uint8_t* bytes, uint64_t n, uint64_t row_bytes, ConstBytes layout, int threads) {
    RecordsEncoder encoder(n, row_bytes, layout);
    encoder.count(bytes, n);
    Encoded result;
    result.header = encoder.header();
    result.chunks = encoder.code(bytes, n, threads);
    uint64_t size = result.header.size();
    for (const auto& chunk : result.chunks) size += chunk.size();
    return size < n ? result : encoder.stored(bytes);
}

}  // namespace taut
