// What the tests stand on: the package that was built, golden files, a server with ranges and one without.
import {readFileSync, readdirSync} from "node:fs";
import {createServer} from "node:http";
import {fileURLToPath, pathToFileURL} from "node:url";
import {resolve} from "node:path";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const PACKAGE = resolve(process.env.TAUT_JS ?? `${ROOT}/build/js`);
export const taut = await import(pathToFileURL(`${PACKAGE}/index.js`));
export const GOLDEN = resolve(ROOT, "tests/golden/files");
export const golden = (name) => readFileSync(`${GOLDEN}/${name}`);
export const TAUT_FILES = readdirSync(GOLDEN).filter((name) => name.endsWith(".taut.safetensors"));

/** The tensors of a safetensors file: dtype, shape, bytes. */
export function tensorsOf(data) {
    const length = Number(data.readBigUInt64LE(0));
    const header = JSON.parse(data.subarray(8, 8 + length));
    delete header.__metadata__;
    return new Map(Object.entries(header).map(([name, {dtype, shape, data_offsets: [begin, end]}]) =>
        [name, {dtype, shape, bytes: data.subarray(8 + length + begin, 8 + length + end)}]));
}

/** A server of `files` (by path); counts requests and bytes. `ranges: false` gives whole files only. */
export async function serve(files, {ranges = true, change} = {}) {
    const seen = {requests: [], bytes: 0};
    const server = createServer((request, answer) => {
        const path = request.url.split("?")[0];
        const found = files[path];
        seen.requests.push(`${path} ${request.headers.range ?? ""}`.trim());
        if (change?.(answer))  // it has answered
            return;
        if (!found) {
            answer.writeHead(404).end();
            return;
        }
        const range = ranges && /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
        const body = range ? found.subarray(Number(range[1]), Number(range[2]) + 1) : found;
        seen.bytes += body.length;
        const head = {"content-length": body.length, "content-type": "application/octet-stream", "access-control-allow-origin": "*"};
        if (range)
            head["content-range"] = `bytes ${range[1]}-${Number(range[1]) + body.length - 1}/${found.length}`;
        answer.writeHead(range ? 206 : 200, head).end(body);
    });
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    return {
        url: `http://127.0.0.1:${server.address().port}`, seen,
        close: () => new Promise((done) => { server.closeAllConnections(); server.close(done); })
    };
}
