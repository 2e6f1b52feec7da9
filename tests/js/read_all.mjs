// node read_all.mjs PACKAGE FOLDER: every Taut file of a folder, as JSON: {refused}, or its tensors with their SHA-256
// (or the code of what refused them) and the SHA-256 of the original's files.
import {createHash} from "node:crypto";
import {readdirSync} from "node:fs";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const [home, folder] = process.argv.slice(2);
const taut = await import(pathToFileURL(join(home, "index.js")));
const sum = (bytes) => createHash("sha256").update(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)).digest("hex");

function told(error) {
    if (error.name !== "TautError" || /decoder stopped/.test(error.message))
        throw error;
    return {refused: error.code, text: error.message};
}

async function read(path) {
    const m = await taut.open(path, {memoryLimit: 2 ** 28});
    const tensors = {};
    for (const {name, dtype, shape} of m.tensors)
        tensors[name] = {dtype, shape, sum: await m.get(name, {as: "bits"}).then(sum).catch((error) => told(error))};
    const originals = await m.originals().then((all) => all.map((one) => [one.name, sum(one.bytes)])).catch(told);
    const onnx = await m.toOnnx().then(sum).catch(told);
    const modules = Object.fromEntries([...m.modules].map(([name, one]) => [name, Object.fromEntries(one)]));
    await m.close();
    return {tensors, originals, onnx, modules, order: m.tensors.map((one) => one.name)};
}

const found = {};
for (const name of readdirSync(folder).filter((one) => /\.taut\.safetensors(\.index\.json)?$/.test(one)).sort())
    found[name] = await read(join(folder, name)).catch(told);
process.stdout.write(JSON.stringify(found));
