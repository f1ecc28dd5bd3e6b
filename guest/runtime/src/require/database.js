// The functions of `database`, in terms of the host's: see database.rs. What it is set to is in the heap;
// the host opens it by need.
(native => {
    'use strict';
    const { Array, ArrayBuffer, BigInt, Error, Object, TypeError, Uint8Array } = globalThis;
    const DRIVERS = ['sqlite3', 'sqlite'];
    let dsn;

    const wrong = (message, code = 'ERR_INVALID_ARG_TYPE') =>
        Object.assign(new TypeError(message), { code });
    const textOf = (value, what) => {
        if (typeof value === 'string') return value;
        throw wrong(`The "${what}" argument must be of type string`);
    };
    const bytesOf = value => {
        if (ArrayBuffer.isView(value)) {
            return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
        }
        return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined;
    };
    // A value as the host takes it: null, a number, a string, a bigint or bytes.
    const valueOf = value => {
        switch (typeof value) {
            case 'undefined': return null;
            case 'boolean': return value ? 1 : 0;
            case 'number':
            case 'string': return value;
            case 'bigint':
                if (BigInt.asIntN(64, value) === value) return value;
                throw wrong('A bigint parameter must fit 64 bits', 'ERR_OUT_OF_RANGE');
            case 'object': {
                const bytes = value === null ? null : bytesOf(value);
                if (bytes !== undefined) return bytes;
            }
        }
        throw wrong('A parameter must be null, a number, a string, a boolean, a bigint or bytes');
    };
    const call = (method, sql, params) => {
        if (dsn === undefined) {
            const error = new Error('No database is configured: call configure(driver, dsn) first');
            throw Object.assign(error, { code: 'ERR_INVALID_STATE' });
        }
        textOf(sql, 'sql');
        const [only] = params;
        if (params.length === 1 && typeof only === 'object' && only !== null && !bytesOf(only)) {
            if (Array.isArray(only)) return method(dsn, sql, null, Array.from(only, valueOf));
            const names = Object.keys(only);
            return method(dsn, sql, names, names.map(name => valueOf(only[name])));
        }
        return method(dsn, sql, null, params.map(valueOf));
    };

    return {
        configure(driver, name) {
            if (!DRIVERS.includes(textOf(driver, 'driver'))) {
                throw wrong(`The driver '${driver}' is not known: it is sqlite3`, 'ERR_INVALID_ARG_VALUE');
            }
            textOf(name, 'dsn');
            dsn = undefined;
            native.open(name);
            dsn = name;
        },
        exec(sql, ...params) {
            return call(native.exec, sql, params);
        },
        query(sql, ...params) {
            return call(native.query, sql, params);
        },
        close() {
            if (dsn === undefined) return;
            const name = dsn;
            dsn = undefined;
            native.close(name);
        },
    };
})
