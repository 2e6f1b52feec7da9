/** What went wrong: `code` says of which kind, `message` what and where. */
export class TautError extends Error {
    constructor(code, message, options) {
        super(message, options);
        this.name = "TautError";
        this.code = code;
    }
}

/** The codes of libtaut's statuses, by number. */
export const STATUSES = [
    "ok", "argument", "read", "format", "checksum", "memory", "unsupported", "write"
];
