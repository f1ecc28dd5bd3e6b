(({ url }) => {
    // Parts of a URL, as the parser lists them.
    const PARTS = [
        'href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname',
        'search', 'hash',
    ];
    const READ_ONLY = ['origin'];

    const pairsOf = init => {
        if (typeof init !== 'object' || init === null) {
            const text = `${init}`;
            return url.parseQuery(text.startsWith('?') ? text.slice(1) : text);
        }
        if (init[Symbol.iterator] === undefined || init[Symbol.iterator] === null) {
            return Object.keys(init).map(key => [key, `${init[key]}`]);
        }
        return Array.from(init, pair => {
            const both = [...pair];
            if (both.length !== 2) throw new TypeError('Each query pair must have a name and a value');
            return [`${both[0]}`.toWellFormed(), `${both[1]}`.toWellFormed()];
        });
    };
    const text = value => `${value}`.toWellFormed();

    // Sets the pairs of the parameters of a URL, without telling it.
    let replace;
    const CHANGED = Symbol('tells the URL');

    class URLSearchParams {
        #pairs;
        #changed;
        constructor(init = '', changed, key) {
            this.#pairs = pairsOf(init ?? '');
            this.#changed = key === CHANGED ? changed : undefined;
        }
        static {
            replace = (params, query) => { params.#pairs = pairsOf(query) };
        }
        #tell() { this.#changed?.(this.toString()) }
        get size() { return this.#pairs.length }
        append(name, value) {
            this.#pairs.push([text(name), text(value)]);
            this.#tell();
        }
        delete(name, value) {
            name = text(name);
            const same = ([one, other]) =>
                one === name && (value === undefined || other === text(value));
            this.#pairs = this.#pairs.filter(pair => !same(pair));
            this.#tell();
        }
        get(name) {
            name = text(name);
            return this.#pairs.find(([one]) => one === name)?.[1] ?? null;
        }
        getAll(name) {
            name = text(name);
            return this.#pairs.filter(([one]) => one === name).map(([, value]) => value);
        }
        has(name, value) {
            name = text(name);
            return this.#pairs.some(([one, other]) =>
                one === name && (value === undefined || other === text(value)));
        }
        set(name, value) {
            name = text(name);
            const first = this.#pairs.findIndex(([one]) => one === name);
            if (first < 0) return this.append(name, value);
            this.#pairs[first][1] = text(value);
            this.#pairs = this.#pairs.filter(([one], at) => at <= first || one !== name);
            this.#tell();
        }
        sort() {
            this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
            this.#tell();
        }
        forEach(callback, receiver) {
            for (const [name, value] of this) callback.call(receiver, value, name, this);
        }
        // By index, since the pairs may change while they are gone through.
        *entries() {
            for (let at = 0; at < this.#pairs.length; at++) yield [...this.#pairs[at]];
        }
        *keys() { for (const [name] of this.entries()) yield name }
        *values() { for (const [, value] of this.entries()) yield value }
        toString() { return url.serializeQuery(this.#pairs) }
    }
    Object.defineProperty(URLSearchParams.prototype, Symbol.iterator, {
        value: URLSearchParams.prototype.entries, writable: true, configurable: true,
    });

    const invalid = input => {
        const error = new TypeError('Invalid URL');
        return Object.assign(error, { code: 'ERR_INVALID_URL', input });
    };

    class URL {
        #parts;
        #params;
        constructor(input, base) {
            if (arguments.length === 0) throw new TypeError('URL needs a text');
            this.#take(url.parse(`${input}`, base === undefined ? undefined : `${base}`), input);
        }
        static canParse(input, base) {
            return url.parse(`${input}`, base === undefined ? undefined : `${base}`) !== undefined;
        }
        static parse(input, base) {
            return URL.canParse(input, base) ? new URL(input, base) : null;
        }
        #take(parts, input) {
            if (parts === undefined) throw invalid(`${input}`);
            this.#parts = parts;
        }
        static {
            PARTS.forEach((name, at) => {
                const get = { get() { return this.#parts[at] } }.get;
                const set = {
                    set(value) {
                        value = `${value}`;
                        const parts = url.set(this.#parts[0], name, value);
                        if (name === 'href' && parts === undefined) throw invalid(value);
                        if (parts !== undefined) this.#parts = parts;
                        if (this.#params !== undefined) replace(this.#params, this.search);
                    },
                }.set;
                Object.defineProperty(URL.prototype, name, {
                    get, set: READ_ONLY.includes(name) ? undefined : set,
                    enumerable: true, configurable: true,
                });
            });
        }
        get searchParams() {
            return this.#params ??= new URLSearchParams(this.search, query => {
                this.#parts = url.set(this.#parts[0], 'search', query) ?? this.#parts;
            }, CHANGED);
        }
        toString() { return this.#parts[0] }
        toJSON() { return this.#parts[0] }
    }
    for (const [name, { prototype }] of Object.entries({ URL, URLSearchParams })) {
        Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
    }
    return { URL, URLSearchParams };
})
