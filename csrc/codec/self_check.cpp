// Wide decoders are tried once before they are trusted: they are many, and not every processor was at hand.
#include "codec/codec.hpp"
#include "delta/delta.hpp"
#include "matrix/matrix.hpp"
#include "split/split.hpp"

namespace taut {
namespace {

// Bytes of numbers that look like weights: a bell curve of sums, from Knuth's MMIX generator.
class Weights {
public:
    float next() {
        float sum = 0;
        for (int i = 0; i < 4; i++) {
            state_ = state_ * 6364136223846793005u + 1442695040888963407u;
            sum += float(state_ >> 40) / float(1 << 24) - 0.5f;
        }
        return sum;
    }

private:
    uint64_t state_ = 1;
};

std::vector<uint8_t> floats(size_t count, int width) {
    Weights weights;
    std::vector<uint8_t> bytes(count * size_t(width));
    for (size_t i = 0; i < count; i++) {
        const float w = weights.next();
        uint32_t u;
        std::memcpy(&u, &w, 4);
        const uint32_t upper = width == 4 ? u : width == 2 ? u >> 16 : u >> 22;
        std::memcpy(bytes.data() + i * size_t(width), &upper, size_t(width));
    }
    return bytes;
}

bool alike(const Encoded& coded, const Kernels& a, const Kernels& b, const uint8_t* base = nullptr) {
    std::vector<uint8_t> results[2];
    const Kernels* kernels[2] = {&a, &b};
    for (int k = 0; k < 2; k++) {
        const ArrayDecoder decoder(read_header(coded.header.data(), coded.header.size()), *kernels[k]);
        results[k].resize(decoder.header().output_bytes());
        for (size_t c = 0; c < coded.chunks.size(); c++)
            decoder.decode_chunk(c, {coded.chunks[c].data(), coded.chunks[c].size()}, results[k].data(), base);
    }
    return results[0] == results[1];
}

// Weights that moved up and down, by more in some rows and columns, or of which bits were flipped.
bool deltas_alike(size_t count, int width, bool flipped, const Kernels& a, const Kernels& b) {
    const std::vector<uint8_t> base = floats(count, width);
    std::vector<uint8_t> values = base;
    Weights weights;
    for (size_t i = 0; i < count; i++) {
        const int size = (width == 4 ? 6 : 1) + int(i / 384 % 5) + int(i % 384 % 3);
        const auto by = uint32_t(int32_t(weights.next() * float(1 << size)));
        uint32_t word = 0;
        std::memcpy(&word, values.data() + i * size_t(width), size_t(width));
        word = flipped ? word ^ (by & 0xff) : word + by;
        std::memcpy(values.data() + i * size_t(width), &word, size_t(width));
    }
    const int mantissa = width == 4 ? 23 : 7;
    return alike(encode_delta(values.data(), base.data(), count, width, Mode::float_, mantissa, {true, 384, 1}), a, b,
                 base.data());
}

}  // namespace

bool decodes_alike(const Kernels& a, const Kernels& b) {
    constexpr size_t many = 49152, few = 8192;  // enough for the fast coder; for the dense one
    try {
        for (int width : {1, 2, 4})
            for (bool max_effort : {false, true}) {
                const size_t count = max_effort ? few : many;
                const std::vector<uint8_t> values = floats(count, width);
                const EncodeOptions options{max_effort, 384, 1};
                const int mantissa = width == 4 ? 23 : width == 2 ? 7 : 1;
                if (!alike(encode_split_with(*all_encode_kernels().front(), values.data(), count, width, Mode::float_,
                                             mantissa, options), a, b))
                    return false;
            }
        Weights weights;
        std::vector<int32_t> indices(few);
        for (int32_t& q : indices) q = int32_t(weights.next() * 40);
        for (Output output : {Output::f32, Output::f16, Output::bf16})
            if (!alike(encode_uniform(indices.data(), few, 0.01f, {0.1f, 0.05f, 0.0f}, output, {true, 384, 1}), a, b))
                return false;
        // Two groups of rows, the last of few; of the fast coder escapes, of both levels that no byte holds.
        MatrixSpec spec;
        spec.columns = 61;
        spec.step = 0.01f;
        spec.offsets = {0.1f, 0.05f, 0.0f};
        spec.fields.trellis = true;
        for (size_t i = 0; i < indices.size(); i++) indices[i] = i % 1001 ? indices[i] / 16 : 70 + int32_t(i / 16);
        for (Output output : {Output::f32, Output::f16, Output::bf16})
            for (CoderId coder : {CoderId::fast, CoderId::dense}) {
                spec.output = output;
                if (!alike(encode_matrix_with(coder, indices.data(), 131 * spec.columns, spec, {true, 61, 1}), a, b))
                    return false;
            }
        // Rows that are sums of a basis' rows.
        spec.columns = 40;
        spec.output = Output::f32;
        const Encoded basis = encode_matrix_with(CoderId::dense, indices.data(), 40 * 40, spec, {true, 40, 1});
        set_basis(spec, {basis.header.data(), basis.header.size()}, {basis.chunks[0].data(), basis.chunks[0].size()});
        if (!alike(encode_matrix_with(CoderId::dense, indices.data() + 40, 131 * spec.columns, spec, {true, 40, 1}), a, b))
            return false;
        for (int width : {2, 4})
            for (bool flipped : {false, true})
                if (!deltas_alike(few, width, flipped, a, b)) return false;
        return true;
    } catch (const FormatError&) {
        return false;  // what was coded right is decodable: the decoder is not
    }
}

const Kernels& best_kernels() {
    static const Kernels* best = [] {
        std::vector<const Kernels*> all = all_kernels();
        while (all.size() > 1 && !decodes_alike(*all.back(), portable_kernels())) all.pop_back();
        return all.back();
    }();
    return *best;
}

}  // namespace taut
