// The only file that knows Python: buffers in, bytes out; the interpreter's lock is released around the work.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <deque>

#include "adaptive/adaptive.hpp"
#include "codec/codec.hpp"
#include "delta/delta.hpp"
#include "matrix/matrix.hpp"
#include "records/records.hpp"
#include "round/quantize.hpp"
#include "round/round.hpp"
#include "split/split.hpp"

namespace nb = nanobind;
using namespace taut;

namespace {

using Input = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Indices = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::bytes to_bytes(const std::vector<uint8_t>& v) { return nb::bytes(v.data(), v.size()); }

nb::tuple to_tuple(const Encoded& e) {
    nb::list chunks;
    for (const auto& c : e.chunks) chunks.append(to_bytes(c));
    return nb::make_tuple(to_bytes(e.header), nb::tuple(chunks));
}

const Kernels& kernels_named(const std::string& name) {
    for (const Kernels* k : all_kernels())
        if (name == k->name) return *k;
    if (name.empty()) return best_kernels();
    throw nb::value_error(("no decoder named " + name + " on this processor").c_str());
}

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

// jobs: (header, chunks, out, base) per array; base: of a delta as many bytes as out, or None. The views keep all buffers where they are until the work is done.
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

EncodeOptions options_of(bool max_effort, uint64_t row_length, int threads) {
    if (row_length < 1 || row_length > kMaxChunkValues) throw nb::value_error("row_length must lie in 1 .. 2^22");
    return {max_effort, row_length, threads};
}

void check_words(int width, int mode, int mantissa) {
    if (width != 1 && width != 2 && width != 4 && width != 8) throw nb::value_error("width must be 1, 2, 4 or 8");
    if (mode < 0 || mode > 2) throw nb::value_error("mode is off");
    if (Mode(mode) == Mode::float_ && (mantissa < 0 || mantissa >= std::min(8 * width - 1, kMaxLow)))
        throw nb::value_error("mantissa does not fit the width");
}

nb::tuple encode(Input values, int width, int mode, int mantissa, uint64_t row_length, bool max_effort, int threads) {
    check_words(width, mode, mantissa);
    if (values.size() % size_t(width)) throw nb::value_error("length is off");
    const EncodeOptions options = options_of(max_effort, row_length, threads);
    Encoded e;
    {
        nb::gil_scoped_release release;
        e = encode_split(values.data(), values.size() / size_t(width), width, Mode(mode), mantissa, options);
    }
    return to_tuple(e);
}

nb::tuple encode_difference(Input values, Input base, int width, int mode, int shift, uint64_t row_length, int threads) {
    check_words(width, mode, 0);
    if (!values.size() || values.size() % size_t(width) || base.size() != values.size())
        throw nb::value_error("values and base must have the same length, of whole values");
    if (shift < 0 || shift >= 8 * width) throw nb::value_error("shift is off");
    const EncodeOptions options = options_of(true, row_length, threads);
    Encoded e;
    {
        nb::gil_scoped_release release;
        e = encode_delta(values.data(), base.data(), values.size() / size_t(width), width, Mode(mode), shift, options);
    }
    return to_tuple(e);
}

// Holds the passes of a stream to their order and to the values that it was made for.
class Stream {
public:
    Stream(uint64_t count, int width, int mode, int mantissa, uint64_t row_length, bool max_effort)
        : count_(count), width_(uint64_t(width)) {
        check_words(width, mode, mantissa);
        if (count < 1 || count > uint64_t(1) << 48) throw nb::value_error("count must lie in 1 .. 2^48");
        stream_ = stream_split(count, width, Mode(mode), mantissa, options_of(max_effort, row_length, 1));
    }
    std::vector<uint64_t> sample_places() const { return stream_->sample_places(); }
    uint64_t chunk_values() const { return stream_->chunk_values(); }
    void choose(Input sample) {
        const uint64_t each = std::min(SplitStream::kSampleBlock, count_);
        if (pass_ || sample.size() != stream_->sample_places().size() * each * width_)
            throw nb::value_error("the sample comes first, and once");
        stream_->choose(sample.data(), sample.size() / width_);
        begin(1);
    }
    void scan(Input values) {
        const uint64_t n = take(1, values);
        nb::gil_scoped_release release;
        stream_->scan(at_, values.data(), n);
        pass_ += (at_ += n) == count_;
    }
    void tally(Input values) {
        if (pass_ == 2 && at_ == count_) at_ = 0;
        const uint64_t n = take(2, values);
        nb::gil_scoped_release release;
        stream_->tally(at_, values.data(), n);
        pass_ += (at_ += n) == count_;
    }
    nb::bytes header() {
        if (pass_ != 3 || at_ != count_) throw nb::value_error("the header is known after two passes");
        begin(4);
        return to_bytes(stream_->header());
    }
    nb::tuple code(Input values, int threads) {
        const uint64_t n = take(4, values);
        std::vector<std::vector<uint8_t>> chunks;
        {
            nb::gil_scoped_release release;
            chunks = stream_->code(at_, values.data(), n, threads);
            at_ += n;
        }
        nb::list out;
        for (const auto& c : chunks) out.append(to_bytes(c));
        return nb::tuple(out);
    }

private:
    std::unique_ptr<SplitStream> stream_;
    uint64_t count_, width_, at_ = 0;
    int pass_ = 0;

