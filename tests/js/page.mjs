// In a page and in a worker of it: every file that files.json names, by ranges, as {name: SHA-256 of its bits} or a code.
const inPage = typeof document === "object";
const taut = await import(new URL("taut/index.js", self.location.href));
const files = await (await fetch("files.json")).json();

async function sum(values) {
    const hash = await crypto.subtle.digest("SHA-256", new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function code(error) {
    if (error.name !== "TautError" || /decoder stopped/.test(error.message))
        throw error;
    return error.code;
}

async function read(name) {
    const m = await taut.open(name, {memoryLimit: 2 ** 26});
    const found = {};
    for (const {name: tensor} of m.tensors)
        found[tensor] = await m.get(tensor, {as: "bits"}).then(sum).catch(code);
    found[""] = await m.toSafetensors().then(sum).catch(code);
    await m.close();
    return found;
}

async function all() {
    const found = {vectors: taut.hasVectors(), page: inPage, files: {}};
    for (const name of files)
        found.files[name] = await read(name).catch(code);
    return found;
}

const tell = (found) => fetch("/told", {method: "POST", body: JSON.stringify(found)});
const failed = (error) => ({error: String(error?.stack ?? error)});
if (inPage) {
    const own = await all().catch(failed);
    const worker = new Worker("page.mjs", {type: "module"});
    worker.onmessage = ({data}) => tell([own, data]);
    worker.onerror = (event) => tell([own, failed(event.message)]);
} else {
    postMessage(await all().catch(failed));
}
