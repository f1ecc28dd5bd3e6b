// The timers of the realm. Which of them is due, and when, is the guest's: see timers.rs.
(native => {
    'use strict';
    const MAX_DELAY = 2147483647;
    const toPrimitive = Symbol.toPrimitive;
    const { TypeError, Number } = globalThis;

    const checked = callback => {
        if (typeof callback !== 'function') {
            const error = new TypeError('The "callback" argument must be of type function');
            error.code = 'ERR_INVALID_ARG_TYPE';
            throw error;
        }
        return callback;
    };
    // As Node has it, what is longer than 32 bits hold is as short as can be.
    const milliseconds = delay => {
        delay = Number(delay);
        return delay >= 0 ? (delay <= MAX_DELAY ? delay : 1) : 0;
    };

    let idOf;

    class Handle {
        #id;
        constructor(id) { this.#id = id }
        static { idOf = value => #id in value ? value.#id : undefined }
        ref() { native.keep(this.#id, true); return this }
        unref() { native.keep(this.#id, false); return this }
        hasRef() { return native.isKept(this.#id) }
    }

    class Immediate extends Handle {}

    class Timeout extends Handle {
        refresh() { native.restart(idOf(this)); return this }
        close() { native.stop(idOf(this)); return this }
        [toPrimitive]() { return idOf(this) }
    }

    // Each clears what any of the three gave, as the web has it for the first two.
    const clear = handle => {
        const type = typeof handle;
        if (type === 'object' && handle !== null) handle = idOf(handle);
        else if (type === 'string') handle = Number(handle);
        if (typeof handle === 'number') native.stop(handle);
    };

    return {
        setTimeout(callback, delay, ...args) {
            return new Timeout(native.start(checked(callback), milliseconds(delay), false, args));
        },
        setInterval(callback, delay, ...args) {
            return new Timeout(native.start(checked(callback), milliseconds(delay), true, args));
        },
        setImmediate(callback, ...args) {
            return new Immediate(native.immediate(checked(callback), args));
        },
        clearTimeout(timer) { clear(timer) },
        clearInterval(timer) { clear(timer) },
        clearImmediate(immediate) { clear(immediate) },
    };
})