    void begin(int pass) {
        pass_ = pass;
        at_ = 0;
    }
    uint64_t take(int pass, const Input& values) const {
        const uint64_t n = values.size() / width_;
        const bool whole = n % stream_->chunk_values() == 0 || at_ + n == count_;
        if (pass != pass_ || !n || values.size() % width_ || n > count_ - at_ || !whole)
            throw nb::value_error("values come in order, in whole chunks, pass after pass");
        return n;
    }
};

nb::tuple encode_indices(Indices indices, float step, std::array<float, 3> offsets, int output, uint64_t row_length,
                         bool max_effort, int threads) {
    if (output < 0 || output > 3) throw nb::value_error("unknown output type");
    const EncodeOptions options = options_of(max_effort, row_length, threads);
    Encoded e;
    {
        nb::gil_scoped_release release;
        e = encode_uniform(indices.data(), indices.size(), step, offsets, Output(output), options);
    }
    return to_tuple(e);
}

double estimate_indices(Indices indices, uint64_t row_length, bool max_effort) {
    const EncodeOptions options = options_of(max_effort, row_length, 1);
    nb::gil_scoped_release release;
    return estimate_uniform(indices.data(), indices.size(), options);
}

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
                                int column_fraction, bool max_effort, int threads) {
    if (output < 0 || output > 3) throw nb::value_error("unknown output type");
    if (row_fraction < 0 || row_fraction > 4 || column_fraction < 0 || column_fraction > 4)
        throw nb::value_error("fractions must lie in 0 .. 4");
    MatrixSpec spec = matrix_spec(indices, columns, trellis, row_exponents, column_exponents);
    spec.step = step;
    spec.offsets = offsets;
    spec.output = Output(output);
    spec.fields.row_fraction = uint8_t(row_fraction);
    spec.fields.column_fraction = uint8_t(column_fraction);
    Encoded e;
    {
        nb::gil_scoped_release release;
        e = encode_matrix(indices.data(), indices.size(), spec, {max_effort, columns, threads});
    }
    return to_tuple(e);
}

