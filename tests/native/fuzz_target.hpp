// What must hold for any input: every decoder gives the same bytes or refuses, and touches nothing but its buffers.
// The buffers are exactly as long as promised, on the heap and at odd addresses, so that sanitisers see each step out.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "codec/byte_integers.hpp"
#include "codec/codec.hpp"
#include "fuzz_input.hpp"
#ifdef TAUT_EMULATE  // slow to compile, and its library's own arithmetic does not pass UBSan
#include "emulated_kernels.hpp"
#endif

namespace fuzz {

constexpr uint64_t kMostOutput = uint64_t(1) << 21;  // larger arrays are legal, but teach nothing more
constexpr uint8_t kUntouched = 0xa5;

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "fuzz_decode: %s\n", what);
    std::abort();
}

// A copy of some bytes that is as long as they are.
class Exact {
public:
    explicit Exact(const Bytes& bytes, size_t skew = 0) : Exact(bytes.size(), skew) {
        if (size_) std::memcpy(data(), bytes.data(), size_);
    }
    explicit Exact(size_t size, size_t skew = 0) : memory_(new uint8_t[size + skew]), size_(size), skew_(skew) {}
    uint8_t* data() { return memory_.get() + skew_; }
    size_t size() const { return size_; }
    taut::ConstBytes view() { return {data(), size_}; }

private:
    std::unique_ptr<uint8_t[]> memory_;
    size_t size_, skew_;
};

// What any delta of so many bytes stands on: words of an even spread, whose top bytes are as those of weights.
inline Bytes base_of(size_t size, int width) {
    Bytes bytes(size);
    uint64_t state = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const auto b = uint8_t(state >> 56);
        bytes[i] = width > 1 && i % size_t(width) + 1 == size_t(width) ? uint8_t(0x3c + (b & 0x83)) : b;
    }
    return bytes;
}

using Outcome = std::optional<Bytes>;  // what an array decodes to; none: it was refused

// The decoders of this processor; on request the widest one too, emulated.
inline std::vector<const taut::Kernels*> kernels() {
    std::vector<const taut::Kernels*> all = taut::all_kernels();
#ifdef TAUT_EMULATE
    if (const taut::Kernels* emulated = taut::emulated_kernels()) all.push_back(emulated);
#endif
    return all;
}

inline Outcome decode_with(const taut::Kernels& kernels, const taut::ArrayHeader& h, const Input& in) {
    std::optional<taut::ArrayDecoder> opened;
    try {
        opened.emplace(h, kernels);
    } catch (const taut::FormatError&) {  // a broken basis
        return {};
    }
    const taut::ArrayDecoder& decoder = *opened;
    const size_t skew = in.chunks.empty() ? 0 : in.chunks[0].size() % 8, size = size_t(h.output_bytes());
    Exact out(size, skew);
    if (h.kind == taut::Kind::constant) {
        decoder.fill_constant(out.data());
        return Bytes(out.data(), out.data() + size);
    }
    Bytes all(size, 0);
    const uint64_t chunk_values = h.row_length * h.chunk_rows;
    const size_t chunks = size_t(std::min<uint64_t>({in.chunks.size(), h.chunk_count(), kMostChunks}));
    bool refused = false;
    const bool stands = h.kind == taut::Kind::delta;
    Exact base(stands ? base_of(size, h.width) : Bytes(), skew);
    for (size_t c = 0; c < chunks; c++) {
        const size_t from = size_t(c * chunk_values) * h.width;
        const size_t to = std::min(size, from + size_t(chunk_values) * h.width);
        std::memset(out.data(), kUntouched, size);
        Exact chunk(in.chunks[c], skew);
        try {
            decoder.decode_chunk(c, chunk.view(), out.data(), stands ? base.data() : nullptr);
            std::memcpy(all.data() + from, out.data() + from, to - from);
        } catch (const taut::FormatError&) {
            refused = true;
        }
        for (size_t i = 0; i < size; i++)
            if ((i < from || i >= to) && out.data()[i] != kUntouched) fail("a chunk wrote outside its place");
    }
    return refused || chunks < h.chunk_count() ? Outcome() : Outcome(std::move(all));
}

