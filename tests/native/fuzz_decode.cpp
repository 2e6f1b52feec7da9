// Fuzzes the decoder. With libFuzzer (cmake -DTAUT_LIBFUZZER=ON, clang) this is its target; otherwise it is a
// program that makes arrays, damages them, and runs everywhere a compiler with sanitisers does:
//
//     fuzz_decode [SECONDS [SEED]]     damage arrays for so long (default: 3 seconds, seed 1)
//     fuzz_decode --corpus FOLDER [N]  write N arrays (default: 200) as files for libFuzzer to start from
//     fuzz_decode FILE...              run inputs again, such as the fuzz-crash.bin that a failure leaves
//
// cmake -DTAUT_EMULATE=ON adds the AVX-512 decoder on processors that lack it (wants libsimde-dev).
#include "fuzz_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    fuzz::run(fuzz::unpack(data, size));
    return 0;
}

// A few hostile bytes must not claim more memory than the limits of the target explain.
extern "C" const char* __asan_default_options() { return "max_allocation_size_mb=128:detect_stack_use_after_return=1"; }

// A report must end in a signal, which leaves the input behind.
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

#ifndef TAUT_LIBFUZZER
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "fuzz_seeds.hpp"
#if !defined(_WIN32)
#include <unistd.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

using namespace fuzz;

constexpr unsigned kHang = 20;  // seconds that one input may take at most

// --- damage --------------------------------------------------------------------------------------------------------

// A place in some bytes; more often near an end, where sizes and states are.
size_t place(Random& random, const Bytes& bytes) {
    const size_t n = bytes.size(), edge = std::min<size_t>(n, 40);
    switch (below(random, 4)) {
        case 0: return below(random, edge);
        case 1: return n - 1 - below(random, std::min<size_t>(n, 260));
        default: return below(random, n);
    }
}

void damage(Random& random, Bytes& bytes, const Bytes& donor) {
    if (bytes.empty()) {
        bytes = donor;
        return;
    }
    const size_t at = place(random, bytes), n = 1 + below(random, chance(random, 4) ? 64 : 4);
    const auto here = bytes.begin() + std::ptrdiff_t(at);
    const size_t left = std::min(n, bytes.size() - at);
    constexpr uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    switch (below(random, 9)) {
        case 0: case 1: case 2: bytes[at] ^= uint8_t(1 << below(random, 8)); break;
        case 3: bytes[at] = telling[below(random, 6)]; break;
        case 4: bytes[at] = uint8_t(bytes[at] + (chance(random, 2) ? 1 : -1)); break;
        case 5: bytes.erase(here, here + std::ptrdiff_t(left)); break;
        case 6: bytes.insert(here, n, chance(random, 2) ? uint8_t(random()) : uint8_t(0xff)); break;
        case 7: bytes.resize(chance(random, 2) ? at : bytes.size() - left); break;
        default:
            for (size_t i = 0; i < left && !donor.empty(); i++) bytes[at + i] = donor[(at + i) % donor.size()];
    }
}

void damage(Random& random, Input& in, const Input& donor) {
    for (uint64_t times = 1 + below(random, chance(random, 3) ? 8 : 2); times-- > 0;) {
        const Bytes& other = donor.chunks.empty() ? donor.header : donor.chunks[below(random, donor.chunks.size())];
        if (in.chunks.empty() || chance(random, 3)) damage(random, in.header, donor.header);
        else damage(random, in.chunks[below(random, in.chunks.size())], other);
        if (chance(random, 60) && !in.chunks.empty()) in.chunks[0] = other;  // another array's chunk, whole
    }
}

// --- what is left of a failure -------------------------------------------------------------------------------------

const Input* running = nullptr;

void save() {
    if (!running) return;
    const Bytes bytes = pack(*std::exchange(running, nullptr));
    std::ofstream("fuzz-crash.bin", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    std::fprintf(stderr, "fuzz_decode: the input is in fuzz-crash.bin (%zu bytes)\n", bytes.size());
}

void watch() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(save);
#endif
    std::signal(SIGABRT, [](int) { save(); });
#if !defined(_WIN32)
    std::signal(SIGALRM, [](int) { fail("an input takes too long"); });
#endif
}

bool run_watched(const Input& in) {
    running = &in;
#if !defined(_WIN32)
    alarm(kHang);
#endif
    bool decoded = false;
    try {
        decoded = run(in);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "fuzz_decode: %s\n", e.what());
        fail("an exception that is no FormatError");
    }
    running = nullptr;
    return decoded;
}

// --- commands ------------------------------------------------------------------------------------------------------

int fuzz_for(double seconds, uint64_t number) {
    Random random(number);
    std::vector<Input> pool;
    uint64_t runs = 0, decoded = 0, seeds = 0;
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    while (elapsed() < seconds) {
        Input fresh = seed(random);
        if (!run_watched(fresh)) {
            running = &fresh;
            fail("a sound array is refused");
        }
        seeds++;
        if (pool.size() < 64) pool.push_back(std::move(fresh));
        else pool[below(random, pool.size())] = std::move(fresh);
        for (int i = 0; i < 50 && elapsed() < seconds; i++) {
            Input in = pool[below(random, pool.size())];
            damage(random, in, pool[below(random, pool.size())]);
            decoded += run_watched(in);
            runs++;
        }
    }
    std::printf("fuzz_decode: seed %llu, %.0f s; kernels", static_cast<unsigned long long>(number), elapsed());
    for (const taut::Kernels* k : kernels()) std::printf(" %s", k->name);
    std::printf("; %llu sound arrays, %llu damaged ones, of which %llu still decode\n",
                static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(runs),
                static_cast<unsigned long long>(decoded));
    return 0;
}

int write_corpus(const std::filesystem::path& folder, int count) {
    std::filesystem::create_directories(folder);
    Random random(1);
    for (int i = 0; i < count; i++) {
        const Bytes bytes = pack(seed(random));
        std::ofstream(folder / ("seed-" + std::to_string(i)), std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    }
    return 0;
}

int run_again(const char* path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        std::fprintf(stderr, "fuzz_decode: %s cannot be read\n", path);
        return 2;
    }
    const Bytes bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::printf("%s: %s\n", path, run(unpack(bytes.data(), bytes.size())) ? "decoded" : "refused");
    return 0;
}

bool is_number(const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789.") == std::string::npos;
}

}  // namespace

int main(int argc, char** argv) {
    watch();
    const std::string first = argc > 1 ? argv[1] : "3";
    if (first == "--corpus" && argc > 2) return write_corpus(argv[2], argc > 3 ? std::stoi(argv[3]) : 200);
    if (is_number(first)) return fuzz_for(std::stod(first), argc > 2 ? std::stoull(argv[2]) : 1);
    int status = 0;
    for (int i = 1; i < argc; i++) status = std::max(status, run_again(argv[i]));
    return status;
}
#endif
