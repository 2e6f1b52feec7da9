// Arrays of any kind, decoded to buffers of the caller's; what a header says.
#include <deque>

#include "bindings/bindings.hpp"
#include "codec/codec.hpp"

namespace taut::bindings {
namespace {

struct View {
    Py_buffer buffer{};
    View() = default;
    View(const View&) = delete;
    View(View&& other) noexcept : buffer(other.buffer) { other.buffer.obj = nullptr; }
    View& operator=(const View&) = delete;
    ~View() {
        if (buffer.obj) PyBuffer_Release(&buffer);
    }
};

View view_of(nb::handle object, int flags) {
    View v;
    if (PyObject_GetBuffer(object.ptr(), &v.buffer, flags) != 0) throw nb::python_error();
    return v;
}

ConstBytes bytes_of(const View& v) { return {static_cast<const uint8_t*>(v.buffer.buf), size_t(v.buffer.len)}; }

// The bytes of a base, or null where there is none.
const uint8_t* base_of(nb::handle base, size_t size, std::deque<View>& views) {
    if (base.is_none()) return nullptr;
    const ConstBytes bytes = bytes_of(views.emplace_back(view_of(base, PyBUF_SIMPLE)));
    if (bytes.size != size) throw nb::value_error("a base has as many bytes as what is decoded");
    return bytes.data;
}

// jobs: (header, chunks, out, base) per array; base: of a delta as many bytes as out, or None. The views keep all buffers
// where they are until the work is done.
void decode(nb::list jobs, int threads, const std::string& kernels_name) {
    const Kernels& kernels = kernels_named(kernels_name);
    std::deque<View> views;
    std::vector<DecodeJob> work;
    for (nb::handle item : jobs) {
        const nb::tuple job = nb::cast<nb::tuple>(item);
        if (job.size() != 4) throw nb::value_error("a job is (header, chunks, out, base)");
        const Py_buffer& out = views.emplace_back(view_of(job[2], PyBUF_WRITABLE)).buffer;
        DecodeJob& next = work.emplace_back(
            DecodeJob{bytes_of(views.emplace_back(view_of(job[0], PyBUF_SIMPLE))), {},
                      static_cast<uint8_t*>(out.buf), size_t(out.len)});
        for (nb::handle chunk : nb::cast<nb::sequence>(job[1]))
            next.chunks.push_back(bytes_of(views.emplace_back(view_of(chunk, PyBUF_SIMPLE))));
        next.base = base_of(job[3], next.out_size, views);
    }
    nb::gil_scoped_release release;
    decode_arrays(work, threads, kernels);
}

void decode_chunks(nb::handle header, uint64_t total, uint64_t first, nb::sequence chunks, nb::handle out, int threads,
                   nb::handle base) {
    std::deque<View> views;
    const Py_buffer& buffer = views.emplace_back(view_of(out, PyBUF_WRITABLE)).buffer;
    DecodeJob job{bytes_of(views.emplace_back(view_of(header, PyBUF_SIMPLE))), {}, static_cast<uint8_t*>(buffer.buf),
                  size_t(buffer.len)};
    for (nb::handle chunk : chunks) job.chunks.push_back(bytes_of(views.emplace_back(view_of(chunk, PyBUF_SIMPLE))));
    job.base = base_of(base, job.out_size, views);
    const Kernels& kernels = best_kernels();
    nb::gil_scoped_release release;
    decode_range(job, total, first, threads, kernels);
}

// Holds callers to what is there.
class Rows {
public:
    Rows(Input header, uint64_t total, uint64_t row_bytes)
        : rows_({header.data(), header.size()}, total, row_bytes, best_kernels()) {}
    void take(uint64_t chunk, nb::handle data, Array<const int64_t> rows, Array<uint8_t> scratch, Array<uint8_t> out,
              nb::handle base) const {
        std::deque<View> views;
        const ConstBytes bytes = bytes_of(views.emplace_back(view_of(data, PyBUF_SIMPLE)));
        const uint64_t size = rows_.bytes_of(chunk), there = size / rows_.row_bytes();
        for (size_t i = 0; i < rows.size(); i++)
            if (uint64_t(rows.data()[i]) >= there) throw nb::value_error("no such row in this chunk");
        if (scratch.size() < size) throw nb::value_error("scratch is smaller than the chunk");
        if (out.size() != rows.size() * rows_.row_bytes()) throw nb::value_error("out is not of these rows' size");
        const uint8_t* const on = base_of(base, size, views);
        nb::gil_scoped_release release;
        rows_.take(chunk, bytes, rows.data(), rows.size(), scratch.data(), out.data(), on);
    }

private:
    ChosenRows rows_;
};

nb::dict inspect(Input header) {
    const ArrayHeader h = read_header(header.data(), header.size());
    constexpr const char* kinds[] = {"stored", "split", "uniform", "constant", "matrix", "adaptive", "records", "delta"};
    constexpr const char* coders[] = {"fast", "dense", "small"};
    nb::dict d;
    d["kind"] = kinds[int(h.kind)];
    d["coder"] = coders[int(h.coder)];
    d["count"] = h.count;
    d["nbytes"] = h.output_bytes();
    d["chunks"] = h.chunk_count();
    d["chunk_values"] = h.chunk_rows * h.row_length;
    d["width"] = h.width;
    d["row_length"] = h.row_length;
    d["low_bits"] = h.low;
    d["drop_bits"] = h.drop;
    d["tables"] = h.tables.size();
    d["step"] = h.step;
    d["basis_bytes"] = h.matrix.basis.size();
    return d;
}

}  // namespace

void bind_decode(nb::module_& m) {
    m.def("decode", &decode, nb::arg("jobs"), nb::arg("threads") = 1, nb::arg("kernels") = "",
          "Decodes (header, chunks, out, base) jobs into their writable buffers.");
    m.def("decode_chunks", &decode_chunks, nb::arg("header"), nb::arg("total"), nb::arg("first"), nb::arg("chunks"),
          nb::arg("out"), nb::arg("threads") = 1, nb::arg("base").none() = nb::none(),
          "Decodes some chunks of one array, from the first on, to the buffer of their values.");
    nb::class_<Rows>(m, "ChosenRows", "Rows of one array, chunk by chunk; its header is read once.")
        .def(nb::init<Input, uint64_t, uint64_t>(), nb::arg("header"), nb::arg("total"), nb::arg("row_nbytes"))
        .def("take", &Rows::take, nb::arg("chunk"), nb::arg("data"), nb::arg("rows"), nb::arg("scratch"), nb::arg("out"),
             nb::arg("base").none() = nb::none());
    m.def("inspect", &inspect, nb::arg("header"), "What an array header says.");
}

}  // namespace taut::bindings
