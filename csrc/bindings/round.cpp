// Rounding: rows to a uniform grid, matrices with error feedback; what is counted of them, and what they stand for.
#include <memory>

#include "bindings/bindings.hpp"
#include "round/quantize.hpp"
#include "round/round.hpp"

namespace taut::bindings {
namespace {

std::array<float, 3> quantize_rows(Floats values, uint64_t row_length, float step, float lambda, Array<int32_t> out,
                                   const std::string& kernels_name) {
    const Kernels& kernels = kernels_named(kernels_name);
    options_of(false, row_length, 1);
    if (out.size() != values.size()) throw nb::value_error("out must have as many indices as there are values");
    if (!(step > 0)) throw nb::value_error("step must be positive");
    nb::gil_scoped_release release;
    return quantize(values.data(), values.size(), row_length, step, lambda, out.data(), kernels);
}

// Holds the passes of a QuantizeStream to their order.
class QuantizePasses {
public:
    static constexpr int kPasses = QuantizeStream::kPasses;
    QuantizePasses(uint64_t count, uint64_t row_length, float step, float lambda)
        : count_(count), row_length_(row_length) {
        options_of(false, row_length, 1);
        if (count < 1 || count > uint64_t(1) << 48) throw nb::value_error("count must lie in 1 .. 2^48");
        if (!(step > 0)) throw nb::value_error("step must be positive");
        stream_ = std::make_unique<QuantizeStream>(count, row_length, step, lambda, kernels_named(""));
    }
    void look(Floats values) {
        if (stream_->pass() >= kPasses - 1) throw nb::value_error("the last pass puts indices");
        take(values, nullptr);
    }
    void put(Floats values, Array<int32_t> out) {
        if (stream_->pass() != kPasses - 1) throw nb::value_error("indices are put in the last pass");
        if (out.size() != values.size()) throw nb::value_error("out must have as many indices as there are values");
        take(values, out.data());
    }
    std::array<float, 3> offsets() const {
        if (stream_->pass() != kPasses) throw nb::value_error("offsets are known after the last pass");
        return stream_->offsets();
    }

private:
    std::unique_ptr<QuantizeStream> stream_;
    uint64_t count_, row_length_, done_ = 0;

    void take(const Floats& values, int32_t* out) {
        const uint64_t n = values.size();
        if (!n || n > count_ - done_ || (n % row_length_ && done_ + n != count_))
            throw nb::value_error("values come in order, in whole rows, pass after pass");
        nb::gil_scoped_release release;
        stream_->take(values.data(), n / row_length_ + (n % row_length_ != 0), out);
        done_ = done_ + n == count_ ? 0 : done_ + n;
    }
};

// Empty factors: no feedback; `curves` are 8 floats each. With a rows' factor the values' errors are left in their place.
std::vector<std::pair<size_t, int32_t>> round_with_feedback(
    Array<float> values, size_t columns, Floats row_steps, Floats column_scales, Floats row_weights,
    Floats column_weights, Floats columns_factor, Floats rows_factor, std::array<float, 3> offsets, float lambda,
    Input row_class, Input column_class, Floats curves, bool trellis, Array<int16_t> out, int threads,
    const std::string& kernels_name) {
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

void count_rounded(Array<const int16_t> indices, Input row_class,
                   Input column_class, bool trellis, Array<int64_t> out) {
    if (indices.size() != row_class.size() * column_class.size())
        throw nb::value_error("a class for each row and each column");
    if (!out.size() || out.size() % (2 * kCounted)) throw nb::value_error("48 counts for each rate curve");
    const CurveClasses classes{row_class.data(), column_class.data(), out.size() / (2 * kCounted)};
    nb::gil_scoped_release release;
    count_magnitudes(indices.data(), row_class.size(), column_class.size(), classes, trellis, out.data());
}

template <class Index>
void decode_levels(Array<const Index> indices, Floats row_steps,
                   Floats column_scales, std::array<float, 3> offsets, bool trellis, Array<float> out) {
    if (indices.size() != row_steps.size() * column_scales.size() || out.size() != indices.size())
        throw nb::value_error("a step for each row, a scale for each column, a number for each index");
    const LevelSpec spec{row_steps.data(), column_scales.data(), offsets, trellis};
    nb::gil_scoped_release release;
    decode_indices(indices.data(), row_steps.size(), column_scales.size(), spec, out.data());
}

}  // namespace

void bind_round(nb::module_& m) {
    m.def("quantize", &quantize_rows, nb::arg("values"), nb::arg("row_length"), nb::arg("step"), nb::arg("lambda_"),
          nb::arg("out"), nb::arg("kernels") = "",
          "Rounds to a uniform grid at the least distortion plus rate; returns the offsets.");
    nb::class_<QuantizePasses>(m, "QuantizePasses", "quantize of values that come in pieces: four passes over all of them.")
        .def(nb::init<uint64_t, uint64_t, float, float>(), nb::arg("count"), nb::arg("row_length"), nb::arg("step"),
             nb::arg("lambda_"))
        .def("look", &QuantizePasses::look, nb::arg("values"))
        .def("put", &QuantizePasses::put, nb::arg("values"), nb::arg("out"))
        .def("offsets", &QuantizePasses::offsets);
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
}

}  // namespace taut::bindings
