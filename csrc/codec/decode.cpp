// Many arrays decoded at once.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

#include "base/parallel.hpp"
#include "codec/codec.hpp"

namespace taut {
namespace {

// A job's decoder, made by whichever thread needs it first: reading headers is a tenth of the work.
class Opened {
public:
    const ArrayDecoder& get(size_t number, const DecodeJob& job, const Kernels& kernels) {
        std::lock_guard lock(guard_);
        try {
            if (!decoder_) decoder_.emplace(open(job), kernels);
        } catch (const FormatError& e) {
            throw FormatError("job " + std::to_string(number) + ": " + e.what());
        }
        return *decoder_;
    }

private:
    std::mutex guard_;
    std::optional<ArrayDecoder> decoder_;

    static ArrayHeader open(const DecodeJob& job) {
        ArrayHeader h = read_header(job.header.data, job.header.size, job.out_size);
        if (job.chunks.size() != h.chunk_count())
            throw FormatError("array has " + std::to_string(job.chunks.size()) + " chunks, its header says " +
                              std::to_string(h.chunk_count()));
        return h;
    }
};

}  // namespace

void decode_arrays(const std::vector<DecodeJob>& jobs, int threads, const Kernels& kernels) {
    std::deque<Opened> opened(jobs.size());
    std::vector<std::pair<size_t, size_t>> queue;
    for (size_t j = 0; j < jobs.size(); j++)
        for (size_t c = 0; c < std::max<size_t>(1, jobs[j].chunks.size()); c++) queue.emplace_back(j, c);
    parallel_for(queue.size(), threads, [&](size_t i) {
        const auto [j, chunk] = queue[i];
        const DecodeJob& job = jobs[j];
        const ArrayDecoder& decoder = opened[j].get(j, job, kernels);
        try {
            if (decoder.header().kind == Kind::constant) return decoder.fill_constant(job.out);
            if (!job.chunks.empty()) decoder.decode_chunk(chunk, job.chunks[chunk], job.out, job.base);
        } catch (const FormatError& e) {
            throw FormatError("job " + std::to_string(j) + " chunk " + std::to_string(chunk) + ": " + e.what());
        }
    });
}

void decode_range(const DecodeJob& job, uint64_t total, uint64_t first, int threads, const Kernels& kernels) {
    const ArrayDecoder decoder(read_header(job.header.data, job.header.size, total), kernels);
    const ArrayHeader& h = decoder.header();
    const uint64_t count = job.chunks.size();
    if (h.kind == Kind::constant || first > h.chunk_count() || count > h.chunk_count() - first)
        throw FormatError("array has " + std::to_string(h.chunk_count()) + " chunks, not these");
    const uint64_t each = h.chunk_rows * h.row_length, begin = first * each;
    const uint64_t end = std::min(h.count, (first + count) * each);
    if (!count || (end - begin) * h.width != job.out_size) throw FormatError("the buffer is not of these chunks' size");
    // Chunks are decoded to their place in the whole array, of which only this part is there.
    uint8_t* const whole = reinterpret_cast<uint8_t*>(reinterpret_cast<uintptr_t>(job.out) - begin * h.width);
    const auto base = reinterpret_cast<uintptr_t>(job.base);
    const uint8_t* const whole_base = job.base ? reinterpret_cast<const uint8_t*>(base - begin * h.width) : nullptr;
    parallel_for(count, threads, [&](size_t c) {
        try {
            decoder.decode_chunk(first + c, job.chunks[c], whole, whole_base);
        } catch (const FormatError& e) {
            throw FormatError("job 0 chunk " + std::to_string(first + c) + ": " + e.what());
        }
    });
}

}  // namespace taut
