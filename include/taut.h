/* libtaut: reads Taut files (docs/format.md) in plain C.
 *
 * Every function that can fail gives a status and, where it is asked for, says in `taut_error` what was wrong and where.
 * Nothing is printed, nothing ends the program, and no memory is held but through the allocator of `taut_options`.
 * A `taut_file` is used by one thread at a time; different files are independent of each other.
 *
 *     taut_file *file;
 *     taut_error error;
 *     if (taut_open_path("net.taut.safetensors", NULL, &file, &error) != TAUT_OK) return complain(error.text);
 *     size_t number;
 *     taut_find(file, "encoder.weight", &number);
 *     taut_decode(file, number, TAUT_AS_FLOAT32, weights, sizeof weights, &error);
 *     taut_close(file);
 */
#ifndef TAUT_H
#define TAUT_H

#include <stddef.h>
#include <stdint.h>

#define TAUT_VERSION_MAJOR 0
#define TAUT_VERSION_MINOR 1

#if defined(TAUT_STATIC)
#define TAUT_API
#elif defined(_WIN32)
#if defined(TAUT_BUILDING)
#define TAUT_API __declspec(dllexport)
#else
#define TAUT_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define TAUT_API __attribute__((visibility("default")))
#else
#define TAUT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum taut_status {
    TAUT_OK = 0,
    TAUT_ERROR_ARGUMENT = 1,    /* the call is wrong: no such tensor, a buffer too small */
    TAUT_ERROR_READ = 2,        /* the file is missing, or its source gave no bytes */
    TAUT_ERROR_FORMAT = 3,      /* the file breaks a rule of the format */
    TAUT_ERROR_CHECKSUM = 4,    /* bytes or values do not match their checksum: damage */
    TAUT_ERROR_MEMORY = 5,      /* the allocator gave nothing, or the cap was reached */
    TAUT_ERROR_UNSUPPORTED = 6, /* sound, but this library does not do it (docs/c.md, "Limits") */
    TAUT_ERROR_WRITE = 7        /* the caller's write function refused */
} taut_status;

typedef struct taut_error {
    taut_status status;
    char text[500]; /* UTF-8, ends in a zero byte; "" for TAUT_OK */
} taut_error;

/* `allocate` gives `size` > 0 bytes aligned for any type, or NULL; `release` gets the same size back. With more than one
 * thread both are called by several at once. */
typedef struct taut_allocator {
    void *(*allocate)(void *context, size_t size);
    void (*release)(void *context, void *block, size_t size);
    void *context;
} taut_allocator;

/* Begin with `taut_options options = TAUT_OPTIONS;` and change what should differ. */
typedef struct taut_options {
    size_t struct_size;       /* sizeof(taut_options) */
    taut_allocator allocator; /* all null: malloc and free */
    uint64_t memory_limit;    /* bytes that may be held at once; 0: no limit */
    int threads;              /* that decode at once, the caller's included; 0 and 1: the caller alone */
} taut_options;
#define TAUT_OPTIONS {sizeof(taut_options), {NULL, NULL, NULL}, 0, 1}

/* The functions below that a program gives (read, write, allocate, close) return in the usual way: they throw nothing and jump
 * nowhere. They may call the library, but what works on the file that called them, or that stands on it, gives
 * TAUT_ERROR_ARGUMENT, and taut_close closes it once that call has returned. */

/* Where a file's bytes come from. `read` fills `to` with all `size` bytes from `offset` on and gives 0, or anything else
 * if it cannot. It is called by one thread at a time, with offsets within `size`, and may be asked for the same bytes again: where
 * it gives others, or not all of them, the checksums tell. `close` may be null; it is called once, even if the file does not open. */
typedef struct taut_source {
    int (*read)(void *context, uint64_t offset, void *to, size_t size);
    void (*close)(void *context);
    void *context;
    uint64_t size;
} taut_source;

typedef struct taut_file taut_file;

/* Each reads header and index and checks them. On failure `*file` is NULL; `options` and `error` may be NULL.
 * The bytes of `taut_open_memory` are not copied: they stay as they are until `taut_close`. */
