// Quantised matrices: whole, estimated, and in pieces.
#include "bindings/bindings.hpp"
#include "codec/codec.hpp"
#include "matrix/basis.hpp"

namespace taut::bindings {
namespace {

MatrixSpec matrix_spec(Indices indices, uint64_t columns, bool trellis, Input row_exponents, Input column_exponents) {
    if (columns < 1 || columns > kMaxChunkValues) throw nb::value_error("columns must lie in 1 .. 2^22");
    const uint64_t rows = indices.size() / columns;
    if (rows < 1 || indices.size() % columns) throw nb::value_error("indices must make whole rows");
    if ((row_exponents.size() && row_exponents.size() != rows) ||
        (column_exponents.size() && column_exponents.size() != columns))
        throw nb::value_error("an exponent for each row and each column, or none");
    MatrixSpec spec;
    spec.columns = columns;
    spec.fields.trellis = trellis;
    spec.fields.row_exponents.assign(row_exponents.data(), row_exponents.data() + row_exponents.size());
    spec.fields.column_exponents.assign(column_exponents.data(), column_exponents.data() + column_exponents.size());
    return spec;
}

nb::tuple encode_matrix_indices(Indices indices, uint64_t columns, float step, std::array<float, 3> offsets, int output,
                                bool trellis, Input row_exponents, Input column_exponents, int row_fraction,
                                int column_fraction, Input basis_header, Input basis_chunk, bool max_effort, int threads) {
    const Output type = output_of(output);
    if (row_fraction < 0 || row_fraction > 4 || column_fraction < 0 || column_fraction > 4)
        throw nb::value_error("fractions must lie in 0 .. 4");
    MatrixSpec spec = matrix_spec(indices, columns, trellis, row_exponents, column_exponents);
    spec.step = step;
    spec.offsets = offsets;
    spec.output = type;
    spec.fields.row_fraction = uint8_t(row_fraction);
    spec.fields.column_fraction = uint8_t(column_fraction);
    if (basis_header.size())
        set_basis(spec, {basis_header.data(), basis_header.size()}, {basis_chunk.data(), basis_chunk.size()});
    return encoded([&] { return encode_matrix(indices.data(), indices.size(), spec, {max_effort, columns, threads}); });
}

// Holds the passes over a matrix to their order.
class MatrixPasses {
public:
    MatrixPasses(uint64_t rows, uint64_t columns, float step, std::array<float, 3> offsets, int output, bool trellis,
                 bool max_effort, Input row_exponents, int row_fraction)
        : rows_(rows), columns_(columns) {
        const Output type = output_of(output);
        if (columns < 1 || columns > kMaxChunkValues) throw nb::value_error("columns must lie in 1 .. 2^22");
        if (rows < 1 || rows > (uint64_t(1) << 48) / columns) throw nb::value_error("too many rows, or none");
        MatrixSpec spec;
        spec.columns = columns;
        spec.step = step;
        spec.offsets = offsets;
        spec.output = type;
        spec.fields.trellis = trellis;
        if (row_exponents.size() && row_exponents.size() != rows) throw nb::value_error("an exponent for each row, or none");
        if (row_fraction < 0 || row_fraction > 4) throw nb::value_error("fractions must lie in 0 .. 4");
        spec.fields.row_exponents.assign(row_exponents.data(), row_exponents.data() + row_exponents.size());
        spec.fields.row_fraction = spec.fields.column_fraction = uint8_t(row_fraction);
        stream_ = std::make_unique<MatrixStream>(rows * columns, spec, EncodeOptions{max_effort, columns, 1});
    }
    uint64_t chunk_rows() const { return stream_->chunk_rows(); }
    void sum(Indices rows) { pass(0, rows, [&](const int32_t* at, uint64_t n) { stream_->sum(at, done_, n); }); }
    void count(Indices rows) { pass(1, rows, [&](const int32_t* at, uint64_t n) { stream_->count(at, done_, n); }); }
    nb::bytes header() {
        if (pass_ != 2) throw nb::value_error("the header is known after two passes");
        pass_ = 3;
        return to_bytes(stream_->header());
    }
    nb::tuple code(Indices rows, int threads) {
        std::vector<std::vector<uint8_t>> chunks;
        const uint64_t each = stream_->chunk_rows(), given = rows.size() / columns_;
        if (given % each && done_ + given != rows_) throw nb::value_error("rows come in whole chunks");
        pass(3, rows, [&](const int32_t* at, uint64_t n) { chunks = stream_->code(at, done_, n, threads); });
        return to_tuple(chunks);
    }

private:
    std::unique_ptr<MatrixStream> stream_;
    uint64_t rows_, columns_, done_ = 0;
    int pass_ = 0;

