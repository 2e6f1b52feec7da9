// libtaut, given functions that do what they should not: sources that fail, give too little, change between two reads or
// claim another size, allocators that run out, functions that call the library for the file that called them or close it.
// Whatever is then given without an error is right, and nothing is left behind.
#include "misbehaving.hpp"

namespace {

using namespace misbehaving;

// Opens by the program's functions, asks for everything, closes.
Answers run(Program& program, uint64_t size, int threads, bool with_allocator, const std::string& what) {
    taut_source source = source_of(program);
    source.size = size;
    taut_options options = TAUT_OPTIONS;
    options.threads = threads;
    options.memory_limit = 64 << 20;
    if (with_allocator) {
        source.read = [](void* p, uint64_t offset, void* to, size_t n) {
            auto& bytes = static_cast<Program*>(p)->bytes;
            if (offset > bytes.size() || n > bytes.size() - offset) return 1;
            if (n) std::memcpy(to, bytes.data() + offset, n);
            return 0;
        };
        options.allocator = {[](void* p, size_t n) { return static_cast<Program*>(p)->allocate(n); },
                             [](void* p, void* block, size_t n) {
                                 static_cast<Program*>(p)->blocks--;
                                 static_cast<Program*>(p)->held -= n;
                                 std::free(block);
                             },
                             &program};
    }
    taut_error error;
    taut_file* file;
    Answers answers;
    const taut_status status = taut_open_source(&source, &options, &file, &error);
    check((status == TAUT_OK) == (file != nullptr), what + ": a file and an error, or neither");
    if (status == TAUT_OK) {
        program.file = file;
        stand(file);
        if (!program.gone) answers = ask(program, file);
        if (!program.gone) taut_close(file);
    } else {
        check(error.text[0], what + ": a refusal without a reason");
    }
    check(program.closed == 1, what + ": the source is closed " + std::to_string(program.closed) + " times");
    check(program.blocks == 0 && program.held == 0, what + ": memory is left");
    return answers;
}

// What was given is right, and all of it is given where it must be.
void compare(const Answers& truth, const Answers& found, bool all, const std::string& what) {
    for (size_t i = 0; i < found.given.size() && i < truth.given.size(); i++) {
        const bool given = found.given[i][0] == '+';
        check(found.given[i] == truth.given[i] || (!given && !all), what + ": answer " + std::to_string(i) + " is another" +
              (given ? "" : ": " + found.given[i].substr(0, 200)));
    }
}

void hostile_sources(const Bytes& bytes, const Bytes& other, Random& random, int rounds) {
    Program honest{bytes, other};
    const Answers truth = run(honest, bytes.size(), 1, false, "honest");
    for (const std::string& one : truth.given) check(one[0] == '+' || one.starts_with("-unsupported"), "honest: " + one.substr(0, 200));
    for (Way way : kWays)
        for (int i = 0; i < rounds; i++) {
            Program program{bytes, other};
            program.way = way;
            program.from = i == 0 ? 0 : random.below(size_t(honest.calls));
            program.only = i % 2;
            const int threads = i % 3 == 2 ? 3 : 1;
            const std::string what = std::string(kNames[int(way)]) + " at call " + std::to_string(program.from);
            const Answers found = run(program, bytes.size(), threads, false, what);
            compare(truth, found, !is_misread(way) && way != Way::refuses, what);
        }
    // Sizes that are not the file's; what lies behind it reads as nothing, or is refused.
    const uint64_t n = bytes.size();
    for (uint64_t size : {uint64_t(0), uint64_t(7), uint64_t(10), n / 2, n - 1, n + 1, n + 8, 2 * n, uint64_t(1) << 40, uint64_t(1) << 63, UINT64_MAX}) {
        Program program{bytes, other};
        compare(truth, run(program, size, 1, false, "size " + std::to_string(size)), false, "size " + std::to_string(size));
    }
}

void hostile_allocators(const Bytes& bytes, const Bytes& other, Random& random, int rounds) {
    Program honest{bytes, other};
    const Answers truth = run(honest, bytes.size(), 1, true, "honest");
    for (Way way : {Way::refuses, Way::calls, Way::closes, Way::both})
        for (int i = 0; i < rounds; i++) {
            Program program{bytes, other};
            program.way = way;
            program.from = i == 0 ? 0 : random.below(size_t(honest.calls));
            program.only = i % 2;
            const std::string what = std::string("allocator ") + kNames[int(way)] + " at call " + std::to_string(program.from);
            compare(truth, run(program, bytes.size(), 1, true, what), way != Way::refuses, what);
        }
}

// A write function that calls for its file, refuses, or closes it.
void hostile_writers(const Bytes& bytes, const Bytes& other) {
    for (Way way : {Way::refuses, Way::calls, Way::closes, Way::both}) {
        Program program{bytes, other};
        taut_source source = source_of(program);
        taut_file* file;
        check(taut_open_source(&source, nullptr, &file, nullptr) == TAUT_OK, "a golden file is refused");
        stand(file);
        program.file = file;
        program.calls = 0;
        const auto write = [](void* p, const void*, size_t) {
            auto& program = *static_cast<Program*>(p);
            program.misbehave();
            return program.way == Way::refuses ? 1 : 0;
        };
        program.way = way;
        ask(program, file, write);
        if (!program.gone) taut_close(file);
        check(program.closed == 1, "a write function leaves a source open");
    }
}

// A base's function that calls for the delta, and a delta on a file whose source calls for the delta.
struct Standing {
    taut_file *delta, *base;
    int met = 0;
};

void hostile_bases(const Bytes& delta) {
    taut_file* file;
    taut_error error;
    if (taut_open_memory(delta.data(), delta.size(), nullptr, &file, &error) != TAUT_OK) return check(false, error.text);
    if (!taut_base_name(file)) return taut_close(file);
    Standing standing{file, nullptr};
    const taut_base base{[](void* p, const char* name, size_t n, const char* dtype, const uint64_t* shape, uint32_t dimensions,
                            void* to, size_t size) {
                             auto& own = *static_cast<Standing*>(p);
                             own.met += taut_verify(own.delta, nullptr) == TAUT_ERROR_ARGUMENT;
                             own.met += taut_stand_on_file(own.delta, nullptr, nullptr) == TAUT_ERROR_ARGUMENT;
                             if (own.met == 2) taut_close(own.delta);
                             return golden::read_base(p, name, n, dtype, shape, dimensions, to, size);
                         },
                         &standing};
    check(taut_stand_on(file, &base, &error) == TAUT_OK, error.text);
    check(taut_verify(file, &error) == TAUT_OK && standing.met >= 2, "a base's function gets at the delta");

    // The delta on an open file that reads by a function, which calls for both and closes both.
    const Bytes plain = golden::files()[0];
    struct Pair {
        Standing standing{};
        Bytes bytes;
        bool act = false;
        int closed = 0;
    } pair{{}, plain, false, 0};
    const taut_source source{[](void* p, uint64_t offset, void* to, size_t size) {
                                 auto& own = *static_cast<Pair*>(p);
                                 if (size) std::memcpy(to, own.bytes.data() + offset, size);
                                 if (!own.act || own.standing.met) return 0;
                                 for (taut_file* one : {own.standing.delta, own.standing.base})
                                     own.standing.met += taut_verify(one, nullptr) == TAUT_ERROR_ARGUMENT;
                                 taut_close(own.standing.base);
                                 taut_close(own.standing.delta);
                                 return 0;
                             },
                             [](void* p) { static_cast<Pair*>(p)->closed++; }, &pair, plain.size()};
    taut_file* under;
    check(taut_open_memory(delta.data(), delta.size(), nullptr, &file, &error) == TAUT_OK, error.text);
    check(taut_open_source(&source, nullptr, &under, &error) == TAUT_OK, error.text);
    check(taut_stand_on_file(file, under, &error) == TAUT_OK, error.text);
    pair.standing.delta = file;
    pair.standing.base = under;
    check(taut_verify(file, &error) != TAUT_OK, "a delta is sound on another base");  // by name: nothing was read
    pair.act = true;
    check(taut_verify(under, &error) == TAUT_OK && pair.standing.met == 2 && pair.closed == 1,
          "a base that is read stays until it was");
}

}  // namespace

// With a number, so many rounds of each way (default 6), and a seed.
int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 6;
    Random random(argc > 2 ? uint64_t(std::atoi(argv[2])) : 1);
    const std::vector<Bytes> files = golden::files();
    check(files.size() > 5, "no golden files");
    for (size_t i = 0; i < files.size(); i++) {
        const Bytes& other = files[(i + 1) % files.size()];
        hostile_sources(files[i], other, random, rounds);
        hostile_allocators(files[i], other, random, rounds);
        hostile_writers(files[i], other);
        hostile_bases(files[i]);
    }
    return result("test_callbacks");
}