// The array as integers of a byte each, as on demand it is kept: the values of the decoder, wherever they begin, or what it
// refuses. A chunk that is refused leaves nothing behind: the ones that follow are taken as if it had not been there.
inline void run_held(const taut::Kernels& kernels, const taut::ArrayHeader& h, const Input& in, const Outcome& expected) {
    const uint64_t nbytes = h.output_bytes(), width = uint64_t(h.width);
    Exact header(in.header);
    std::optional<taut::ByteIntegers> opened;
    try {
        opened.emplace(header.view(), nbytes, kernels);
    } catch (const taut::FormatError&) {  // a broken basis
        if (expected) fail("kept bytes refuse what is decoded");
        return;
    }
    taut::ByteIntegers& held = *opened;
    const size_t chunks = size_t(std::min<uint64_t>({in.chunks.size(), h.chunk_count(), kMostChunks}));
    for (size_t c = 0; c < chunks; c++) {
        Exact chunk(in.chunks[c]);
        try {
            if (!held.take(chunk.view())) return;
            continue;
        } catch (const taut::FormatError&) {
            if (expected) fail("kept bytes refuse what is decoded");
        }
        try {
            held.take(chunk.view());
        } catch (const taut::FormatError&) {
            return;
        }
        fail("kept bytes take what they refused");
    }
    const bool refused_late = held.complete() && !expected && !h.matrix.basis.empty();  // sums that are infinite
    if (held.complete() != expected.has_value() && chunks == h.chunk_count() && !refused_late)
        fail("kept bytes take what is not decoded");
    if (!held.complete()) return;
    if (refused_late) {
        Exact out{size_t(nbytes)};
        try {
            held.put(0, h.count, out.data());
        } catch (const taut::FormatError&) {
            return;
        }
        fail("kept bytes give what is not decoded");
    }
    if (held.held_bytes() < h.count) fail("fewer bytes are held than there are values");
    for (uint64_t begin : {uint64_t(0), h.count / 3, h.count - 1})
        for (uint64_t end : {begin, begin + (h.count - begin) / 2, h.count}) {
            Exact out(size_t((end - begin) * width), size_t(begin % 3));
            held.put(begin, end, out.data());
            if (std::memcmp(out.data(), expected->data() + begin * width, out.size()) != 0)
                fail("values of kept bytes are other than those decoded");
        }
}

inline bool run_array(const Input& in) {
    Exact header(in.header);
    taut::ArrayHeader h;
    try {
        // As a reader does: first the size that is claimed, then, for a buffer of that size, all of it.
        const uint64_t nbytes = taut::read_header(header.data(), header.size()).output_bytes();
        if (nbytes > kMostOutput) return false;
        h = taut::read_header(header.data(), header.size(), nbytes);
    } catch (const taut::FormatError&) {
        return false;
    }
    static const auto all = kernels();
    const Outcome expected = decode_with(*all[0], h, in);
    for (size_t k = 1; k < all.size(); k++) {
        const Outcome other = decode_with(*all[k], h, in);
        if (other.has_value() != expected.has_value()) fail("one kernel refuses what another decodes");
        if (other != expected) fail("two kernels decode to different bytes");
    }
    if (taut::ByteIntegers::can_hold(h) && h.count)
        for (const taut::Kernels* kernel : all) run_held(*kernel, h, in, expected);
    return expected.has_value();
}

inline bool run_stream(const Input& in) {
    if (in.chunks.empty() || in.header.size() < 3) return false;
    const uint64_t count = in.header[1] | uint64_t(in.header[2]) << 8;
    std::optional<Outcome> first;
    for (const taut::Kernels* kernel : kernels()) {
        Exact bytes(in.chunks[0]);
        Outcome outcome;
        taut::Vec<uint8_t> read;
        if (!taut::read_bytes(bytes.data(), bytes.size(), count, read, kernel->dense_steps))
            outcome.emplace(read.begin(), read.end());
        if (outcome && outcome->size() != count) fail("a byte stream of another length");
        if (first && *first != outcome) fail("two kernels read a byte stream differently");
        first = outcome;
    }
    return first->has_value();
}

// Whether the input was decoded; crashes, or calls `fail`, where something must not be.
inline bool run(const Input& in) {
    return !in.header.empty() && in.header[0] == 'B' ? run_stream(in) : run_array(in);
}

}  // namespace fuzz