// Holds the passes over a matrix to their order.
class MatrixPasses {
public:
    MatrixPasses(uint64_t rows, uint64_t columns, float step, std::array<float, 3> offsets, int output, bool trellis,
                 bool max_effort)
        : rows_(rows), columns_(columns) {
        if (output < 0 || output > 3) throw nb::value_error("unknown output type");
        if (columns < 1 || columns > kMaxChunkValues) throw nb::value_error("columns must lie in 1 .. 2^22");
        if (rows < 1 || rows > (uint64_t(1) << 48) / columns) throw nb::value_error("too many rows, or none");
        MatrixSpec spec;
        spec.columns = columns;
        spec.step = step;
        spec.offsets = offsets;
        spec.output = Output(output);
        spec.fields.trellis = trellis;
        spec.fields.row_fraction = spec.fields.column_fraction = 2;
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
        nb::list out;
        for (const auto& c : chunks) out.append(to_bytes(c));
        return nb::tuple(out);
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

double estimate_matrix_bytes(Indices indices, uint64_t columns, bool trellis, Input row_exponents,
                             Input column_exponents, bool max_effort) {
    const MatrixSpec spec = matrix_spec(indices, columns, trellis, row_exponents, column_exponents);
    nb::gil_scoped_release release;
    return estimate_matrix(indices.data(), indices.size(), spec, {max_effort, columns, 1});
}

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
// Empty levels, scales and zeros: none.
nb::tuple encode_adaptive_indices(Indices indices, uint64_t columns, float step, Floats levels, int32_t low,
                                  Floats scales, Indices zeros, uint64_t group, uint32_t period, int output,
                                  int threads) {
    if (output < 0 || output > 3) throw nb::value_error("unknown output type");
    options_of(false, columns, threads);
    if (!indices.size() || indices.size() % columns) throw nb::value_error("indices must make whole rows");
    if (columns > kMaxAdaptiveColumns) throw nb::value_error("rows must have at most 2^20 values");
    if (period < 1 || columns % period || group >= columns) throw nb::value_error("kernels or groups do not fit a row");
    AdaptiveSpec spec;
    spec.columns = columns;
    spec.step = step;
    spec.output = Output(output);
    AdaptiveFields& a = spec.fields;
    a.period = period;
    a.group = group;
    a.low = low;
    a.levels.assign(levels.data(), levels.data() + levels.size());
    a.scales.assign(scales.data(), scales.data() + scales.size());
    a.zeros.assign(zeros.data(), zeros.data() + zeros.size());
    const uint64_t groups = group ? (columns + group - 1) / group : 1, wanted = indices.size() / columns * groups;
    if ((a.scales.size() && a.scales.size() != wanted) || (a.zeros.size() && a.zeros.size() != a.scales.size()))
        throw nb::value_error("a scale for each row and group, as many zeros, or none");
    if (a.levels.size() > kMaxLevels) throw nb::value_error("too many levels");
    Encoded e;
    {
        nb::gil_scoped_release release;
        e = encode_adaptive(indices.data(), indices.size(), spec, threads);
    }
    return to_tuple(e);
}

ConstBytes layout_of(const Input& layout) { return {layout.data(), layout.size()}; }

void check_rows(uint64_t row_bytes) {
    if (row_bytes < 1 || row_bytes > kMaxChunkValues) throw nb::value_error("row_bytes must lie in 1 .. 2^22");
}

nb::tuple encode_record_bytes(Input bytes, uint64_t row_bytes, Input layout, int threads) {
    check_rows(row_bytes);
    Encoded e;
    {
        nb::gil_scoped_release release;
        e = encode_records(bytes.data(), bytes.size(), row_bytes, layout_of(layout), threads);
    }
    return to_tuple(e);
}

// Holds the passes over records to their order.
class RecordsPasses {
public:
    RecordsPasses(uint64_t bytes, uint64_t row_bytes, Input layout) : bytes_(bytes) {
        check_rows(row_bytes);
        if (bytes < 1 || bytes > uint64_t(1) << 48) throw nb::value_error("bytes must lie in 1 .. 2^48");
        stream_ = stream_records(bytes, row_bytes, layout_of(layout));
    }
    uint64_t chunk_bytes() const { return stream_->chunk_bytes(); }
    void count(Input bytes) {
        take(0, bytes);
        nb::gil_scoped_release release;
        stream_->count(bytes.data(), bytes.size());
    }
    nb::bytes header() {
        if (pass_ != 0 || done_ != bytes_) throw nb::value_error("the header is known after one pass");
        pass_ = 1;
        done_ = 0;
        return to_bytes(stream_->header());
    }
    nb::tuple code(Input bytes, int threads) {
        take(1, bytes);
        std::vector<std::vector<uint8_t>> chunks;
        {
            nb::gil_scoped_release release;
            chunks = stream_->code(bytes.data(), bytes.size(), threads);
        }
        nb::list out;
        for (const auto& c : chunks) out.append(to_bytes(c));
        return nb::tuple(out);
    }

private:
    std::unique_ptr<RecordsStream> stream_;
    uint64_t bytes_, done_ = 0;
    int pass_ = 0;

    void take(int pass, const Input& bytes) {
        const uint64_t n = bytes.size();
        if (pass != pass_ || !n || n > bytes_ - done_ || (n % stream_->chunk_bytes() && done_ + n != bytes_))
            throw nb::value_error("bytes come in order, in whole chunks, pass after pass");
        done_ += n;
    }
};

using IndexBuffer = nb::ndarray<int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::array<float, 3> quantize_rows(Floats values, uint64_t row_length, float step, float lambda, IndexBuffer out,
                                   const std::string& kernels_name) {
    const Kernels& kernels = kernels_named(kernels_name);
    options_of(false, row_length, 1);
    if (out.size() != values.size()) throw nb::value_error("out must have as many indices as there are values");
    if (!(step > 0)) throw nb::value_error("step must be positive");
    nb::gil_scoped_release release;
    return quantize(values.data(), values.size(), row_length, step, lambda, out.data(), kernels);
}

using FloatBuffer = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using ShortBuffer = nb::ndarray<int16_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Empty factors: no feedback; `curves` are 8 floats each. With a rows' factor the values' errors are left in their place.
std::vector<std::pair<size_t, int32_t>> round_with_feedback(FloatBuffer values, size_t columns, Floats row_steps, Floats column_scales, Floats row_weights,
                         Floats column_weights, Floats columns_factor, Floats rows_factor,
                         std::array<float, 3> offsets, float lambda, Input row_class, Input column_class, Floats curves,
                         bool trellis, ShortBuffer out, int threads, const std::string& kernels_name) {
    const Kernels& kernels = kernels_named(kernels_name);
    if (columns < 1 || values.size() % columns) throw nb::value_error("values must make whole rows");
    const size_t rows = values.size() / columns;
    const auto has = [](const auto& array, size_t size) { return array.size() == size; };
    if (!has(row_steps, rows) || !has(row_weights, rows) || !has(row_class, rows) || !has(column_scales, columns) ||
        !has(column_weights, columns) || !has(column_class, columns) || !has(out, values.size()))
        throw nb::value_error("a step, a weight and a class for each row and each column, an index for each value");
    if ((columns_factor.size() && !has(columns_factor, columns * columns)) ||
        (rows_factor.size() && !has(rows_factor, rows * rows)))
        throw nb::value_error("factors must be square");
    if (!curves.size() || curves.size() % 8) throw nb::value_error("a rate curve is 8 numbers");
    RoundSpec spec;
    spec.rows = rows;
    spec.columns = columns;
    spec.values = values.data();
    spec.errors = values.data();
    spec.row_steps = row_steps.data();
    spec.column_scales = column_scales.data();
    spec.row_weights = row_weights.data();
    spec.column_weights = column_weights.data();
    spec.columns_factor = columns_factor.size() ? columns_factor.data() : nullptr;
    spec.rows_factor = rows_factor.size() ? rows_factor.data() : nullptr;
    spec.offsets = offsets;
    spec.lambda = lambda;
    spec.row_class = row_class.data();
    spec.column_class = column_class.data();
    for (size_t i = 0; i < curves.size(); i += 8) {
        RateCurve& curve = spec.curves.emplace_back();
        for (size_t k = 0; k < 8; k++) curve.at[k / 4][k % 4] = curves.data()[i + k];
    }
    spec.trellis = trellis;
    spec.threads = threads;
    std::vector<std::pair<size_t, int32_t>> large;
    {
        nb::gil_scoped_release release;
        for (const LargeIndex& l : round_matrix(spec, out.data(), kernels))
            large.emplace_back(l.at, l.index);
    }
    return large;
}

using CountBuffer = nb::ndarray<int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void count_rounded(nb::ndarray<const int16_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> indices, Input row_class,
                   Input column_class, bool trellis, CountBuffer out) {
    if (indices.size() != row_class.size() * column_class.size())
        throw nb::value_error("a class for each row and each column");
    if (!out.size() || out.size() % (2 * kCounted)) throw nb::value_error("48 counts for each rate curve");
    const CurveClasses classes{row_class.data(), column_class.data(), out.size() / (2 * kCounted)};
    nb::gil_scoped_release release;
    count_magnitudes(indices.data(), row_class.size(), column_class.size(), classes, trellis, out.data());
}

template <class Index>
void decode_levels(nb::ndarray<const Index, nb::ndim<1>, nb::c_contig, nb::device::cpu> indices, Floats row_steps,
                   Floats column_scales, std::array<float, 3> offsets, bool trellis, FloatBuffer out) {
    if (indices.size() != row_steps.size() * column_scales.size() || out.size() != indices.size())
        throw nb::value_error("a step for each row, a scale for each column, a number for each index");
    const LevelSpec spec{row_steps.data(), column_scales.data(), offsets, trellis};
    nb::gil_scoped_release release;
    decode_indices(indices.data(), row_steps.size(), column_scales.size(), spec, out.data());
}

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
    return d;
}

}  // namespace

