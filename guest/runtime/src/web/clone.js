(({ classOf }, use) => {
    const ERRORS = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
    const TypedArray = Object.getPrototypeOf(Uint8Array);
    const typeName = Object.getOwnPropertyDescriptor(TypedArray.prototype, Symbol.toStringTag).get;

    const refuse = shown => {
        const { DOMException } = use('exceptions');
        throw new DOMException(`${shown} could not be cloned.`, 'DataCloneError');
    };
    const define = (object, key, value, enumerable) =>
        Object.defineProperty(object, key, { value, writable: true, configurable: true, enumerable });

    // An object of the kind of another, and what is left to do for it.
    const shell = (original, clone, later) => {
        const kind = classOf(original);
        switch (kind) {
            case 'boxed': {
                const inner = original.valueOf();
                return typeof inner === 'symbol' ? refuse('A symbol') : Object(inner);
            }
            case 'date': return new Date(Date.prototype.getTime.call(original));
            case 'regexp': return new RegExp(original.source, original.flags);
            case 'buffer':
                if (original.detached) refuse('A detached ArrayBuffer');
                return original.slice(0);
            case 'typed': {
                const { buffer, byteOffset, length } = original;
                return new globalThis[typeName.call(original)](clone(buffer), byteOffset, length);
            }
            case 'view': {
                const { buffer, byteOffset, byteLength } = original;
                return new DataView(clone(buffer), byteOffset, byteLength);
            }
            case 'map': {
                const made = new Map(), entries = [...Map.prototype.entries.call(original)];
                later(() => { for (const [key, value] of entries) made.set(clone(key), clone(value)) });
                return made;
            }
            case 'set': {
                const made = new Set(), values = [...Set.prototype.values.call(original)];
                later(() => { for (const value of values) made.add(clone(value)) });
                return made;
            }
            case 'error': {
                const { name } = original;
                const type = Object.hasOwn(ERRORS, name) ? ERRORS[name] : Error;
                const made = Reflect.construct(Error, [], type);
                for (const key of ['message', 'stack']) {
                    const own = Object.getOwnPropertyDescriptor(original, key);
                    delete made[key];
                    if (own !== undefined && 'value' in own) define(made, key, `${own.value}`, false);
                }
                if (Object.hasOwn(original, 'cause')) {
                    later(() => define(made, 'cause', clone(original.cause), false));
                }
                return made;
            }
            case 'array': case 'object': {
                const made = kind === 'array' ? new Array(original.length) : {};
                later(() => {
                    for (const key of Object.keys(original)) {
                        define(made, key, clone(original[key]), true);
                    }
                });
                return made;
            }
            default: return refuse(Object.prototype.toString.call(original));
        }
    };

    return {
        ...{
            structuredClone(value, options) {
                if (arguments.length === 0) throw new TypeError('structuredClone needs a value');
                const transferred = new Set();
                for (const one of options?.transfer ?? []) {
                    if (classOf(one) !== 'buffer' || one.detached || transferred.has(one)) {
                        refuse('A value that cannot be transferred');
                    }
                    transferred.add(one);
                }
                const seen = new Map();
                // What is left to do: a list, so that no depth of nesting ends in an error.
                const pending = [];
                const later = rest => pending.push(rest);
                const clone = original => {
                    if (typeof original === 'symbol') refuse('A symbol');
                    if (typeof original === 'function') refuse('A function');
                    if (typeof original !== 'object' || original === null) return original;
                    if (!seen.has(original)) seen.set(original, shell(original, clone, later));
                    return seen.get(original);
                };
                const result = clone(value);
                while (pending.length > 0) pending.pop()();
                for (const one of transferred) one.transfer();
                return result;
            },
        },
    };
})