    template <class Work>
    void pass(int number, const Indices& rows, Work work) {
        const uint64_t n = rows.size() / columns_;
        if (number != pass_ || !n || rows.size() % columns_ || n > rows_ - done_)
            throw nb::value_error("rows come in order, pass after pass");
        nb::gil_scoped_release release;
        work(rows.data(), n);
        done_ += n;
        if (done_ < rows_) return;
        done_ = 0;
        pass_++;
    }
};

void combine_rows(Array<const float> coefficients, Array<const float> basis, uint64_t columns, Array<float> out,
                  const std::string& kernels) {
    if (columns < 1 || columns > kMostBasis || basis.size() != columns * columns || coefficients.size() % columns ||
        out.size() != coefficients.size())
        throw nb::value_error("rows, a basis and room for values of the same columns");
    const Kernels& with = kernels_named(kernels);
    nb::gil_scoped_release release;
    Combination combination;
    must(combination.open(columns));
    for (size_t at = 0; at < out.size(); at += columns)
        must(combination.put(with, coefficients.data() + at, basis.data(), Output::f32,
                             reinterpret_cast<uint8_t*>(out.data() + at)));
}

double estimate_matrix_bytes(Indices indices, uint64_t columns, bool trellis, Input row_exponents,
                             Input column_exponents, bool max_effort) {
    const MatrixSpec spec = matrix_spec(indices, columns, trellis, row_exponents, column_exponents);
    nb::gil_scoped_release release;
    return estimate_matrix(indices.data(), indices.size(), spec, {max_effort, columns, 1});
}

}  // namespace

void bind_matrix(nb::module_& m) {
    nb::class_<MatrixPasses>(m, "MatrixPasses", "encode_matrix of rows that come in pieces: three passes over all of them.")
        .def(nb::init<uint64_t, uint64_t, float, std::array<float, 3>, int, bool, bool, Input, int>(), nb::arg("rows"),
             nb::arg("columns"), nb::arg("step"), nb::arg("offsets"), nb::arg("output"), nb::arg("trellis"),
             nb::arg("max_effort"), nb::arg("row_exponents"), nb::arg("row_fraction"))
        .def("chunk_rows", &MatrixPasses::chunk_rows)
        .def("sum", &MatrixPasses::sum, nb::arg("rows"))
        .def("count", &MatrixPasses::count, nb::arg("rows"))
        .def("header", &MatrixPasses::header)
        .def("code", &MatrixPasses::code, nb::arg("rows"), nb::arg("threads") = 1);
    m.def("encode_matrix", &encode_matrix_indices, nb::arg("indices"), nb::arg("columns"), nb::arg("step"),
          nb::arg("offsets"), nb::arg("output"), nb::arg("trellis"), nb::arg("row_exponents"),
          nb::arg("column_exponents"), nb::arg("row_fraction"), nb::arg("column_fraction"),
          nb::arg("basis_header"), nb::arg("basis_chunk"), nb::arg("max_effort"), nb::arg("threads") = 1,
          "Codes a quantised matrix; empty exponents, or an empty basis: none. Returns (header, chunks).");
    m.def("combine_rows", &combine_rows, nb::arg("coefficients"), nb::arg("basis"), nb::arg("columns"), nb::arg("out"),
          nb::arg("kernels") = "",
          "Rows of values from rows of coefficients and a basis, as a decoder makes them; none of the sums may be infinite.");
    m.def("estimate_matrix", &estimate_matrix_bytes, nb::arg("indices"), nb::arg("columns"), nb::arg("trellis"),
          nb::arg("row_exponents"), nb::arg("column_exponents"), nb::arg("max_effort"),
          "Bytes that encode_matrix would take, estimated from its tables.");
}

}  // namespace taut::bindings
