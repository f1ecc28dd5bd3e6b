(({ inspect, format, classOf }, use) => {
    const custom = Symbol.for('nodejs.util.promisify.custom');
    const is = kind => value => classOf(value) === kind;
    const types = {
        isArrayBuffer: is('buffer'), isDate: is('date'), isRegExp: is('regexp'), isMap: is('map'),
        isSet: is('set'), isNativeError: is('error'), isPromise: is('promise'),
        isTypedArray: is('typed'), isDataView: is('view'), isBoxedPrimitive: is('boxed'),
        isWeakMap: is('weakmap'), isWeakSet: is('weakset'),
        isUint8Array: value => value instanceof Uint8Array,
    };

    const promisify = original => {
        if (typeof original !== 'function') {
            throw new TypeError('The "original" argument must be of type function');
        }
        return original[custom] ?? function (...args) {
            return new Promise((resolve, reject) => {
                original.call(this, ...args, (error, value) => error ? reject(error) : resolve(value));
            });
        };
    };
    promisify.custom = custom;

    return {
        inspect(value, options) {
            const depth = typeof options === 'object' ? options?.depth : undefined;
            return inspect(value, depth === null ? Infinity : Number(depth ?? 2));
        },
        format: (...args) => format(args),
        promisify,
        callbackify: original => function (...args) {
            const callback = args.pop();
            original.apply(this, args).then(
                value => queueMicrotask(() => callback(null, value)),
                error => queueMicrotask(() => callback(error)),
            );
        },
        inherits(type, parent) {
            Object.defineProperty(type, 'super_', { value: parent, writable: true, configurable: true });
            Object.setPrototypeOf(type.prototype, parent.prototype);
        },
        deprecate: original => original,
        isDeepStrictEqual: (left, right) => use('alike')(left, right),
        isArray: Array.isArray,
        types,
        TextEncoder,
        TextDecoder,
    };
})
