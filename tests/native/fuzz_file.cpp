// Fuzzes libtaut: opens bytes as a file, decodes every tensor, verifies, gives the originals back. As fuzz_decode does, it
// is libFuzzer's target or a program of its own:
//
//     fuzz_file [SECONDS [SEED]]   damage the golden files for so long (default: 3 seconds, seed 1)
//     fuzz_file FILE...            run inputs again, such as the fuzz-file-crash.bin that a failure leaves
//
// Checksums are made anew after most damage, so that what lies behind them is reached. Half of the files lie in memory; the
// others come from a function, which changes bytes or fails at some call of some of them.
#include <taut.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "capi/checksum.hpp"
#include "golden_files.hpp"

namespace {

using golden::Bytes;

constexpr uint64_t kMostMemory = 64 << 20;
constexpr uint64_t kMostValues = 32 << 20;  // bytes of a tensor that are decoded

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "fuzz_file: %s\n", what);
    std::abort();
}

int count_bytes(void* context, const void* bytes, size_t size) {
    static uint64_t seen;  // every byte can be read
    for (size_t i = 0; i < size; i++) seen += static_cast<const uint8_t*>(bytes)[i];
    uint64_t& left = *static_cast<uint64_t*>(context);
    if (size > left || seen == UINT64_MAX) return 1;
    left -= size;
    return 0;
}

// Bytes that come from a function.
struct Reading {
    Bytes bytes;
    uint64_t change = 0, refuse = 0;  // the calls that do so, from 1 on
    uint64_t calls = 0;

    static int read(void* context, uint64_t offset, void* to, size_t size) {
        auto& own = *static_cast<Reading*>(context);
        if (offset > own.bytes.size() || size > own.bytes.size() - offset) fail("a read beyond the end");
        if (++own.calls == own.refuse) return 1;
        if (size) std::memcpy(to, own.bytes.data() + offset, size);
        if (own.calls == own.change && size) static_cast<uint8_t*>(to)[own.calls * 31 % size] ^= 4;
        return 0;
    }
};

// Gives whether all of the file was sound. `way`, below 256: how it is read.
bool run(const uint8_t* data, size_t size, uint64_t way = 0) {
    taut_options options = TAUT_OPTIONS;
    options.memory_limit = kMostMemory;
    options.threads = size % 3 == 0 ? 3 : 1;
    taut_file* file;
    taut_error error;
    // Bytes of their own, so that a read beyond them is seen.
    Reading reading{Bytes(data, data + size), way % 8 == 3 ? way / 8 : 0, way % 8 == 5 ? way / 8 : 0};
    const taut_source source{Reading::read, nullptr, &reading, size};
    const Bytes& own = reading.bytes;
    if ((way % 2 ? taut_open_source(&source, &options, &file, &error)
                 : taut_open_memory(own.data(), own.size(), &options, &file, &error)) != TAUT_OK) {
        if (file || !error.text[0]) fail("a refusal without a reason, or with a file");
        return false;
    }
    const taut_base base{golden::read_base, nullptr};
    if (taut_base_name(file)) (void)taut_stand_on(file, &base, nullptr);
    bool sound = true;
    for (size_t i = 0; i < taut_count(file); i++) {
        taut_tensor t;
        if (taut_describe(file, i, &t) != TAUT_OK) fail("a tensor without a description");
        for (taut_type type : {TAUT_AS_IS, TAUT_AS_FLOAT16}) {
            uint64_t bytes;
            if (taut_size(file, i, UINT64_MAX, type, &bytes) != TAUT_OK || bytes > kMostValues) continue;
            Bytes out(static_cast<size_t>(bytes));
            const taut_status whole = taut_decode(file, i, type, out.data(), out.size(), &error);
            sound &= whole == TAUT_OK || whole == TAUT_ERROR_UNSUPPORTED;
            if (t.dimensions == 0 || t.shape[0] < 3 || taut_size(file, i, 1, type, &bytes) != TAUT_OK) continue;
            Bytes row(static_cast<size_t>(bytes));
            const uint64_t which = t.shape[0] / 2;
            if (taut_decode_rows(file, i, which, 1, type, row.data(), row.size(), &error) == TAUT_OK &&
                whole == TAUT_OK && bytes && std::memcmp(row.data(), out.data() + which * bytes, row.size()) != 0)
                fail("a row differs from that of the whole tensor");
            const uint64_t rows[] = {t.shape[0] - 1, which, 0, which};
            Bytes some(4 * row.size());
            if (taut_gather_rows(file, i, rows, 4, type, some.data(), some.size(), &error) != TAUT_OK || whole != TAUT_OK) continue;
            for (size_t k = 0; k < 4 && bytes; k++)
                if (std::memcmp(some.data() + k * row.size(), out.data() + rows[k] * bytes, row.size()) != 0)
                    fail("a row that was chosen differs from that of the whole tensor");
        }
        taut_grid grid;
        if (taut_grid_describe(file, i, &grid, &error) == TAUT_OK && grid.values < kMostValues / 4 &&
            grid.rows * grid.groups < kMostValues) {
            std::vector<int32_t> integers(static_cast<size_t>(grid.values)),
                zeros(static_cast<size_t>(grid.rows * grid.groups));
            std::vector<float> scales(zeros.size()), columns(static_cast<size_t>(grid.columns)),
                levels(static_cast<size_t>(grid.levels));
            const taut_grid_out out{integers.data(), scales.data(), zeros.data(), columns.data(), levels.data()};
            (void)taut_grid_decode(file, i, 0, grid.rows, &out, &error);
        }
    }
    sound &= taut_verify(file, &error) == TAUT_OK;
    size_t count;
    if (taut_original_count(file, &count, &error) == TAUT_OK)
        for (size_t i = 0; i < count && i < 8; i++) {
            const char* name;
            uint64_t left = kMostValues;
            if (taut_original_name(file, i, &name, &error) != TAUT_OK) fail("a file without a name");
            (void)taut_original_write(file, i, count_bytes, &left, &error);
        }
    taut_close(file);
    return sound;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    run(data, size, size ? data[size - 1] : 0);
    return 0;
}