TAUT_API taut_status taut_open_path(const char *path, const taut_options *options, taut_file **file, taut_error *error);
TAUT_API taut_status taut_open_memory(const void *bytes, size_t size, const taut_options *options, taut_file **file,
                                      taut_error *error);
TAUT_API taut_status taut_open_source(const taut_source *source, const taut_options *options, taut_file **file,
                                      taut_error *error);
TAUT_API void taut_close(taut_file *file); /* NULL is nothing to close */

/* A delta holds what its tensors differ by from those of a base (docs/deltas.md), which is given before they are decoded. `read`
 * fills `to` with the `size` bytes of the base's tensor of this name, dtype and shape, and gives 0; anything else where there is
 * none. Every tensor is compared with its checksum. */
typedef struct taut_base {
    int (*read)(void *context, const char *name, size_t name_size, const char *dtype, const uint64_t *shape,
                uint32_t dimensions, void *to, size_t size);
    void *context;
} taut_base;
TAUT_API taut_status taut_stand_on(taut_file *file, const taut_base *base, taut_error *error);
/* The base is another open file, which stays open as long, may stand on one itself, and is used by the same thread; NULL: none. */
TAUT_API taut_status taut_stand_on_file(taut_file *file, taut_file *base, taut_error *error);
/* What the base's file was called, "" where that is not known; NULL: the file is no delta. */
TAUT_API const char *taut_base_name(const taut_file *file);

/* One tensor. Strings are UTF-8 and end in a zero byte; they and `shape` live as long as the file. */
typedef struct taut_tensor {
    const char *name;      /* may hold zero bytes of its own: name_size counts */
    size_t name_size;
    const char *dtype;     /* as safetensors calls it: "F32", "BF16", "I64", ... */
    const char *scheme;    /* how it was made: "lossless", "rd:3", ... */
    const uint64_t *shape;
    uint32_t dimensions;
    uint64_t values;       /* the product of the shape */
    uint64_t bytes;        /* decoded, in its own dtype */
    uint64_t file_bytes;   /* what it takes in the file by itself; 0 where others share it (solid groups, aliases) */
    double error;          /* sum((original - decoded)^2) / sum(original^2); 0: bit-exact */
    size_t same_as;        /* number of the tensor that carries its data; its own, unless it is an alias */
    int tied;              /* whether the model ties the two, so that they may share memory */
} taut_tensor;

TAUT_API size_t taut_count(const taut_file *file);
TAUT_API taut_status taut_describe(const taut_file *file, size_t number, taut_tensor *tensor);
/* The number of the tensor of this name; TAUT_ERROR_ARGUMENT if there is none. */
TAUT_API taut_status taut_find(const taut_file *file, const char *name, size_t *number);

typedef enum taut_type {
    TAUT_AS_IS = 0, /* the tensor's own dtype, bit for bit as the Python reader gives it */
    TAUT_AS_FLOAT32 = 1,
    TAUT_AS_FLOAT16 = 2,  /* rounded to nearest, ties to even; beyond 65504 infinite */
    TAUT_AS_BFLOAT16 = 3
} taut_type;

/* Bytes that `rows` rows (along the first dimension) of a tensor take as `type`; all rows with UINT64_MAX. */
TAUT_API taut_status taut_size(const taut_file *file, size_t number, uint64_t rows, taut_type type, uint64_t *bytes);

/* Decodes a tensor into `out`, C order, without gaps; `size` must be what `taut_size` says, or more. On failure the bytes
 * of `out` mean nothing. */
TAUT_API taut_status taut_decode(taut_file *file, size_t number, taut_type type, void *out, size_t size,
                                 taut_error *error);
/* Rows first .. first + rows - 1 alone; of a coded tensor only the chunks that hold them are read. */
TAUT_API taut_status taut_decode_rows(taut_file *file, size_t number, uint64_t first, uint64_t rows, taut_type type,
                                      void *out, size_t size, taut_error *error);
/* Any rows, in any order and as often as wanted: row rows[i] of the tensor becomes row i of `out`, which holds `count` times what
 * `taut_size` says of one. Each chunk that holds some of them is decoded once; of a table in a basis (docs/coding.md) these rows'
 * sums alone are made. */