NB_MODULE(_core, m) {
    m.doc() = "Taut's native core: bytes and integers in, bytes and integers out.";
    nb::exception<FormatError>(m, "CoreFormatError");
    m.def("decode", &decode, nb::arg("jobs"), nb::arg("threads") = 1, nb::arg("kernels") = "",
          "Decodes (header, chunks, out, base) jobs into their writable buffers.");
    m.def("decode_chunks", &decode_chunks, nb::arg("header"), nb::arg("total"), nb::arg("first"), nb::arg("chunks"),
          nb::arg("out"), nb::arg("threads") = 1, nb::arg("base").none() = nb::none(),
          "Decodes some chunks of one array, from the first on, to the buffer of their values.");
    m.def("encode", &encode, nb::arg("values"), nb::arg("width"), nb::arg("mode"), nb::arg("mantissa"),
          nb::arg("row_length"), nb::arg("max_effort"), nb::arg("threads") = 1,
          "Codes unsigned words of `width` bytes without loss; returns (header, chunks).");
    m.def("encode_delta", &encode_difference, nb::arg("values"), nb::arg("base"), nb::arg("width"), nb::arg("mode"),
          nb::arg("shift"), nb::arg("row_length"), nb::arg("threads") = 1,
          "Codes words of `width` bytes as what they differ by from a base's; returns (header, chunks).");
    nb::class_<Stream>(m, "Stream", "encode of values that come in pieces: a sample, then three passes over all of them.")
        .def(nb::init<uint64_t, int, int, int, uint64_t, bool>(), nb::arg("count"), nb::arg("width"), nb::arg("mode"),
             nb::arg("mantissa"), nb::arg("row_length"), nb::arg("max_effort"))
        .def("sample_places", &Stream::sample_places)
        .def("chunk_values", &Stream::chunk_values)
        .def("choose", &Stream::choose, nb::arg("sample"))
        .def("scan", &Stream::scan, nb::arg("values"))
        .def("tally", &Stream::tally, nb::arg("values"))
        .def("header", &Stream::header)
        .def("code", &Stream::code, nb::arg("values"), nb::arg("threads") = 1);
    nb::class_<MatrixPasses>(m, "MatrixPasses", "encode_matrix of rows that come in pieces: three passes over all of them.")
        .def(nb::init<uint64_t, uint64_t, float, std::array<float, 3>, int, bool, bool>(), nb::arg("rows"),
             nb::arg("columns"), nb::arg("step"), nb::arg("offsets"), nb::arg("output"), nb::arg("trellis"),
             nb::arg("max_effort"))
        .def("chunk_rows", &MatrixPasses::chunk_rows)
        .def("sum", &MatrixPasses::sum, nb::arg("rows"))
        .def("count", &MatrixPasses::count, nb::arg("rows"))
        .def("header", &MatrixPasses::header)
        .def("code", &MatrixPasses::code, nb::arg("rows"), nb::arg("threads") = 1);
    m.def("encode_indices", &encode_indices, nb::arg("indices"), nb::arg("step"), nb::arg("offsets"),
          nb::arg("output"), nb::arg("row_length"), nb::arg("max_effort"), nb::arg("threads") = 1,
          "Codes int32 indices of a uniform quantiser; returns (header, chunks).");
    m.def("estimate_indices", &estimate_indices, nb::arg("indices"), nb::arg("row_length"), nb::arg("max_effort"),
          "Bytes that encode_indices would take, estimated from its tables.");
    m.def("encode_matrix", &encode_matrix_indices, nb::arg("indices"), nb::arg("columns"), nb::arg("step"),
          nb::arg("offsets"), nb::arg("output"), nb::arg("trellis"), nb::arg("row_exponents"),
          nb::arg("column_exponents"), nb::arg("row_fraction"), nb::arg("column_fraction"), nb::arg("max_effort"),
          nb::arg("threads") = 1, "Codes a quantised matrix; empty exponents: none. Returns (header, chunks).");
    m.def("estimate_matrix", &estimate_matrix_bytes, nb::arg("indices"), nb::arg("columns"), nb::arg("trellis"),
          nb::arg("row_exponents"), nb::arg("column_exponents"), nb::arg("max_effort"),
          "Bytes that encode_matrix would take, estimated from its tables.");
    m.def("encode_adaptive", &encode_adaptive_indices, nb::arg("indices"), nb::arg("columns"), nb::arg("step"),
          nb::arg("levels"), nb::arg("low"), nb::arg("scales"), nb::arg("zeros"), nb::arg("group"), nb::arg("period"),
          nb::arg("output"), nb::arg("threads") = 1,
          "Codes indices with a model that learns as it goes; empty arrays: none. Returns (header, chunks).");
    m.def("encode_records", &encode_record_bytes, nb::arg("values"), nb::arg("row_bytes"), nb::arg("layout"),
          nb::arg("threads") = 1, "Codes bytes that are records of a layout; returns (header, chunks).");
    nb::class_<RecordsPasses>(m, "RecordsPasses", "encode_records of bytes that come in pieces: two passes over all of them.")
        .def(nb::init<uint64_t, uint64_t, Input>(), nb::arg("count"), nb::arg("row_bytes"), nb::arg("layout"))
        .def("chunk_bytes", &RecordsPasses::chunk_bytes)
        .def("count", &RecordsPasses::count, nb::arg("values"))
        .def("header", &RecordsPasses::header)
        .def("code", &RecordsPasses::code, nb::arg("values"), nb::arg("threads") = 1);
    m.def("quantize", &quantize_rows, nb::arg("values"), nb::arg("row_length"), nb::arg("step"), nb::arg("lambda_"),
          nb::arg("out"), nb::arg("kernels") = "",
          "Rounds to a uniform grid at the least distortion plus rate; returns the offsets.");
    m.def("round_matrix", &round_with_feedback, nb::arg("values"), nb::arg("columns"), nb::arg("row_steps"),
          nb::arg("column_scales"), nb::arg("row_weights"), nb::arg("column_weights"), nb::arg("columns_factor"),
          nb::arg("rows_factor"), nb::arg("offsets"), nb::arg("lambda_"), nb::arg("row_class"), nb::arg("column_class"),
          nb::arg("curves"), nb::arg("trellis"), nb::arg("out"), nb::arg("threads") = 1, nb::arg("kernels") = "",
          "Rounds a matrix with error feedback, by a trellis or level by level. Returns (place, index) of those that 16 "
          "bits do not hold.");
    m.def("count_magnitudes", &count_rounded, nb::arg("indices"), nb::arg("row_class"), nb::arg("column_class"),
          nb::arg("trellis"), nb::arg("out"),
          "Adds up how often each magnitude occurs, by rate curve and quantiser: out[curve][2][24].");
    const auto levels = [&](auto decode, const char* doc) {
        m.def("decode_levels", decode, nb::arg("indices"), nb::arg("row_steps"), nb::arg("column_scales"),
              nb::arg("offsets"), nb::arg("trellis"), nb::arg("out"), doc);
    };
    levels(&decode_levels<int8_t>, "What int8, int16 or int32 indices of a rounded matrix stand for, into `out`.");
    levels(&decode_levels<int16_t>, "");
    levels(&decode_levels<int32_t>, "");
    m.def("inspect", &inspect, nb::arg("header"), "What an array header says.");
    m.def("core_rate", [](const std::string& kernels, bool dense, double deviation, int repeats,
                          bool trellis) {
        const CoreRate r = core_rate(kernels_named(kernels), dense, deviation, repeats, trellis);
        return nb::make_tuple(r.seconds, r.entropy, r.coded);
    }, nb::arg("kernels"), nb::arg("dense"), nb::arg("deviation"), nb::arg("repeats"),
       nb::arg("trellis") = false,
       "(seconds, entropy bits, coded bits) per symbol of the symbol decoder alone, from cache.");
    m.def("kernels", [] {
        std::vector<std::string> names;
        for (const Kernels* k : all_kernels()) names.emplace_back(k->name);
        return names;
    }, "Names of the decoders that this processor can run, the portable one first.");
}
