// Lists a Taut file, and gives the original back if a folder is named: list FILE [FOLDER]
//
// What C++ adds to taut.h is little: a handle that closes itself, errors as exceptions, values in a vector.
#include <taut.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void check(taut_status status, const taut_error& error) {
    if (status != TAUT_OK) throw std::runtime_error(std::string(taut_status_name(status)) + ": " + error.text);
}

class File {
public:
    explicit File(const std::string& path) {
        taut_options options = TAUT_OPTIONS;
        options.threads = 4;
        options.memory_limit = std::uint64_t(1) << 30;
        taut_file* file = nullptr;
        taut_error error;
        check(taut_open_path(path.c_str(), &options, &file, &error), error);
        file_.reset(file);
    }
    std::size_t size() const { return taut_count(file_.get()); }
    taut_tensor operator[](std::size_t i) const {
        taut_tensor tensor;
        if (taut_describe(file_.get(), i, &tensor) != TAUT_OK) throw std::out_of_range("no such tensor");
        return tensor;
    }
    std::vector<float> floats(std::size_t i) const {
        std::uint64_t bytes = 0;
        taut_error error;
        if (taut_size(file_.get(), i, UINT64_MAX, TAUT_AS_FLOAT32, &bytes) != TAUT_OK) return {};
        std::vector<float> values(std::size_t(bytes / sizeof(float)));
        check(taut_decode(file_.get(), i, TAUT_AS_FLOAT32, values.data(), std::size_t(bytes), &error), error);
        return values;
    }
    void write_originals(const std::string& folder) const {
        std::size_t count = 0;
        taut_error error;
        check(taut_original_count(file_.get(), &count, &error), error);
        for (std::size_t i = 0; i < count; i++) {
            const char* name = nullptr;
            check(taut_original_name(file_.get(), i, &name, &error), error);
            std::ofstream out(folder + "/" + name, std::ios::binary);
            const auto write = [](void* to, const void* bytes, std::size_t n) {
                return static_cast<std::ofstream*>(to)->write(static_cast<const char*>(bytes), std::streamsize(n)) ? 0 : 1;
            };
            check(taut_original_write(file_.get(), i, write, &out, &error), error);
        }
    }

private:
    struct Close {
        void operator()(taut_file* file) const { taut_close(file); }
    };
    std::unique_ptr<taut_file, Close> file_;
};

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 2) return std::fputs("usage: list FILE [FOLDER]\n", stderr), 2;
    const File file(argv[1]);
    for (std::size_t i = 0; i < file.size(); i++) {
        const taut_tensor t = file[i];
        const std::vector<float> values = file.floats(i);
        std::printf("%s %s %s, %llu bytes of %llu, first %g\n", t.name, t.dtype, t.scheme, (unsigned long long)t.file_bytes,
                    (unsigned long long)t.bytes, values.empty() ? 0.0 : double(values[0]));
    }
    if (argc > 2) file.write_originals(argv[2]);
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