TAUT_API taut_status taut_gather_rows(taut_file *file, size_t number, const uint64_t *rows, size_t count, taut_type type,
                                      void *out, size_t size, taut_error *error);

/* The grid of a tensor that was rounded: whole numbers, and what makes values of them. `L` is an integer as it is given,
 * `k` = min(|L|, 3), of a trellis min((|L| + 1) / 2, 3); offset = k ? offsets[k - 1] : 0, with the sign of L. In float32,
 * each operation rounded, from left to right, and then rounded to the tensor's dtype, a value is
 *
 *     TAUT_GRID_PRODUCT   (L - offset) * scales[row, group] * column_scales[column]
 *                         with `levels`, levels[L - first_level] in place of L; else L - zeros[row, group]
 *     TAUT_GRID_SUM       L * scales[row, 0] - offset * scales[row, 0]
 *
 * Rows and columns are the grid's own: `values` numbers in rows of `columns`, in the order of the tensor's values. */
typedef enum taut_grid_kind { TAUT_GRID_PRODUCT = 1, TAUT_GRID_SUM = 2 } taut_grid_kind;
typedef struct taut_grid {
    taut_grid_kind kind;
    uint64_t rows, columns, values; /* the last row may have fewer values than columns (TAUT_GRID_SUM) */
    uint64_t group, groups;         /* columns that share a scale; scales of a row */
    float offsets[3];
    int trellis;
    int32_t first_level;
    uint64_t levels;                /* 0: an integer is its own level */
} taut_grid;
/* Where the parts go; what is null is not wanted. */
typedef struct taut_grid_out {
    int32_t *integers;    /* rows * columns, less what the last row has not */
    float *scales;        /* rows * groups */
    int32_t *zeros;       /* rows * groups */
    float *column_scales; /* columns */
    float *levels;        /* levels */
} taut_grid_out;

/* TAUT_ERROR_UNSUPPORTED where a tensor lies on no grid: it is lossless, or kept, or shares an array with others, or its
   rows are sums of a basis' rows. */
TAUT_API taut_status taut_grid_describe(taut_file *file, size_t number, taut_grid *grid, taut_error *error);
/* Rows first .. first + rows - 1 of the grid. */
TAUT_API taut_status taut_grid_decode(taut_file *file, size_t number, uint64_t first, uint64_t rows,
                                      const taut_grid_out *out, taut_error *error);

/* Checks every byte of the file and decodes everything, against every checksum. */
TAUT_API taut_status taut_verify(taut_file *file, taut_error *error);

/* What a network's modules must be told for the tensors to fit, where channels were taken out. */
typedef struct taut_attribute {
    const char *module;
    const char *name;
    int64_t value;
} taut_attribute;
TAUT_API size_t taut_attribute_count(const taut_file *file);
TAUT_API taut_status taut_attribute_at(const taut_file *file, size_t number, taut_attribute *attribute);

/* The files that were compressed: safetensors, its shards and their index, ONNX with its data, or GGUF. A lossless Taut file
 * gives them back byte for byte; a lossy one gives the same files with its own values. A name may lead into folders below
 * the one it is written to ("weights/a.bin"), never out of it. */
typedef int taut_write(void *context, const void *bytes, size_t size); /* 0: taken */
TAUT_API taut_status taut_original_count(taut_file *file, size_t *count, taut_error *error);
TAUT_API taut_status taut_original_name(taut_file *file, size_t number, const char **name, taut_error *error);
/* The caller throws away what was written if it fails. */
TAUT_API taut_status taut_original_write(taut_file *file, size_t number, taut_write *write, void *context,
                                         taut_error *error);

/* Bytes that the file holds of the allocator now, and the most that it held. */
TAUT_API void taut_memory(const taut_file *file, uint64_t *held, uint64_t *peak);

TAUT_API const char *taut_status_name(taut_status status);
TAUT_API const char *taut_decoder_name(void); /* "portable", "avx2", ...: what decodes on this processor */

#ifdef __cplusplus
}
#endif
#endif