extern "C" const char* __asan_default_options() { return "max_allocation_size_mb=192:detect_stack_use_after_return=1"; }
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

#ifndef TAUT_LIBFUZZER
#include <chrono>
#include <random>

#include <csignal>
#if !defined(_WIN32)
#include <unistd.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

using Random = std::mt19937_64;

const Bytes* running = nullptr;

void save() {
    if (!running) return;
    std::ofstream("fuzz-file-crash.bin", std::ios::binary)
        .write(reinterpret_cast<const char*>(running->data()), std::streamsize(running->size()));
    std::fprintf(stderr, "fuzz_file: the input is in fuzz-file-crash.bin (%zu bytes)\n", running->size());
    running = nullptr;
}

void put_sum(Bytes& file, size_t at, uint64_t sum) {
    taut::capi::put_digits(sum, reinterpret_cast<char*>(file.data()) + at);
}

// Checksums of index and header as they must be; those of parts stand inside the index and stay.
void sign(Bytes& file) {
    uint64_t length;
    if (file.size() < 120) return;
    std::memcpy(&length, file.data(), 8);
    if (length > file.size() - 8 || length < 110) return;
    const std::string header(file.begin() + 8, file.begin() + 8 + std::ptrdiff_t(length));
    const size_t at = header.rfind("\"data_offsets\":[");
    if (at != std::string::npos) {
        char* end;
        const uint64_t begin = std::strtoull(header.c_str() + at + 16, &end, 10);
        const size_t from = size_t(8 + length + begin);
        if (begin < file.size() && from <= file.size())
            put_sum(file, 8 + 67, taut::capi::checksum(file.data() + from, file.size() - from));
    }
    std::memset(file.data() + 8 + 40, '0', 16);
    put_sum(file, 8 + 40, taut::capi::checksum(file.data() + 8, size_t(length)));
}

void damage(Random& random, Bytes& file) {
    constexpr uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff, '0', '9', '"', ','};
    for (uint64_t times = 1 + random() % (random() % 3 ? 2 : 8); times-- > 0 && !file.empty();) {
        const size_t n = file.size(), near = std::min<size_t>(n, 2048);
        // Header and index are small, and most of what can be wrong is in them.
        const size_t at = random() % 3 == 0 ? random() % n : random() % 2 ? random() % near : n - 1 - random() % near;
        const auto here = file.begin() + std::ptrdiff_t(at);
        const size_t some = std::min<size_t>(n - at, 1 + random() % 8);
        switch (random() % 8) {
            case 0:
            case 1:
            case 2: file[at] ^= uint8_t(1u << random() % 8); break;
            case 3: file[at] = telling[random() % sizeof telling]; break;
            case 4: file[at] = uint8_t(file[at] + 1); break;
            case 5: file.erase(here, here + std::ptrdiff_t(some)); break;
            case 6: file.insert(here, some, uint8_t(random())); break;
            default:
                if (random() % 4 == 0) file.resize(at);
                break;
        }
    }
}

int fuzz_for(double seconds, uint64_t seed) {
    const std::vector<Bytes> sound = golden::files();
    for (const Bytes& file : sound)
        for (uint64_t way : {0, 1})
            if (!run(file.data(), file.size(), way)) fail("a golden file is refused");
    if (sound.empty()) fail("no golden files");
    Random random(seed);
    uint64_t runs = 0, still = 0;
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    for (; elapsed() < seconds; runs++) {
        Bytes file = sound[random() % sound.size()];
        damage(random, file);
        if (random() % 4) sign(file);
        running = &file;
#if !defined(_WIN32)
        alarm(30);
#endif
        still += run(file.data(), file.size(), random() % 256);
        running = nullptr;
    }
    std::printf("fuzz_file: seed %llu, %.0f s, %s decoders; %llu damaged files, of which %llu are still sound\n",
                static_cast<unsigned long long>(seed), elapsed(), taut_decoder_name(),
                static_cast<unsigned long long>(runs), static_cast<unsigned long long>(still));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(save);
#endif
    std::signal(SIGABRT, [](int) { save(); });
#if !defined(_WIN32)
    std::signal(SIGALRM, [](int) { fail("an input takes too long"); });
#endif
    const std::string first = argc > 1 ? argv[1] : "3";
    if (first.find_first_not_of("0123456789.") == std::string::npos)
        return fuzz_for(std::stod(first), argc > 2 ? std::stoull(argv[2]) : 1);
    for (int i = 1; i < argc; i++) {
        const Bytes bytes = golden::read(argv[i]);
        for (uint64_t way = 255; way > 0; way--) run(bytes.data(), bytes.size(), way);
        std::printf("%s: %s\n", argv[i], run(bytes.data(), bytes.size()) ? "sound" : "damaged");
    }
    return 0;
}
#endif
