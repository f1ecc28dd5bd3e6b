// CommonJS, in terms of what the guest gives: the host finds files and reads them.
((given) => {
    'use strict';
    const { find, isModule, compile, text, parseJson, evaluate, native, caller, lexer } = given;
    const { create } = Object;
    const { apply } = Reflect;
    const slice = String.prototype.slice;
    const lastIndexOf = String.prototype.lastIndexOf;

    const { parse } = (() => {
        const module = { exports: {} };
        lexer(module.exports, undefined, module);
        return module.exports;
    })();

    // Formats, by the numbers the host gives.
    const BY_SYNTAX = 0, MODULE = 1, JSON = 3;

    const cache = create(null);

    class Module {
        constructor(id, path) {
            this.id = id;
            this.filename = '/' + path;
            this.path = folder(this.filename);
            this.exports = {};
            this.loaded = false;
            this.require = requireOf(id);
        }
    }

    function folder(filename) {
        return apply(slice, filename, [0, apply(lastIndexOf, filename, ['/'])]) || '/';
    }

    // The exports of what a file asked for.
    function load(specifier, referrer) {
        const builtIn = native(specifier);
        if (builtIn !== undefined) return builtIn;
        const { name, path, format } = find(specifier, referrer);
        const known = cache[name];
        const isEsm = !known && (format === MODULE || (format === BY_SYNTAX && isModule(name, path)));
        if (isEsm) return evaluate(name, path);
        return (known || run(name, path, format === JSON)).exports;
    }

    function run(name, path, isJson) {
        const known = cache[name];
        if (known) return known;
        const module = new Module(name, path);
        cache[name] = module;
        try {
            if (isJson) {
                module.exports = parseJson(name, path);
            } else {
                const { exports, require, filename, path: dirname } = module;
                const body = compile(name, path);
                apply(body, exports, [exports, require, module, filename, dirname]);
            }
            module.loaded = true;
        } finally {
            if (!module.loaded) delete cache[name];
        }
        return module;
    }

    function requireOf(referrer) {
        const require = (specifier) => load(checked(specifier), referrer);
        require.resolve = (specifier) => resolve(checked(specifier), referrer);
        require.cache = cache;
        return require;
    }

    function resolve(specifier, referrer) {
        return native(specifier) === undefined ? '/' + find(specifier, referrer).path : specifier;
    }

    // The names that a module exports as far as its source says, with those of the modules that it
    // exports as its own. What cannot be read has none: it is an error where it is run.
    function namesOf(name, path) {
        const names = new Set(['default', 'module.exports']);
        const seen = new Set();
        const add = (name, path) => {
            if (seen.has(name)) return;
            seen.add(name);
            const { exports, reexports } = parse(text(path));
            for (const exported of exports) names.add(exported);
            for (const specifier of reexports) {
                const found = find(specifier, name);
                const { format } = found;
                if (format !== JSON && format !== MODULE) add(found.name, found.path);
            }
        };
        try {
            add(name, path);
        } catch {}
        return [...names];
    }

    function checked(specifier) {
        if (typeof specifier === 'string' && specifier !== '') return specifier;
        throw new TypeError('Invalid module: its "id" must be a string that is not empty');
    }

    // A method, as no constructor.
    const { require } = {
        require(id) {
            return load(checked(id), caller());
        },
    };
    require.resolve = (id) => resolve(checked(id), caller());
    require.cache = cache;

    return { require, namesOf, exportsOf: (name, path) => run(name, path, false).exports };
})
