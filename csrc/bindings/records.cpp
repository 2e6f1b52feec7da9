// Bytes that are records of a layout: whole, and in pieces.
#include "bindings/bindings.hpp"
#include "records/records.hpp"

namespace taut::bindings {
namespace {

ConstBytes layout_of(const Input& layout) { return {layout.data(), layout.size()}; }

void check_rows(uint64_t row_bytes) {
    if (row_bytes < 1 || row_bytes > kMaxChunkValues) throw nb::value_error("row_bytes must lie in 1 .. 2^22");
}

nb::tuple encode_record_bytes(Input bytes, uint64_t row_bytes, Input layout, int threads) {
    check_rows(row_bytes);
    return encoded([&] { return encode_records(bytes.data(), bytes.size(), row_bytes, layout_of(layout), threads); });
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
        return to_tuple(chunks);
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

}  // namespace

void bind_records(nb::module_& m) {
    m.def("encode_records", &encode_record_bytes, nb::arg("values"), nb::arg("row_bytes"), nb::arg("layout"),
          nb::arg("threads") = 1, "Codes bytes that are records of a layout; returns (header, chunks).");
    nb::class_<RecordsPasses>(m, "RecordsPasses", "encode_records of bytes that come in pieces: two passes over all of them.")
        .def(nb::init<uint64_t, uint64_t, Input>(), nb::arg("count"), nb::arg("row_bytes"), nb::arg("layout"))
        .def("chunk_bytes", &RecordsPasses::chunk_bytes)
        .def("count", &RecordsPasses::count, nb::arg("values"))
        .def("header", &RecordsPasses::header)
        .def("code", &RecordsPasses::code, nb::arg("values"), nb::arg("threads") = 1);
}

}  // namespace taut::bindings
