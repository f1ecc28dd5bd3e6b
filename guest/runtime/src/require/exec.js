// The functions of `exec`, in terms of the host's: see exec.rs.
(native => {
    'use strict';
    const { Array, Error, TypeError, Object } = globalThis;
    const SIGNALLED = 256;

    const word = (value, what) => {
        if (typeof value === 'string' && !value.includes('\0')) return value;
        const error = new TypeError(`${what} must be a string without NUL`);
        error.code = 'ERR_INVALID_ARG_TYPE';
        throw error;
    };

    return {
        run(program, args = []) {
            if (!Array.isArray(args)) throw new TypeError('The "args" argument must be an array');
            const words = [word(program, 'The "program" argument')];
            for (const arg of args) words.push(word(arg, 'An argument'));
            const { status, stdout, stderr } = native.run(words.join('\0'), words[0]);
            if (status === 0) return stdout;
            const signalled = status >= SIGNALLED;
            const how = signalled ? `was ended by signal ${status - SIGNALLED}` : `exited with ${status}`;
            const error = new Error(`${program} ${how}${stderr && `: ${stderr.trimEnd()}`}`);
            throw Object.assign(error, {
                code: 'ERR_EXIT',
                status: signalled ? null : status,
                signal: signalled ? status - SIGNALLED : null,
                stdout,
                stderr,
            });
        },
    };
})
