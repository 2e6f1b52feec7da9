// The bytes of a source that are here, in pieces, and how more come. What was fetched from a server stays; what a local
// file gave is dropped after each use, since it can be read again.
import {TautError} from "./errors.js";
import {joined} from "./source.js";
import {unlessAborted} from "./waiting.js";

export class Held {
    #pieces = [];  // {begin, end, bytes}, in order, apart from each other
    #coming = [];  // {begin, end, done}
    #first;

    constructor(source) {
        this.source = source;
    }

    get size() {
        return this.source.size;
    }

    async begin(signal) {
        const {at, bytes} = await this.source.begin(signal);
        this.#add(at, bytes);
        this.#first = this.#pieces[0];
    }

    /** Bytes begin .. begin + size, or null where some are not here. */
    lookup(begin, size) {
        const end = begin + size;
        let number = this.#after(begin) - 1;
        const first = this.#pieces[number];
        if (first && first.end >= end)
            return first.bytes.subarray(begin - first.begin, end - first.begin);
        const all = [];
        let at = begin;
        for (; at < end; number++) {
            const piece = this.#pieces[number];
            if (!piece || piece.begin > at || piece.end <= at)
                return null;
            const to = Math.min(end, piece.end);
            all.push(piece.bytes.subarray(at - piece.begin, to - piece.begin));
            at = to;
        }
        return joined(all, size);
    }

    /** Whether bytes begin .. end are here. */
    has(begin, end) {
        const [from, to] = this.#gap(begin, end);
        return from >= to;
    }

    /** See to it that bytes begin .. end are here. */
    async need(begin, end, signal) {
        if (!(begin >= 0 && end <= this.size && begin <= end))
            throw new TautError("read", `${this.source.name}: ends at ${this.size}, before ${end}`);
        while (!this.has(begin, end)) {
            signal?.throwIfAborted();
            const other = this.#coming.find((one) => one.begin < end && one.end > begin);
            if (other) {
                await unlessAborted(other.done.catch(() => {}), signal);
                continue;
            }
            const [from, to] = this.#gap(begin, end);
            const one = {begin: from, end: to, done: this.#fetch(from, to, signal)};
            this.#coming.push(one);
            try {
                await one.done;
            } finally {
                this.#coming.splice(this.#coming.indexOf(one), 1);
            }
            if (!this.has(from, to))  // or this would go on for ever
                throw new TautError("read", `${this.source.name}: bytes ${from} to ${to} did not come`);
        }
    }

    /** Forget what can be read again. */
    drop() {
        if (!this.source.remote && this.#first && this.#first.end < this.size)
            this.#pieces = [this.#first];
    }

    async close() {
        this.#pieces = [];
        await this.source.close?.();
    }

    async #fetch(begin, end, signal) {
        const {bytes, whole} = await this.source.read(begin, end, signal);
        if (whole && whole.length !== this.size)
            throw new TautError("read", `${this.source.name}: the file was changed while it was read; open it again`);
        if (whole)
            this.#pieces = [{begin: 0, end: whole.length, bytes: whole}];
        else
            this.#add(begin, bytes);
    }

    /** The first part of begin .. end that is not here. */
    #gap(begin, end) {
        let from = begin;
        for (const piece of this.#pieces) {
            if (piece.begin > from)
                return [from, Math.min(end, piece.begin)];
            from = Math.max(from, Math.min(piece.end, end));
        }
        return [from, end];
    }

    #add(begin, bytes) {
        if (bytes.length > 0)
            this.#pieces.splice(this.#after(begin), 0, {begin, end: begin + bytes.length, bytes});
    }

    /** The number of pieces that begin at `at` or before. */
    #after(at) {
        let low = 0;
        let high = this.#pieces.length;
        while (low < high) {
            const middle = (low + high) >> 1;
            if (this.#pieces[middle].begin <= at)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }
}
