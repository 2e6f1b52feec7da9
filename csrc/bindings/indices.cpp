// Indices of a quantiser: of a uniform one, and with a model that learns as it goes.
#include <memory>

#include "adaptive/adaptive.hpp"
#include "bindings/bindings.hpp"
#include "split/split.hpp"

namespace taut::bindings {
namespace {

nb::tuple encode_indices(Indices indices, float step, std::array<float, 3> offsets, int output, uint64_t row_length,
                         bool max_effort, int threads) {
    const Output type = output_of(output);
    const EncodeOptions options = options_of(max_effort, row_length, threads);
    return encoded([&] { return encode_uniform(indices.data(), indices.size(), step, offsets, type, options); });
}

double estimate_indices(Indices indices, uint64_t row_length, bool max_effort) {
    const EncodeOptions options = options_of(max_effort, row_length, 1);
    nb::gil_scoped_release release;
    return estimate_uniform(indices.data(), indices.size(), options);
}

// Empty levels, scales and zeros: none.
AdaptiveSpec adaptive_spec(uint64_t count, uint64_t columns, float step, Floats levels, int32_t low, Floats scales,
                           Indices zeros, uint64_t group, uint32_t period, int output) {
    const Output type = output_of(output);
    options_of(false, columns, 1);
    if (!count || count > uint64_t(1) << 48 || count % columns) throw nb::value_error("indices must make whole rows");
    if (columns > kMaxAdaptiveColumns) throw nb::value_error("rows must have at most 2^20 values");
    if (period < 1 || columns % period || group >= columns) throw nb::value_error("kernels or groups do not fit a row");
    AdaptiveSpec spec;
    spec.columns = columns;
    spec.step = step;
    spec.output = type;
    AdaptiveFields& a = spec.fields;
    a.period = period;
    a.group = group;
    a.low = low;
    a.levels.assign(levels.data(), levels.data() + levels.size());
    a.scales.assign(scales.data(), scales.data() + scales.size());
    a.zeros.assign(zeros.data(), zeros.data() + zeros.size());
    const uint64_t groups = group ? (columns + group - 1) / group : 1, wanted = count / columns * groups;
    if ((a.scales.size() && a.scales.size() != wanted) || (a.zeros.size() && a.zeros.size() != a.scales.size()))
        throw nb::value_error("a scale for each row and group, as many zeros, or none");
    if (a.levels.size() > kMaxLevels) throw nb::value_error("too many levels");
    return spec;
}

nb::tuple encode_adaptive_indices(Indices indices, uint64_t columns, float step, Floats levels, int32_t low,
                                  Floats scales, Indices zeros, uint64_t group, uint32_t period, int output,
                                  int threads) {
    const AdaptiveSpec spec =
        adaptive_spec(indices.size(), columns, step, levels, low, scales, zeros, group, period, output);
    return encoded([&] { return encode_adaptive(indices.data(), indices.size(), spec, threads); });
}

// Holds the passes over indices to their order: some whole rows, or values, at a time.
class Passes {
public:
    explicit Passes(uint64_t count) : count_(count) {}
    int pass() const { return pass_; }
    void next() { pass_++; }
    // Gives where indices begin that are whole units, or the last ones.
    uint64_t at(int pass, const Indices& indices, uint64_t unit) const {
        const uint64_t n = indices.size();
        if (pass != pass_ || !n || n > count_ - done_ || (n % unit && done_ + n != count_))
            throw nb::value_error("indices come in order, in whole pieces, pass after pass");
        return done_;
    }
    void done(uint64_t n) {
        done_ += n;
        if (done_ < count_) return;
        done_ = 0;
        pass_++;
    }

private:
    uint64_t count_, done_ = 0;
    int pass_ = 0;
};

class UniformPasses {
public:
    UniformPasses(uint64_t count, float step, std::array<float, 3> offsets, int output, uint64_t row_length,
                  bool max_effort)
        : passes_(count) {
        const Output type = output_of(output);
        const EncodeOptions options = options_of(max_effort, row_length, 1);
        if (count < 1 || count > uint64_t(1) << 48) throw nb::value_error("count must lie in 1 .. 2^48");
        stream_ = std::make_unique<UniformStream>(count, step, offsets, type, options);
    }
    uint64_t chunk_values() const { return stream_->chunk_values(); }
    void scan(Indices indices) {
        pass(0, indices, [&](uint64_t at) { stream_->scan(at, indices.data(), indices.size()); });
    }
    void tally(Indices indices) {
        pass(1, indices, [&](uint64_t at) { stream_->tally(at, indices.data(), indices.size()); });
    }
    nb::bytes header() {
        if (passes_.pass() != 2) throw nb::value_error("the header is known after two passes");
        passes_.next();
        return to_bytes(stream_->header());
    }
    nb::tuple code(Indices indices, int threads) {
        std::vector<std::vector<uint8_t>> chunks;
        pass(3, indices, [&](uint64_t at) { chunks = stream_->code(at, indices.data(), indices.size(), threads); });
        return to_tuple(chunks);
    }

private:
    Passes passes_;
    std::unique_ptr<UniformStream> stream_;

