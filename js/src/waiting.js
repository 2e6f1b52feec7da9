// Waiting for what others do, which may never end, until a signal says that nobody wants it any more.
import {TautError} from "./errors.js";

/** An AbortSignal, or none; throws its reason if it has fired. */
export function listened(signal) {
    if (signal === undefined || signal === null)
        return undefined;
    if (typeof signal.throwIfAborted !== "function" || typeof signal.addEventListener !== "function")
        throw new TautError("argument", "signal: is no AbortSignal");
    signal.throwIfAborted();
    return signal;
}

/** What a promise gives, unless the signal fires first: then its reason is thrown. */
export async function unlessAborted(promise, signal) {
    if (!signal)
        return promise;
    signal.throwIfAborted();
    let stop;
    const aborted = new Promise((_, refuse) => {
        stop = () => refuse(signal.reason);
        signal.addEventListener("abort", stop, {once: true});
    });
    try {
        return await Promise.race([promise, aborted]);
    } finally {
        signal.removeEventListener("abort", stop);
    }
}

/** What an error says, whatever was thrown. */
export const said = (error) => String(error?.cause?.message ?? error?.message ?? error);
