// Forms: their fields, and how they are written and read as multipart/form-data.
((native, use) => {
    const { Blob, File, bytesOf, encode, joined } = use('blob');
    const { TextDecoder } = globalThis;

    const valueOf = (value, filename) => {
        if (!(value instanceof Blob)) return `${value}`.toWellFormed();
        if (value instanceof File && filename === undefined) return value;
        const name = filename ?? 'blob';
        return new File([value], name, { type: value.type, lastModified: value.lastModified });
    };

    class FormData {
        #fields = [];
        append(name, value, filename) {
            this.#fields.push([`${name}`.toWellFormed(), valueOf(value, filename)]);
        }
        set(name, value, filename) {
            const field = [`${name}`.toWellFormed(), valueOf(value, filename)];
            const first = this.#fields.findIndex(([one]) => one === field[0]);
            if (first < 0) return void this.#fields.push(field);
            this.#fields[first] = field;
            this.#fields = this.#fields.filter(([one], at) => at <= first || one !== field[0]);
        }
        delete(name) { this.#fields = this.#fields.filter(([one]) => one !== `${name}`) }
        get(name) { return this.#fields.find(([one]) => one === `${name}`)?.[1] ?? null }
        getAll(name) {
            return this.#fields.filter(([one]) => one === `${name}`).map(([, value]) => value);
        }
        has(name) { return this.#fields.some(([one]) => one === `${name}`) }
        forEach(callback, receiver) {
            for (const [name, value] of this) callback.call(receiver, value, name, this);
        }
        *entries() {
            for (let at = 0; at < this.#fields.length; at++) yield [...this.#fields[at]];
        }
        *keys() { for (const [name] of this.entries()) yield name }
        *values() { for (const [, value] of this.entries()) yield value }
    }
    const { prototype } = FormData;
    Object.defineProperty(prototype, Symbol.iterator, {
        value: prototype.entries, writable: true, configurable: true,
    });
    Object.defineProperty(prototype, Symbol.toStringTag, { value: 'FormData', configurable: true });

    const escaped = text =>
        text.replace(/\r\n|\r|\n/g, '%0D%0A').replaceAll('"', '%22');

    const write = form => {
        const { crypto } = use('crypto');
        const boundary = `----form-${crypto.randomUUID()}`;
        const parts = [];
        for (const [name, value] of form) {
            let head = `--${boundary}\r\nContent-Disposition: form-data; name="${escaped(name)}"`;
            if (typeof value === 'string') {
                const text = value.replace(/\r\n|\r|\n/g, '\r\n');
                parts.push(encode(`${head}\r\n\r\n${text}\r\n`));
                continue;
            }
            head += `; filename="${escaped(value.name)}"`;
            head += `\r\nContent-Type: ${value.type || 'application/octet-stream'}\r\n\r\n`;
            parts.push(encode(head), bytesOf(value), encode('\r\n'));
        }
        parts.push(encode(`--${boundary}--\r\n`));
        return { bytes: joined(parts), type: `multipart/form-data; boundary=${boundary}` };
    };

    const malformed = () => new TypeError('The body is no form');
    const find = (bytes, what, from) => {
        search: for (let at = from; at + what.length <= bytes.length; at++) {
            at = bytes.indexOf(what[0], at);
            if (at < 0) return -1;
            for (let next = 1; next < what.length; next++) {
                if (bytes[at + next] !== what[next]) continue search;
            }
            return at;
        }
        return -1;
    };
    const parameter = (line, name) => {
        const quoted = new RegExp(`;\\s*${name}="((?:[^"\\\\]|\\\\.)*)"`, 'i').exec(line)?.[1];
        const plain = new RegExp(`;\\s*${name}=([^";\\s]+)`, 'i').exec(line)?.[1];
        return (quoted ?? plain)?.replace(/%0D%0A/gi, '\r\n').replace(/%22/g, '"');
    };

    const readMultipart = (bytes, boundary) => {
        const form = new FormData();
        const text = part => new TextDecoder().decode(part);
        const delimiter = encode(`\r\n--${boundary}`);
        // The first one stands at the start, without a line's end before it.
        const all = joined([encode('\r\n'), bytes]);
        let at = find(all, delimiter, 0);
        if (at < 0) throw malformed();
        for (;;) {
            at += delimiter.length;
            if (all[at] === 45 && all[at + 1] === 45) return form;
            const head = find(all, encode('\r\n\r\n'), at);
            const end = find(all, delimiter, head < 0 ? at : head + 2);
            if (head < 0 || end < 0) throw malformed();
            const lines = text(all.subarray(at, head)).split('\r\n');
            const header = name =>
                lines.find(line => line.toLowerCase().startsWith(`${name}:`)) ?? '';
            const disposition = header('content-disposition');
            const name = parameter(disposition, 'name');
            if (name === undefined) throw malformed();
            const content = all.subarray(Math.min(head + 4, end), end);
            const filename = parameter(disposition, 'filename');
            if (filename === undefined) {
                form.append(name, text(content));
            } else {
                const type = header('content-type').slice('content-type:'.length).trim();
                form.append(name, new File([content], filename, { type: type || 'text/plain' }));
            }
            at = end;
        }
    };

    const read = (bytes, type) => {
        const essence = type.split(';')[0].trim().toLowerCase();
        if (essence === 'multipart/form-data') {
            const boundary = parameter(type, 'boundary');
            if (boundary === undefined) throw malformed();
            return readMultipart(bytes, boundary);
        }
        if (essence !== 'application/x-www-form-urlencoded') throw malformed();
        const { URLSearchParams } = use('url');
        const form = new FormData();
        for (const [name, value] of new URLSearchParams(new TextDecoder().decode(bytes))) {
            form.append(name, value);
        }
        return form;
    };
    return { FormData, write, read };
})
