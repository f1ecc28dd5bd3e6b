// Header names and values, and the lists of them.
(() => {
    const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
    // Bytes, as the standard has values, without those that would end a header.
    const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
    const BLANK = /^[\t\n\r ]+|[\t\n\r ]+$/g;
    const COOKIE = 'set-cookie';

    const nameOf = name => {
        name = `${name}`;
        if (!TOKEN.test(name)) throw new TypeError(`'${name}' is no name of a header`);
        return name.toLowerCase();
    };
    const valueOf = (value, name) => {
        value = `${value}`.replace(BLANK, '');
        if (!VALUE.test(value)) throw new TypeError(`The value of the header '${name}' is none`);
        return value;
    };
    const pairsOf = init => {
        if (typeof init !== 'object' || init === null) {
            throw new TypeError('Headers are an object, or a list of pairs');
        }
        if (typeof init[Symbol.iterator] !== 'function') {
            return Reflect.ownKeys(init)
                .filter(key => Object.prototype.propertyIsEnumerable.call(init, key))
                .map(key => [key, init[key]]);
        }
        return Array.from(init, pair => {
            const both = [...pair];
            if (both.length !== 2) throw new TypeError('Each header must have a name and a value');
            return both;
        });
    };

    // Headers of an answer are not changed by who got it.
    let freeze;

    class Headers {
        #lists = new Map();
        #frozen = false;
        static { freeze = headers => { headers.#frozen = true; return headers } }
        constructor(init) {
            if (init === undefined) return;
            for (const [name, value] of pairsOf(init)) this.append(name, value);
        }
        #changes() {
            if (this.#frozen) throw new TypeError('These headers cannot be changed');
        }
        append(name, value) {
            this.#changes();
            name = nameOf(name);
            value = valueOf(value, name);
            const list = this.#lists.get(name);
            if (list === undefined) this.#lists.set(name, [value]);
            else list.push(value);
        }
        set(name, value) {
            this.#changes();
            name = nameOf(name);
            this.#lists.set(name, [valueOf(value, name)]);
        }
        delete(name) {
            this.#changes();
            this.#lists.delete(nameOf(name));
        }
        get(name) { return this.#lists.get(nameOf(name))?.join(', ') ?? null }
        has(name) { return this.#lists.has(nameOf(name)) }
        getSetCookie() { return [...(this.#lists.get(COOKIE) ?? [])] }
        forEach(callback, receiver) {
            for (const [name, value] of this) callback.call(receiver, value, name, this);
        }
        *entries() {
            for (const name of [...this.#lists.keys()].sort()) {
                const list = this.#lists.get(name);
                if (list === undefined) continue;
                if (name === COOKIE) for (const cookie of [...list]) yield [name, cookie];
                else yield [name, list.join(', ')];
            }
        }
        *keys() { for (const [name] of this.entries()) yield name }
        *values() { for (const [, value] of this.entries()) yield value }
    }
    const { prototype } = Headers;
    Object.defineProperty(prototype, Symbol.iterator, {
        value: prototype.entries, writable: true, configurable: true,
    });
    Object.defineProperty(prototype, Symbol.toStringTag, { value: 'Headers', configurable: true });
    return { Headers, freeze, isToken: text => TOKEN.test(text) };
})
