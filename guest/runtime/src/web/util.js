(({ inspect, format, classOf }) => {
    const custom = Symbol.for('nodejs.util.promisify.custom');
    const is = kind => value => classOf(value) === kind;
    const types = {
        isArrayBuffer: is('buffer'), isDate: is('date'), isRegExp: is('regexp'), isMap: is('map'),
        isSet: is('set'), isNativeError: is('error'), isPromise: is('promise'),
        isTypedArray: is('typed'), isDataView: is('view'), isBoxedPrimitive: is('boxed'),
        isWeakMap: is('weakmap'), isWeakSet: is('weakset'),
        isUint8Array: value => value instanceof Uint8Array,
    };

    // Whether two values are alike, by their structure: pairs that are being compared are taken for it.
    const alike = (left, right, open = []) => {
        if (Object.is(left, right)) return true;
        if (typeof left !== 'object' || typeof right !== 'object' || !left || !right) return false;
        const kind = classOf(left);
        if (kind !== classOf(right)) return false;
        if (Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) return false;
        if (open.some(([a, b]) => a === left && b === right)) return true;
        open = [...open, [left, right]];
        if (kind === 'date' || kind === 'boxed') {
            if (!Object.is(left.valueOf(), right.valueOf())) return false;
        } else if (kind === 'regexp') {
            if (`${left}` !== `${right}`) return false;
        } else if (kind === 'error') {
            if (left.message !== right.message || left.name !== right.name) return false;
        } else if (kind === 'map') {
            if (left.size !== right.size) return false;
            const rest = [...right];
            for (const [key, value] of left) {
                const at = rest.findIndex(([one, other]) =>
                    alike(key, one, open) && alike(value, other, open));
                if (at < 0) return false;
                rest.splice(at, 1);
            }
        } else if (kind === 'set') {
            if (left.size !== right.size) return false;
            const rest = [...right];
            for (const value of left) {
                const at = rest.findIndex(one => alike(value, one, open));
                if (at < 0) return false;
                rest.splice(at, 1);
            }
        } else if (kind === 'buffer') {
            return alike(new Uint8Array(left), new Uint8Array(right), open);
        } else if (kind === 'promise' || kind === 'weakmap' || kind === 'weakset') {
            return false;
        }
        const keys = Reflect.ownKeys(left).filter(key => Object.prototype.propertyIsEnumerable.call(left, key));
        const others = Reflect.ownKeys(right).filter(key => Object.prototype.propertyIsEnumerable.call(right, key));
        return keys.length === others.length && left.length === right.length
            && keys.every(key => Object.hasOwn(right, key) && alike(left[key], right[key], open));
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
        isDeepStrictEqual: (left, right) => alike(left, right),
        isArray: Array.isArray,
        types,
        TextEncoder,
        TextDecoder,
    };
})
