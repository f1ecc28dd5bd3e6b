// Bytes with a type, and files, which are bytes with a name.
((native, use) => {
    const { TextDecoder, TextEncoder, Uint8Array, ArrayBuffer, Date } = globalThis;
    const encode = text => new TextEncoder().encode(text);
    const bytesOf = new WeakMap();

    // The bytes of what a body, a blob or a form may be made of; none of anything else.
    const copied = part => {
        if (part instanceof Blob) return bytesOf.get(part);
        if (part instanceof ArrayBuffer) return new Uint8Array(part.slice(0));
        if (ArrayBuffer.isView(part)) {
            return new Uint8Array(part.buffer, part.byteOffset, part.byteLength).slice();
        }
        return undefined;
    };
    const joined = parts => {
        const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
        let at = 0;
        for (const part of parts) {
            all.set(part, at);
            at += part.length;
        }
        return all;
    };
    const typeOf = type => {
        type = `${type}`;
        return /^[\x20-\x7e]*$/.test(type) ? type.toLowerCase() : '';
    };
    const relative = (at, size) =>
        (at < 0 ? Math.max(size + at, 0) : Math.min(at, size));

    class Blob {
        #type;
        constructor(parts = [], options = {}) {
            if (typeof parts !== 'object' || parts === null || !parts[Symbol.iterator]) {
                throw new TypeError('The parts of a blob must be a list');
            }
            const each = Array.from(parts, part => copied(part) ?? encode(`${part}`));
            bytesOf.set(this, joined(each));
            this.#type = typeOf(options?.type ?? '');
        }
        get size() { return bytesOf.get(this).length }
        get type() { return this.#type }
        async arrayBuffer() { return bytesOf.get(this).slice().buffer }
        async bytes() { return bytesOf.get(this).slice() }
        async text() { return new TextDecoder().decode(bytesOf.get(this)) }
        slice(start = 0, end = this.size, type = '') {
            const { size } = this;
            const from = relative(Math.trunc(start) || 0, size);
            const to = relative(Math.trunc(end) || 0, size);
            return new Blob([bytesOf.get(this).subarray(from, Math.max(from, to))], { type });
        }
        stream() {
            const bytes = bytesOf.get(this);
            const { ReadableStream } = use('streams');
            return new ReadableStream({
                type: 'bytes',
                start(controller) {
                    if (bytes.length > 0) controller.enqueue(bytes.slice());
                    controller.close();
                },
            });
        }
    }

    class File extends Blob {
        #name;
        #lastModified;
        constructor(parts, name, options = {}) {
            if (arguments.length < 2) throw new TypeError('A file needs its parts and a name');
            super(parts, options);
            this.#name = `${name}`.toWellFormed();
            this.#lastModified = Math.trunc(options?.lastModified ?? Date.now()) || 0;
        }
        get name() { return this.#name }
        get lastModified() { return this.#lastModified }
    }
    for (const [name, { prototype }] of Object.entries({ Blob, File })) {
        Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
    }
    return { Blob, File, copied, joined, encode, bytesOf: blob => bytesOf.get(blob) };
})
