// Deflate (RFC 1951) with a dictionary, which browsers have no function for. Nothing is trusted: what is damaged throws,
// and no more than `most` bytes come out.
"use strict";
globalThis.Viewer ??= {};

(() => {
    const LENGTHS = table([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5], 3);
    const DISTANCES = table(Array.from({length: 30}, (_, k) => k < 2 ? 0 : (k >> 1) - 1), 1);
    const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    const MOST_BITS = 15;

    function table(bits, first) {
        let next = first;
        return bits.map((extra) => {
            const base = next;
            next += 1 << extra;
            return [base, extra];
        });
    }

    const wrong = (why) => new Error(`damaged deflate stream: ${why}`);

    /** Code lengths -> how many codes of each length, and the symbols in order. */
    function code(lengths) {
        const counts = new Uint16Array(MOST_BITS + 1);
        for (const length of lengths)
            counts[length]++;
        counts[0] = 0;
        let left = 1;
        for (let length = 1; length <= MOST_BITS; length++) {
            left = 2 * left - counts[length];
            if (left < 0)
                throw wrong("too many codes");
        }
        const starts = new Uint16Array(MOST_BITS + 2);
        for (let length = 1; length <= MOST_BITS; length++)
            starts[length + 1] = starts[length] + counts[length];
        const symbols = new Uint16Array(lengths.length);
        for (const [symbol, length] of lengths.entries()) {
            if (length)
                symbols[starts[length]++] = symbol;
        }
        return {counts, symbols};
    }

    const FIXED = [
        code(Array.from({length: 288}, (_, k) => k < 144 ? 8 : k < 256 ? 9 : k < 280 ? 7 : 8)),
        code(Array.from({length: 30}, () => 5))
    ];

    class Bits {
        constructor(bytes) {
            Object.assign(this, {bytes, at: 0, held: 0, count: 0});
        }
        take(n) {
            while (this.count < n) {
                if (this.at >= this.bytes.length)
                    throw wrong("it is cut");
                this.held |= this.bytes[this.at++] << this.count;
                this.count += 8;
            }
            const value = this.held & ((1 << n) - 1);
            this.held >>>= n;
            this.count -= n;
            return value;
        }
        symbol({counts, symbols}) {
            let value = 0, first = 0, index = 0;
            for (let length = 1; length <= MOST_BITS; length++) {
                value |= this.take(1);
                const count = counts[length];
                if (value - count < first)
                    return symbols[index + value - first];
                index += count;
                first = (first + count) << 1;
                value <<= 1;
            }
            throw wrong("no such code");
        }
    }

    function codes(bits) {
        const [literals, distances, order] = [bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4];
        const own = new Uint8Array(19);
        for (let k = 0; k < order; k++)
            own[ORDER[k]] = bits.take(3);
        const lengthCode = code(own);
        const lengths = [];
        while (lengths.length < literals + distances) {
            const symbol = bits.symbol(lengthCode);
            if (symbol < 16) {
                lengths.push(symbol);
                continue;
            }
            if (symbol === 16 && lengths.length === 0)
                throw wrong("nothing to repeat");
            const value = symbol === 16 ? lengths.at(-1) : 0;
            const times = symbol === 16 ? 3 + bits.take(2) : symbol === 17 ? 3 + bits.take(3) : 11 + bits.take(7);
            for (let k = 0; k < times; k++)
                lengths.push(value);
        }
        if (lengths.length > literals + distances)
            throw wrong("too many lengths");
        return [code(lengths.slice(0, literals)), code(lengths.slice(literals))];
    }

    /** Inflate a raw stream; gives the bytes, and how many of the input it was. */
    Viewer.inflate = (bytes, dictionary, most) => {
        let out = new Uint8Array(Math.min(most, 4 * bytes.length + 1024) + dictionary.length);
        out.set(dictionary);
        let size = dictionary.length;
        const room = (more) => {
            if (size + more - dictionary.length > most)
                throw wrong(`more than ${most} bytes come out`);
            if (size + more > out.length) {
                const larger = new Uint8Array(Math.max(2 * out.length, size + more));
                larger.set(out);
                out = larger;
            }
        };
        const bits = new Bits(bytes);
        for (let last = 0; !last;) {
            last = bits.take(1);
            const kind = bits.take(2);
            if (kind === 3)
                throw wrong("no such block");
            if (kind === 0) {
                bits.held = bits.count = 0;
                const [a, b, c, d] = [bits.take(8), bits.take(8), bits.take(8), bits.take(8)];
                const length = a | b << 8;
                if (length !== (~(c | d << 8) & 0xffff))
                    throw wrong("a length that is not its own complement");
                if (bits.at + length > bytes.length)
                    throw wrong("it is cut");
                room(length);
                out.set(bytes.subarray(bits.at, bits.at + length), size);
                size += length;
                bits.at += length;
                continue;
            }
            const [literals, distances] = kind === 1 ? FIXED : codes(bits);
            for (;;) {
                const symbol = bits.symbol(literals);
                if (symbol === 256)
                    break;
                if (symbol < 256) {
                    room(1);
                    out[size++] = symbol;
                    continue;
                }
                if (symbol > 285)
                    throw wrong("no such length");
                const [base, extra] = symbol === 285 ? [258, 0] : LENGTHS[symbol - 257];
                const length = base + bits.take(extra);
                const far = bits.symbol(distances);
                if (far > 29)
                    throw wrong("no such distance");
                const distance = DISTANCES[far][0] + bits.take(DISTANCES[far][1]);
                if (distance > size)
                    throw wrong("it points before its start");
                room(length);
                for (let k = 0; k < length; k++, size++)
                    out[size] = out[size - distance];
            }
        }
        return {out: out.subarray(dictionary.length, size), used: bits.at - (bits.count >> 3)};
    };
})();
