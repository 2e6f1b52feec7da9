// Memory that is counted, and that decoders ask for: none of them throws when there is none left.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace taut {

struct Allocator {
    void* (*allocate)(void* context, size_t size);
    void (*release)(void* context, void* block, size_t size);
    void* context;
};

// What is held of an allocator, against a limit. May be used by several threads at once.
class Memory {
public:
    constexpr Memory() : Memory({nullptr, nullptr, nullptr}, 0) {}
    // Without functions malloc and free; without a limit (0) as much as there is.
    constexpr Memory(const Allocator& allocator, uint64_t limit) : allocator_(allocator), limit_(limit) {
        if (!allocator_.allocate)
            allocator_ = {[](void*, size_t size) { return std::malloc(size); },
                          [](void*, void* block, size_t) { std::free(block); }, nullptr};
    }
    void* take(size_t size) {  // null: there is none
        const uint64_t now = held_.fetch_add(size) + size;
        void* block = limit_ && now > limit_ ? nullptr : allocator_.allocate(allocator_.context, size);
        if (!block) {
            held_ -= size;
            return nullptr;
        }
        for (uint64_t peak = peak_; now > peak && !peak_.compare_exchange_weak(peak, now);) {}
        return block;
    }
    void give(void* block, size_t size) {
        held_ -= size;
        allocator_.release(allocator_.context, block, size);
    }
    void count(size_t size) { peak_ = held_ += size; }  // of a block that holds this
    const Allocator& allocator() const { return allocator_; }
    uint64_t held() const { return held_; }
    uint64_t peak() const { return peak_; }

private:
    Allocator allocator_;
    uint64_t limit_;
    std::atomic<uint64_t> held_{0}, peak_{0};
};

// Memory without a limit: of all that names none.
inline constinit Memory usual_memory;

// Plain values in a row, as std::vector has them. What begins with try_ says false where memory is lacking, for decoders;
// the rest throws, for encoders, which are compiled with exceptions alone.
template <class T>
class Vec {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    explicit Vec(Memory& memory = usual_memory) : memory_(&memory) {}
    Vec(Vec&& other) noexcept : memory_(other.memory_) { swap(other); }
    Vec& operator=(Vec&& other) noexcept { return swap(other), *this; }
    ~Vec() { release(); }

    // Sizes have 64 bits wherever memory has fewer: what a file claims is compared before it is cut.
    [[nodiscard]] bool try_reserve(uint64_t room) {
        if (room <= room_) return true;
        if (room > SIZE_MAX / 2 / sizeof(T)) return false;
        auto* bigger = static_cast<T*>(memory_->take(size_t(room) * sizeof(T)));
        if (!bigger) return false;
        if (size_) std::memcpy(static_cast<void*>(bigger), data_, size_ * sizeof(T));
        const size_t size = size_;
        release();
        data_ = bigger;
        size_ = size;
        room_ = size_t(room);
        return true;
    }
    // New values are as T{} has them.
    [[nodiscard]] bool try_resize(uint64_t size) {
        const size_t before = size_;
        if (!try_resize_raw(size)) return false;
        for (size_t i = before; i < size; i++) new (data_ + i) T{};
        return true;
    }
    // New values are whatever lies there.
    [[nodiscard]] bool try_resize_raw(uint64_t size) {
        if (!try_reserve(size)) return false;
        size_ = size_t(size);
        return true;
    }
    [[nodiscard]] bool try_assign(uint64_t size, const T& value) {
        size_ = 0;
        if (!try_resize_raw(size)) return false;
        for (size_t i = 0; i < size; i++) data_[i] = value;
        return true;
    }
    [[nodiscard]] bool try_push(const T& value) {
        const T copy = value;
        if (size_ == room_ && !try_reserve(room_ < 8 ? 8 : uint64_t(room_) * 2)) return false;
        data_[size_++] = copy;
        return true;
    }

    T* data() { return data_; }
    const T* data() const { return data_; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T* begin() { return data_; }
    T* end() { return data_ + size_; }
    const T* begin() const { return data_; }
    const T* end() const { return data_ + size_; }
    T& operator[](size_t i) { return data_[i]; }
    const T& operator[](size_t i) const { return data_[i]; }
    T& back() { return data_[size_ - 1]; }
    const T& back() const { return data_[size_ - 1]; }
    void clear() { size_ = 0; }
    void shrink(size_t size) { size_ = size < size_ ? size : size_; }
    Memory& memory() const { return *memory_; }
    void swap(Vec& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(room_, other.room_);
    }

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
    Vec(const Vec& other) : memory_(other.memory_) { assign(other.begin(), other.end()); }
    Vec& operator=(const Vec& other) {
        if (this != &other) assign(other.begin(), other.end());
        return *this;
    }
    template <class Other>
        requires requires(const Other& o) { o.get_allocator(); }
    Vec& operator=(const Other& other) {
        assign(other.data(), other.data() + other.size());
        return *this;
    }
    template <class It>
    void assign(It first, It last) {
        size_ = 0;
        had(try_reserve(size_t(last - first)));
        for (; first != last; ++first) data_[size_++] = *first;
    }
    void assign(size_t size, const T& value) { had(try_assign(size, value)); }
    void resize(size_t size) { had(try_resize(size)); }
    void push_back(const T& value) { had(try_push(value)); }

private:
    static void had(bool memory) {
        if (!memory) throw std::bad_alloc();
    }
#endif

private:
    Memory* memory_;
    T* data_ = nullptr;
    size_t size_ = 0, room_ = 0;

    void release() {
        if (data_) memory_->give(data_, room_ * sizeof(T));
        data_ = nullptr;
        size_ = room_ = 0;
    }
};

}  // namespace taut
