// The functions of `kv`, in terms of the host's: see kv.rs.
(native => {
    'use strict';
    const { ArrayBuffer, JSON, Number, TypeError, Uint8Array } = globalThis;
    const { parse, stringify } = JSON;
    const { isView } = ArrayBuffer;
    const { isSafeInteger } = Number;
    const ANY = 0, COMPARE = 1, ABSENT = 2;

    const invalid = message => {
        const error = new TypeError(message);
        error.code = 'ERR_INVALID_ARG_TYPE';
        return error;
    };
    // Bytes are kept as they are, anything else as JSON.
    const dataOf = value => {
        if (isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
        if (value instanceof ArrayBuffer) return new Uint8Array(value);
        const json = stringify(value);
        if (json !== undefined) return json;
        throw invalid('The "value" argument must be bytes, or have a form in JSON');
    };
    const valueOf = data => (typeof data === 'string' ? parse(data) : data);

    return {
        get(key) {
            const found = native.get(key);
            return found && valueOf(found.data);
        },
        getEntry(key) {
            const found = native.get(key);
            return found && { value: valueOf(found.data), version: found.version };
        },
        put(key, value) {
            native.put(key, dataOf(value), ANY, 0);
        },
        delete(key) {
            return native.delete(key);
        },
        compareAndSet(key, version, value) {
            if (version === null) return native.put(key, dataOf(value), ABSENT, 0);
            if (isSafeInteger(version)) return native.put(key, dataOf(value), COMPARE, version);
            throw invalid('The "version" argument must be that of an entry, or null');
        },
        list(prefix = '', options) {
            const { limit = 100, after = '' } = options ?? {};
            if (!isSafeInteger(limit)) throw invalid('The "limit" option must be an integer');
            const listed = native.list(prefix, limit, after);
            for (let i = 0; i < listed.length; i++) {
                const { key, data, version } = listed[i];
                listed[i] = { key, value: valueOf(data), version };
            }
            return listed;
        },
    };
})
