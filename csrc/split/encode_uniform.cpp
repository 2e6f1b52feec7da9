// Indices of a uniform quantiser to coded arrays.
#include "base/parallel.hpp"
#include "split/chunk.hpp"
#include "split/scan.hpp"
#include "split/split.hpp"

namespace taut {
namespace {

ArrayHeader uniform_header(uint64_t count, const EncodeOptions& options) {
    ArrayHeader h;
    h.kind = Kind::uniform;
    h.count = count;
    h.row_length = options.row_length;
    choose_geometry(h, options.max_effort);
    return h;
}

Contexts index_contexts(const ArrayHeader& h, const int32_t* indices) {
    const Layout layout{h.count, h.row_length, h.row_count()};
    const RowScan scan = scan_rows(IndexRows{indices}, layout, 128, true, best_encode_kernels());
    return choose_contexts(scan, h.traits(), most_classes(h));
}

}  // namespace

Encoded encode_uniform(const int32_t* indices, uint64_t count, float step, std::array<float, 3> offsets, Output output,
                       const EncodeOptions& options) {
    ArrayHeader h = uniform_header(count, options);
    constexpr uint8_t widths[4] = {4, 2, 2, 8};
    h.output = output;
    h.width = widths[int(output)];
    h.step = step;
    h.offsets = offsets;
    if (count == 0) {  // nothing to make a table of
        h.kind = Kind::constant;
        return {write_split_header(h), {}};
    }
    Contexts contexts = index_contexts(h, indices);
    h.tables = std::move(contexts.tables);
    h.rows = std::move(contexts.table_of);
    Encoded result;
    result.header = write_split_header(h);
    result.chunks.resize(h.chunk_count());
    const RowTables tables = make_tables(h);
    parallel_for(result.chunks.size(), options.threads, [&](size_t c) {
        result.chunks[c] = code_chunk(h, tables, IndexRows{indices}, c, best_encode_kernels());
    });
    return result;
}

double estimate_uniform(const int32_t* indices, uint64_t count, const EncodeOptions& options) {
    const ArrayHeader h = uniform_header(count, options);
    double exceptions = 0;
    for (uint64_t i = 0; i < count; i++) exceptions += indices[i] < -127 || indices[i] > 126;
    return index_contexts(h, indices).bits / 8 + exceptions * 4 + 60 + 270.0 * double(h.chunk_count());
}

}  // namespace taut
