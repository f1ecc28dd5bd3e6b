// Whether two values are alike, by their structure: pairs that are being compared are taken for it. Loosely,
// primitives are compared as `==` does, and prototypes and symbols are not looked at, as in Node.
(({ classOf }) => {
    const { propertyIsEnumerable } = Object.prototype;
    const isObject = value => typeof value === 'object' && value !== null;
    const keysOf = (value, loose) => loose ? Object.keys(value)
        : Reflect.ownKeys(value).filter(key => propertyIsEnumerable.call(value, key));

    const alike = (left, right, loose = false, open = []) => {
        if (Object.is(left, right)) return true;
        if (!isObject(left) || !isObject(right)) {
            return loose && !isObject(left) && !isObject(right) && left == right;
        }
        const kind = classOf(left);
        if (kind !== classOf(right)) return false;
        if (!loose && Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) return false;
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
                    alike(key, one, loose, open) && alike(value, other, loose, open));
                if (at < 0) return false;
                rest.splice(at, 1);
            }
        } else if (kind === 'set') {
            if (left.size !== right.size) return false;
            const rest = [...right];
            for (const value of left) {
                const at = rest.findIndex(one => alike(value, one, loose, open));
                if (at < 0) return false;
                rest.splice(at, 1);
            }
        } else if (kind === 'buffer') {
            return alike(new Uint8Array(left), new Uint8Array(right), loose, open);
        } else if (kind === 'promise' || kind === 'weakmap' || kind === 'weakset') {
            return false;
        }
        const keys = keysOf(left, loose);
        return keys.length === keysOf(right, loose).length && left.length === right.length
            && keys.every(key => Object.hasOwn(right, key) && alike(left[key], right[key], loose, open));
    };
    return alike;
})
