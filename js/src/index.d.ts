/** Bytes that came so far, and of how many if that is known. */
export interface Progress {
    loaded: number;
    total?: number;
}

export type Code = "argument" | "read" | "format" | "checksum" | "memory" | "unsupported" | "write";

export class TautError extends Error {
    readonly code: Code;
}

/** Whatever reads bytes: `read` gives `length` of them from `offset` on. */
export interface Source {
    readonly size: number;
    readonly name?: string;
    read(offset: number, length: number, signal?: AbortSignal): Promise<ArrayBuffer | ArrayBufferView> | ArrayBuffer | ArrayBufferView;
}

export type Openable = string | URL | ArrayBuffer | ArrayBufferView | Blob | Response | Source;

export interface Options {
    /** Called whenever bytes came over the network. */
    onProgress?: (progress: Progress) => void;
    signal?: AbortSignal;
    /** Fetch the whole file at once, not ranges of it as they are needed. */
    whole?: boolean;
    /** Bytes that the decoder, one tensor, or the original's files may take; 2 ** 30 by default. */
    memoryLimit?: number;
    /** In place of the global `fetch`. */
    fetch?: typeof fetch;
    headers?: Record<string, string>;
    /**
     * What a delta stands on: an open file, or a function that gives the stored bytes of a tensor of this name. Each is
     * compared with its checksum.
     */
    base?: Taut | ((name: string) => ArrayBuffer | ArrayBufferView | Promise<ArrayBuffer | ArrayBufferView>);
    /** Of the index of several files: where a shard is, by its name. */
    resolve?: (name: string) => Openable;
}

export interface Tensor {
    readonly name: string;
    /** As safetensors calls it: "F32", "BF16", ... */
    readonly dtype: string;
    readonly shape: readonly number[];
    /** How it was made: "lossless", "rd:3", ... */
    readonly scheme: string;
    readonly values: number;
    /** Decoded, in its own dtype. */
    readonly bytes: number;
    /** In the file; 0 where others share them. */
    readonly fileBytes: number;
    /** sum((original - decoded)^2) / sum(original^2); 0: bit-exact. */
    readonly error: number;
    /** The tensor that carries its data, if that is another. */
    readonly sameAs: string | null;
    readonly tied: boolean;
}

export type Values = Float32Array | Float64Array | Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array |
    Int32Array | BigInt64Array | BigUint64Array;

export interface GetOptions {
    /**
     * "own": a typed array of the tensor's dtype; narrower floats than float32 as float32.
     * "bits": the stored bits; of F16 and BF16 a Uint16Array.
     * "float32", "float16", "bfloat16": rounded to it; the latter two as bits in a Uint16Array.
     */
    as?: "own" | "bits" | "float32" | "float16" | "bfloat16";
    /** Rows [first, last) along the first dimension. */
    rows?: [first: number, last?: number];
    signal?: AbortSignal;
}

/** Numbers of rows along the first dimension: a list, or a typed array such as tokenizers give. */
export type Rows = readonly number[] | readonly bigint[] | Uint8Array | Uint16Array | Uint32Array | Int32Array | BigInt64Array;

export type GatherOptions = Omit<GetOptions, "rows">;

/** Whole numbers, and what makes values of them: include/taut.h says how. */
export interface Grid {
    kind: "product" | "sum";
    rows: number;
    columns: number;
    values: number;
    group: number;
    groups: number;
    offsets: [number, number, number];
    trellis: boolean;
    firstLevel: number;
    integers: Int32Array;
    scales: Float32Array;
    zeros: Int32Array;
    columnScales: Float32Array;
    levels: Float32Array;
}

export interface Original {
    name: string;
    bytes: Uint8Array;
}

export interface Taut {
    readonly name: string;
    readonly size: number;
    readonly tensors: readonly Tensor[];
    /** What a pruned network's modules must be told, by module and attribute. */
    readonly modules: ReadonlyMap<string, ReadonlyMap<string, number>>;
    /** What the base of a delta was called, "" where that is not known; null: the file is no delta. */
    readonly baseName: string | null;
    has(name: string): boolean;
    info(name: string): Tensor;
    get(name: string, options?: GetOptions & {as: "float32"}): Promise<Float32Array>;
    get(name: string, options?: GetOptions & {as: "float16" | "bfloat16"}): Promise<Uint16Array>;
    get(name: string, options?: GetOptions): Promise<Values>;
    /** Chosen rows, in any order and as often as wanted: row k of what it gives is row rows[k]. */
    gather(name: string, rows: Rows, options?: GatherOptions & {as: "float32"}): Promise<Float32Array>;
    gather(name: string, rows: Rows, options?: GatherOptions & {as: "float16" | "bfloat16"}): Promise<Uint16Array>;
    gather(name: string, rows: Rows, options?: GatherOptions): Promise<Values>;
    /** Throws "unsupported" where a tensor lies on no grid. */
    grid(name: string, options?: {signal?: AbortSignal}): Promise<Grid>;
    /** Have all bytes here. */
    load(options?: {signal?: AbortSignal}): Promise<this>;
    /** Check every byte, and every value against its checksum. A file that decodes to more than `decodedLimit` bytes (2 ** 34) is refused. */
    verify(options?: {signal?: AbortSignal; decodedLimit?: number}): Promise<void>;
    /** The files that were compressed. */
    originals(options?: {signal?: AbortSignal}): Promise<Original[]>;
    /** The ONNX model that was compressed, for onnxruntime-web. */
    toOnnx(options?: {signal?: AbortSignal}): Promise<Uint8Array>;
    toSafetensors(options?: {signal?: AbortSignal}): Promise<Uint8Array>;
    close(): Promise<void>;
}

export class TautFile implements Taut {
    private constructor();
    readonly peakMemory: number;
    readonly headerChecksum: string;
}
export interface TautFile extends Taut {}

/** Several files as one. */
export class TautShards implements Taut {
    private constructor();
    readonly parts: readonly TautFile[];
}
export interface TautShards extends Taut {}

/** Open a Taut file, or the index of several. */
export function open(what: Openable, options?: Options): Promise<Taut>;

/** Whether this engine has 128-bit vectors: then `taut-simd.wasm` is used, else `taut.wasm`. */
export function hasVectors(): boolean;

/** Take this WebAssembly module for all files to come; undefined takes the package's own again. */
export function useModule(module: string | URL | BufferSource | WebAssembly.Module | undefined): void;

export interface CacheOptions extends Options {
    /** Which Taut file an .onnx comes of, by the end of its name. */
    files?: Record<string, Openable>;
    /** The same as a function. */
    where?: (name: string) => Openable | undefined;
    /** Asked for everything else. */
    next?: {
        match(request: string): Promise<any>;
        put(request: string, response: Response): Promise<void>;
        delete?(request: string): Promise<boolean>;
    };
}

/** For `env.customCache` of transformers.js: by default `x.onnx` is made of `x.taut.safetensors` beside it. */
export function modelCache(options?: CacheOptions): {
    match(request: string): Promise<any>;
    put(request: string, response: Response): Promise<void>;
    delete(request: string): Promise<boolean>;
};