    template <class Work>
    void pass(int number, const Indices& indices, Work work) {
        const uint64_t at = passes_.at(number, indices, chunk_values());
        nb::gil_scoped_release release;
        work(at);
        passes_.done(indices.size());
    }
};

class AdaptivePasses {
public:
    AdaptivePasses(uint64_t count, uint64_t columns, float step, Floats levels, int32_t low, Floats scales,
                   Indices zeros, uint64_t group, uint32_t period, int output)
        : passes_(count), columns_(columns),
          stream_(count, adaptive_spec(count, columns, step, levels, low, scales, zeros, group, period, output)) {}
    uint64_t chunk_rows() const { return stream_.chunk_rows(); }
    void count(Indices indices) {
        passes_.at(0, indices, columns_);
        nb::gil_scoped_release release;
        stream_.count(indices.data(), indices.size() / columns_);
        passes_.done(indices.size());
    }
    uint64_t sample_rows() const {
        if (passes_.pass() != 1) throw nb::value_error("the sample is known after a pass");
        return stream_.sample_rows();
    }
    nb::bytes header(Indices sample) {
        if (sample.size() != sample_rows() * columns_) throw nb::value_error("the sample is the first rows");
        passes_.next();
        std::vector<uint8_t> header;
        {
            nb::gil_scoped_release release;
            header = stream_.header(sample.data());
        }
        return to_bytes(header);
    }
    nb::tuple code(Indices indices, int threads) {
        passes_.at(2, indices, stream_.chunk_rows() * columns_);
        std::vector<std::vector<uint8_t>> chunks;
        {
            nb::gil_scoped_release release;
            chunks = stream_.code(indices.data(), indices.size() / columns_, threads);
        }
        passes_.done(indices.size());
        return to_tuple(chunks);
    }

private:
    Passes passes_;
    uint64_t columns_;
    AdaptiveStream stream_;
};

}  // namespace

void bind_indices(nb::module_& m) {
    m.def("encode_indices", &encode_indices, nb::arg("indices"), nb::arg("step"), nb::arg("offsets"),
          nb::arg("output"), nb::arg("row_length"), nb::arg("max_effort"), nb::arg("threads") = 1,
          "Codes int32 indices of a uniform quantiser; returns (header, chunks).");
    m.def("estimate_indices", &estimate_indices, nb::arg("indices"), nb::arg("row_length"), nb::arg("max_effort"),
          "Bytes that encode_indices would take, estimated from its tables.");
    nb::class_<UniformPasses>(m, "UniformPasses", "encode_indices of what comes in pieces: three passes over all of it.")
        .def(nb::init<uint64_t, float, std::array<float, 3>, int, uint64_t, bool>(), nb::arg("count"), nb::arg("step"),
             nb::arg("offsets"), nb::arg("output"), nb::arg("row_length"), nb::arg("max_effort"))
        .def("chunk_values", &UniformPasses::chunk_values)
        .def("scan", &UniformPasses::scan, nb::arg("indices"))
        .def("tally", &UniformPasses::tally, nb::arg("indices"))
        .def("header", &UniformPasses::header)
        .def("code", &UniformPasses::code, nb::arg("indices"), nb::arg("threads") = 1);
    nb::class_<AdaptivePasses>(m, "AdaptivePasses", "encode_adaptive of rows that come in pieces: two passes over all.")
        .def(nb::init<uint64_t, uint64_t, float, Floats, int32_t, Floats, Indices, uint64_t, uint32_t, int>(),
             nb::arg("count"), nb::arg("columns"), nb::arg("step"), nb::arg("levels"), nb::arg("low"), nb::arg("scales"),
             nb::arg("zeros"), nb::arg("group"), nb::arg("period"), nb::arg("output"))
        .def("chunk_rows", &AdaptivePasses::chunk_rows)
        .def("count", &AdaptivePasses::count, nb::arg("indices"))
        .def("sample_rows", &AdaptivePasses::sample_rows)
        .def("header", &AdaptivePasses::header, nb::arg("sample"))
        .def("code", &AdaptivePasses::code, nb::arg("indices"), nb::arg("threads") = 1);
    m.def("encode_adaptive", &encode_adaptive_indices, nb::arg("indices"), nb::arg("columns"), nb::arg("step"),
          nb::arg("levels"), nb::arg("low"), nb::arg("scales"), nb::arg("zeros"), nb::arg("group"), nb::arg("period"),
          nb::arg("output"), nb::arg("threads") = 1,
          "Codes indices with a model that learns as it goes; empty arrays: none. Returns (header, chunks).");
}

}  // namespace taut::bindings
