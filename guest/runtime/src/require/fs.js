// The functions of `fs`, in terms of the host's: see fs.rs. Paths are the host's concern.
(native => {
    'use strict';
    const FILE = 1, DIRECTORY = 2, LINK = 3;
    const { Array, Date, Error, TypeError, Math, ArrayBuffer, Uint8Array, Object } = globalThis;

    const pathOf = value => {
        if (typeof value !== 'string') {
            const error = new TypeError('The "path" argument must be of type string');
            error.code = 'ERR_INVALID_ARG_TYPE';
            throw error;
        }
        return value;
    };
    const optionsOf = value => (typeof value === 'string' ? { encoding: value } : value ?? {});

    const isText = options => {
        let encoding = options === null ? null : optionsOf(options).encoding;
        if (encoding === undefined) return true;
        if (encoding === null || encoding === 'buffer') return false;
        encoding = `${encoding}`.toLowerCase();
        if (encoding === 'utf8' || encoding === 'utf-8') return true;
        throw new TypeError("The encoding must be 'utf8' or null");
    };
    const dataOf = data => {
        if (typeof data === 'string') return data;
        if (ArrayBuffer.isView(data)) {
            return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        }
        if (data instanceof ArrayBuffer) return new Uint8Array(data);
        const error = new TypeError(
            'The "data" argument must be a string, a typed array, a DataView or an ArrayBuffer',
        );
        error.code = 'ERR_INVALID_ARG_TYPE';
        throw error;
    };
    const failed = (code, reason, syscall, path) => {
        const error = new Error(`${code}: ${reason}, ${syscall} '${path}'`);
        return Object.assign(error, { code, syscall, path });
    };

    class Kind {
        #kind;
        constructor(kind) { this.#kind = kind }
        isFile() { return this.#kind === FILE }
        isDirectory() { return this.#kind === DIRECTORY }
        isSymbolicLink() { return this.#kind === LINK }
    }
    class Stats extends Kind {
        constructor([kind, size, mtimeMs]) {
            super(kind);
            this.size = size;
            this.mtimeMs = mtimeMs;
            this.mtime = new Date(mtimeMs);
        }
    }
    class Dirent extends Kind {
        constructor(kind, name, parentPath) {
            super(kind);
            this.name = name;
            this.parentPath = parentPath;
        }
    }

    const described = (path, flags, options) => {
        const quiet = options?.throwIfNoEntry === false;
        try {
            return new Stats(native.stat(pathOf(path), flags));
        } catch (error) {
            if (quiet && error.code === 'ENOENT') return undefined;
            throw error;
        }
    };
    const within = (folder, name) => (folder.endsWith('/') ? folder + name : `${folder}/${name}`);

    const fs = {
        readFileSync(path, options) {
            return native.read(pathOf(path), isText(options));
        },
        writeFileSync(path, data, options) {
            const { flag = 'w' } = optionsOf(options);
            if (flag === 'a') return fs.appendFileSync(path, data);
            if (flag === 'wx' && fs.existsSync(path)) {
                throw failed('EEXIST', 'file already exists', 'open', path);
            }
            if (flag !== 'w' && flag !== 'wx') throw new TypeError(`The flag '${flag}' is not known`);
            native.write(pathOf(path), dataOf(data), false);
        },
        appendFileSync(path, data) {
            native.write(pathOf(path), dataOf(data), true);
        },
        existsSync(path) {
            return typeof path === 'string' && native.exists(path);
        },
        accessSync(path) {
            native.stat(pathOf(path), 0);
        },
        readdirSync(path, options) {
            const { withFileTypes = false, recursive = false } = optionsOf(options);
            const found = [];
            const pending = [['', pathOf(path)]];
            while (pending.length > 0) {
                const [prefix, folder] = pending.shift();
                for (const [kind, name] of native.readDir(folder)) {
                    found.push(withFileTypes ? new Dirent(kind, name, folder) : prefix + name);
                    if (recursive && kind === DIRECTORY) {
                        pending.push([`${prefix}${name}/`, within(folder, name)]);
                    }
                }
            }
            return found;
        },
        statSync(path, options) {
            return described(path, 0, options);
        },
        lstatSync(path, options) {
            return described(path, 1, options);
        },
        mkdirSync(path, options) {
            const recursive = typeof options === 'object' && !!options?.recursive;
            native.mkdir(pathOf(path), recursive);
        },
        mkdtempSync(prefix) {
            const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
            const letter = () => letters[Math.floor(Math.random() * letters.length)];
            for (;;) {
                const path = pathOf(prefix) + Array.from({ length: 6 }, letter).join('');
                try {
                    native.mkdir(path, false);
                    return path;
                } catch (error) {
                    if (error.code !== 'EEXIST') throw error;
                }
            }
        },
        unlinkSync(path) {
            native.unlink(pathOf(path));
        },
        rmdirSync(path) {
            native.rmdir(pathOf(path));
        },
        rmSync(path, options) {
            const { recursive = false, force = false } = options ?? {};
            const stats = described(path, 1, { throwIfNoEntry: !force });
            if (stats === undefined) return;
            if (!stats.isDirectory()) return native.unlink(path);
            if (!recursive) {
                throw failed('ERR_FS_EISDIR', 'Path is a directory', 'rm', path);
            }
            // Folders from the outermost in, so that each is empty when its turn comes from the end.
            const folders = [path];
            for (let next = 0; next < folders.length; next++) {
                for (const [kind, name] of native.readDir(folders[next])) {
                    const inside = within(folders[next], name);
                    if (kind === DIRECTORY) folders.push(inside);
                    else native.unlink(inside);
                }
            }
            while (folders.length > 0) native.rmdir(folders.pop());
        },
        renameSync(from, to) {
            native.rename(pathOf(from), pathOf(to));
        },
        copyFileSync(from, to) {
            native.write(pathOf(to), native.read(pathOf(from), false), false);
        },
        truncateSync(path, length = 0) {
            const kept = new Uint8Array(length);
            kept.set(native.read(pathOf(path), false).subarray(0, length));
            native.write(path, kept, false);
        },
        realpathSync(path) {
            return native.realpath(pathOf(path));
        },
    };

    // Each function as one that gives a promise, which has settled: the host answers at once.
    const promises = {};
    for (const [name, call] of Object.entries(fs)) {
        if (name === 'existsSync') continue;
        const plain = name.slice(0, -'Sync'.length);
        promises[plain] = { async [plain](...args) { return call(...args) } }[plain];
    }
    const constants = Object.freeze({ F_OK: 0, X_OK: 1, W_OK: 2, R_OK: 4 });
    return { ...fs, promises: Object.assign(promises, { constants }), constants };
})
