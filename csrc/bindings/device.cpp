// What another device needs to decode an array by itself: its header's fields and tables as plain numbers, and the short
// streams that are not worth its while.
#include "array/values.hpp"
#include "bindings/bindings.hpp"
#include "codec/codec.hpp"
#include "matrix/matrix.hpp"

namespace taut::bindings {
namespace {

template <class T>
nb::bytes bytes_of(const T* data, size_t count) {
    return nb::bytes(reinterpret_cast<const char*>(data), count * sizeof(T));
}

// Every table's slots, as make_slots packs them, and the byte that an escape decodes to there, which no other symbol does.
void put_tables(const ArrayHeader& h, nb::dict& d) {
    const int bits = h.traits().prob_bits;
    std::vector<uint32_t> slots(h.tables.size() << bits);
    std::vector<uint8_t> marks;
    for (size_t t = 0; t < h.tables.size(); t++) {
        make_slots(h.tables[t], bits, slots.data() + (t << bits));
        marks.push_back(uint8_t(h.tables[t].first - 1));
    }
    d["slots"] = bytes_of(slots.data(), slots.size());
    d["marks"] = bytes_of(marks.data(), marks.size());
}

void put_split(const ArrayHeader& h, nb::dict& d) {
    d["rows"] = bytes_of(h.rows.data(), h.rows.size());
    d["mode"] = int(h.mode);
    d["low"] = h.low;
    d["drop"] = h.drop;
    d["skip_zero"] = (h.flags & kSkipZero) != 0;
    d["base"] = h.base;
    if (h.kind != Kind::uniform) return;
    UniformRule rule = uniform_rule(h);
    const auto levels = level_table(rule, h.output);
    d["output"] = int(h.output);
    d["levels"] = bytes_of(levels.data(), size_t(256) * h.width);
    rule.shift[7] = rule.step;
    d["shifts"] = bytes_of(rule.shift.data(), rule.shift.size());  // of -3 .. 3, then the step
}

void put_matrix(const ArrayHeader& h, nb::dict& d) {
    const MatrixFields& m = h.matrix;
    d["trellis"] = m.trellis;
    d["output"] = int(h.output);
    d["offsets"] = h.offsets;
    std::vector<float> rows, columns(h.row_length, 1.0f);
    for (uint64_t r = 0; r < h.row_count(); r++) rows.push_back(matrix_row_scale(h, r));
    MatrixDecoder decoder;
    must(decoder.open(h, best_kernels()));
    for (uint64_t c = 0; c < h.row_length; c++) columns[c] = decoder.column_scale(c);
    d["row_scales"] = bytes_of(rows.data(), rows.size());
    d["column_scales"] = bytes_of(columns.data(), columns.size());
    d["row_classes"] = bytes_of(m.row_classes.data(), m.row_classes.size());
    d["column_classes"] = bytes_of(m.column_classes.data(), m.column_classes.size());
    d["column_class_count"] = m.column_class_count;
    d["map"] = bytes_of(m.map.data(), m.map.size());
}

nb::dict device_header(Input header, uint64_t nbytes, uint64_t chunks) {
    const ArrayHeader h = read_header(header.data(), header.size(), nbytes);
    if (chunks != h.chunk_count()) throw FormatError("array has other chunks than its header says");
    constexpr const char* kinds[] = {"stored", "split", "uniform", "constant", "matrix", "adaptive", "records", "delta"};
    nb::dict d;
    d["kind"] = kinds[int(h.kind)];
    d["width"] = h.width;
    d["count"] = h.count;
    d["row_length"] = h.row_length;
    d["chunk_rows"] = h.chunk_rows;
    d["chunks"] = h.chunk_count();
    const bool split = h.kind == Kind::split || h.kind == Kind::uniform;
    if (!h.matrix.basis.empty()) d["kind"] = "matrix in a basis";
    if (!split && (h.kind != Kind::matrix || !h.matrix.basis.empty())) return d;
    d["coder"] = int(h.coder);
    put_tables(h, d);
    split ? put_split(h, d) : put_matrix(h, d);
    return d;
}

nb::bytes byte_stream(Input data, uint64_t count) {
    Vec<uint8_t> out;
    must(read_bytes(data.data(), data.size(), count, out));
    return bytes_of(out.data(), out.size());
}

}  // namespace

void bind_device(nb::module_& m) {
    m.def("device_header", &device_header, nb::arg("header"), nb::arg("nbytes"), nb::arg("chunks"),
          "The fields and tables of an array header that decodes to `nbytes` from so many chunks, as a device takes them.");
    m.def("byte_stream", &byte_stream, nb::arg("data"), nb::arg("count"), "The bytes of a short stream.");
}

}  // namespace taut::bindings
