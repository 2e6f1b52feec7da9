// Words without loss: as they are, as what they differ by from a base's, and in pieces.
#include <algorithm>

#include "bindings/bindings.hpp"
#include "delta/delta.hpp"
#include "split/split.hpp"

namespace taut::bindings {
namespace {

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
    const uint64_t count = values.size() / size_t(width);
    return encoded([&] { return encode_split(values.data(), count, width, Mode(mode), mantissa, options); });
}

nb::tuple encode_difference(Input values, Input base, int width, int mode, int shift, uint64_t row_length, bool max_effort,
                            int threads) {
    check_words(width, mode, 0);
    if (!values.size() || values.size() % size_t(width) || base.size() != values.size())
        throw nb::value_error("values and base must have the same length, of whole values");
    if (shift < 0 || shift >= 8 * width) throw nb::value_error("shift is off");
    const EncodeOptions options = options_of(max_effort, row_length, threads);
    const uint64_t count = values.size() / size_t(width);
    return encoded([&] { return encode_delta(values.data(), base.data(), count, width, Mode(mode), shift, options); });
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
        return to_tuple(chunks);
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

// The same of a delta's.
class DeltaPasses {
public:
    DeltaPasses(uint64_t count, int width, int mode, int shift, uint64_t row_length, bool max_effort)
        : count_(count), width_(uint64_t(width)), row_(row_length) {
        check_words(width, mode, 0);
        if (count < 1 || count > uint64_t(1) << 48) throw nb::value_error("count must lie in 1 .. 2^48");
        if (shift < 0 || shift >= 8 * width) throw nb::value_error("shift is off");
        stream_ = stream_delta(count, width, Mode(mode), shift, options_of(max_effort, row_length, 1));
    }
    void look(Input base) {
        const uint64_t n = take(0, base, base, 1);
        nb::gil_scoped_release release;
        stream_->look(base.data(), n);
        pass_to(n, 1);
    }
    void measure(Input values, Input base) {
        const uint64_t n = take(1, values, base, row_);
        nb::gil_scoped_release release;
        stream_->measure(at_, values.data(), base.data(), n);
        pass_to(n, 2);
    }
    nb::bytes header() {
        if (pass_ != 2) throw nb::value_error("the header is known after two passes");
        pass_ = 3;
        return to_bytes(stream_->header());
    }
    uint64_t chunk_values() const {
        if (pass_ != 3) throw nb::value_error("chunks are known after the header");
        return stream_->chunk_values();
    }
    nb::tuple code(Input values, Input base, int threads) {
        const uint64_t n = take(3, values, base, chunk_values());
        std::vector<std::vector<uint8_t>> chunks;
        {
            nb::gil_scoped_release release;
            chunks = stream_->code(at_, values.data(), base.data(), n, threads);
            pass_to(n, 4);
        }
        return to_tuple(chunks);
    }

private:
    std::unique_ptr<DeltaStream> stream_;
    uint64_t count_, width_, row_, at_ = 0;
    int pass_ = 0;

    void pass_to(uint64_t n, int next) {
        at_ += n;
        if (at_ < count_) return;
        pass_ = next;
        at_ = 0;
    }
    uint64_t take(int pass, const Input& values, const Input& base, uint64_t each) const {
        const uint64_t n = values.size() / width_;
        const bool whole = n % each == 0 || at_ + n == count_;
        if (pass != pass_ || !n || values.size() % width_ || base.size() != values.size() || n > count_ - at_ || !whole)
            throw nb::value_error("values and base come in order, in whole rows or chunks, pass after pass");
        return n;
    }
};

}  // namespace

void bind_words(nb::module_& m) {
    m.def("encode", &encode, nb::arg("values"), nb::arg("width"), nb::arg("mode"), nb::arg("mantissa"),
          nb::arg("row_length"), nb::arg("max_effort"), nb::arg("threads") = 1,
          "Codes unsigned words of `width` bytes without loss; returns (header, chunks).");
    m.def("encode_delta", &encode_difference, nb::arg("values"), nb::arg("base"), nb::arg("width"), nb::arg("mode"),
          nb::arg("shift"), nb::arg("row_length"), nb::arg("max_effort"), nb::arg("threads") = 1,
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
    nb::class_<DeltaPasses>(m, "DeltaStream", "encode_delta of what comes in pieces: a pass over the base, then two over both.")
        .def(nb::init<uint64_t, int, int, int, uint64_t, bool>(), nb::arg("count"), nb::arg("width"), nb::arg("mode"),
             nb::arg("shift"), nb::arg("row_length"), nb::arg("max_effort"))
        .def("look", &DeltaPasses::look, nb::arg("base"))
        .def("measure", &DeltaPasses::measure, nb::arg("values"), nb::arg("base"))
        .def("header", &DeltaPasses::header)
        .def("chunk_values", &DeltaPasses::chunk_values)
        .def("code", &DeltaPasses::code, nb::arg("values"), nb::arg("base"), nb::arg("threads") = 1);
}

}  // namespace taut::bindings
