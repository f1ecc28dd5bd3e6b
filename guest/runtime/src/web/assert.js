// Node's assertions. A message that none was given for tells both values, without a line-by-line difference.
(({ inspect }, use) => {
    const alike = use('alike');
    const DEPTH = 32;
    const show = value => inspect(value, DEPTH);
    const isObject = value => typeof value === 'object' && value !== null;

    class AssertionError extends Error {
        constructor(options) {
            if (!isObject(options)) throw invalid('options', 'object', options);
            const { message, actual, expected, operator } = options;
            super(message === undefined ? `${show(actual)} ${operator} ${show(expected)}` : `${message}`);
            this.generatedMessage = message === undefined;
            this.code = 'ERR_ASSERTION';
            this.actual = actual;
            this.expected = expected;
            this.operator = operator;
        }
        toString() { return `${this.name} [${this.code}]: ${this.message}` }
    }
    Object.defineProperty(AssertionError.prototype, 'name', {
        value: 'AssertionError', writable: true, configurable: true,
    });

    const coded = (error, code) => Object.assign(error, { code });
    const invalid = (name, type, value) => coded(
        new TypeError(`The "${name}" argument must be of type ${type}. Received ${inspect(value, 0)}`),
        'ERR_INVALID_ARG_TYPE',
    );

    // The error of an assertion: the caller's own, or one with its message, or else with ours.
    const failure = (message, ours, operator, actual, expected) => {
        if (message instanceof Error) return message;
        const error = new AssertionError({ message: message ?? ours, actual, expected, operator });
        error.generatedMessage = message === undefined || message === null;
        return error;
    };
    // The same, whose words around the caller's message do not count as generated, as in Node.
    const told = (message, ours, ...rest) => failure(message instanceof Error ? message : ours, ours, ...rest);

    // An assertion of two values: `says` is what a failure says of them.
    const binary = (name, holds, says, operator = name) => ({
        [name](actual, expected, message) {
            if (arguments.length < 2) {
                const text = 'The "actual" and "expected" arguments must be specified';
                throw coded(new TypeError(text), 'ERR_MISSING_ARGS');
            }
            if (!holds(actual, expected)) {
                throw failure(message, says(show(actual), show(expected)), operator, actual, expected);
            }
        },
    })[name];
    const apart = (begin, sign) => (actual, expected) => `${begin}\n\n${actual} ${sign} ${expected}\n`;
    const beside = (begin, words) => (actual, expected) => `${begin}\n\n${actual}\n\n${words}\n\n${expected}\n`;
    const same = begin => actual => `${begin}\n\n${actual}\n`;
    const equals = (left, right) => left == right || (Number.isNaN(left) && Number.isNaN(right));

    const nameOf = expected => typeof expected === 'function' && expected.name ? ` (${expected.name})` : '';
    const brief = error => error instanceof Error ? `${error.name}: ${error.message}` : show(error);
    const kindOf = error => error instanceof Error
        ? `"${error.constructor?.name ?? error.name}"\n\nError message:\n\n${error.message}` : show(error);
    const words = message => typeof message === 'string' ? `: ${message}` : '.';

    // Throws unless an error is what was expected of it.
    const check = (error, expected, message, operator) => {
        const refuse = ours => { throw failure(message, ours, operator, error, expected) };
        if (expected === undefined) return;
        if (expected instanceof RegExp) {
            if (!expected.test(`${error}`)) {
                refuse(`The input did not match the regular expression ${inspect(expected, 0)}. Input:\n\n${show(`${error}`)}\n`);
            }
        } else if (typeof expected === 'function') {
            if (expected.prototype !== undefined && error instanceof expected) return;
            if (expected === Error || Error.prototype.isPrototypeOf(expected.prototype)) {
                refuse(`The error is expected to be an instance of "${expected.name}". Received ${kindOf(error)}`);
            }
            if (expected.call({}, error) !== true) {
                const called = expected.name ? `The "${expected.name}" validation function` : 'The validation function';
                refuse(`${called} is expected to return "true". Caught error:\n\n${brief(error)}`);
            }
        } else {
            const keys = Object.keys(expected);
            if (expected instanceof Error) keys.push('name', 'message');
            for (const key of keys) {
                const value = error?.[key], wanted = expected[key];
                const matches = wanted instanceof RegExp && typeof value === 'string'
                    ? wanted.test(value) : alike(value, wanted);
                if (!matches) {
                    refuse(`The error's property ${show(key)} is\n\n${show(value)}\n\nand should be\n\n${show(wanted)}\n`);
                }
            }
        }
    };

    // What `throws` and `rejects` were given: an error's description, which may be left out before a message.
    const described = (expected, message) => {
        if (typeof expected === 'string') {
            if (message !== undefined) throw invalid('error', 'function or an instance of Error, RegExp, or Object', expected);
            return [undefined, expected];
        }
        if (expected !== undefined && expected !== null && !isObject(expected) && typeof expected !== 'function') {
            throw invalid('error', 'function or an instance of Error, RegExp, or Object', expected);
        }
        return [expected ?? undefined, message];
    };
    // The error that running a function threw, in an array.
    const caught = run => {
        if (typeof run !== 'function') throw invalid('fn', 'function', run);
        try {
            run();
        } catch (error) {
            return [error];
        }
        return [];
    };
    const rejected = async run => {
        const isCalled = typeof run === 'function', promise = isCalled ? run() : run;
        if (!isObject(promise) || typeof promise.then !== 'function') {
            if (!isCalled) throw invalid('promiseFn', 'function or Promise', promise);
            const text = 'Expected instance of Promise to be returned from the "promiseFn" function';
            throw coded(new TypeError(text), 'ERR_INVALID_RETURN_VALUE');
        }
        try {
            await promise;
        } catch (error) {
            return [error];
        }
        return [];
    };
    const wanted = (errors, what, operator, given) => {
        const [expected, message] = described(...given);
        if (errors.length === 0) {
            const ours = `Missing expected ${what}${nameOf(expected)}${words(message)}`;
            throw told(message, ours, operator, undefined, expected);
        }
        check(errors[0], expected, message, operator);
    };
    const unwanted = (errors, what, operator, given) => {
        if (errors.length === 0) return;
        const [expected, message] = described(...given);
        const [error] = errors;
        if (expected instanceof RegExp ? !expected.test(`${error}`)
            : typeof expected === 'function' && !(error instanceof expected)) throw error;
        const ours = `Got unwanted ${what}${words(message)}\nActual message: "${error?.message ?? error}"`;
        throw told(message, ours, operator, error, expected);
    };

    const matches = (operator, wants, text) => ({
        [operator](string, regexp, message) {
            if (!(regexp instanceof RegExp)) throw invalid('regexp', 'RegExp', regexp);
            if (typeof string === 'string' && (regexp.exec(string) !== null) === wants) return;
            const ours = typeof string === 'string' ? `${text} ${inspect(regexp, 0)}. Input:\n\n${show(string)}\n`
                : `The "string" argument must be of type string. Received ${inspect(string, 0)}`;
            throw failure(message, ours, operator, string, regexp);
        },
    })[operator];

    const truth = (given, operator) => {
        const [value, message] = given;
        if (value) return;
        const ours = given.length === 0 ? 'No value argument passed to `assert.ok()`'
            : 'The expression evaluated to a falsy value';
        throw failure(message, ours, operator, value, true);
    };

    const strictEqual = binary('strictEqual', Object.is, apart('Expected values to be strictly equal:', '!=='));
    const notStrictEqual = binary('notStrictEqual', (left, right) => !Object.is(left, right),
        same('Expected "actual" to be strictly unequal to:'));
    const deepStrictEqual = binary('deepStrictEqual', (left, right) => alike(left, right),
        beside('Expected values to be strictly deep-equal:', 'should strictly deep-equal'));
    const notDeepStrictEqual = binary('notDeepStrictEqual', (left, right) => !alike(left, right),
        same('Expected "actual" not to be strictly deep-equal to:'));

    const functions = {
        fail(message) { throw failure(message, 'Failed', 'fail') },
        ok(...given) { truth(given, '==') },
        equal: binary('equal', equals, (actual, expected) => `${actual} == ${expected}`, '=='),
        notEqual: binary('notEqual', (left, right) => !equals(left, right),
            (actual, expected) => `${actual} != ${expected}`, '!='),
        strictEqual,
        notStrictEqual,
        deepEqual: binary('deepEqual', (left, right) => alike(left, right, true),
            beside('Expected values to be loosely deep-equal:', 'should loosely deep-equal')),
        notDeepEqual: binary('notDeepEqual', (left, right) => !alike(left, right, true),
            same('Expected "actual" not to be loosely deep-equal to:')),
        deepStrictEqual,
        notDeepStrictEqual,
        throws(run, ...given) { wanted(caught(run), 'exception', 'throws', given) },
        doesNotThrow(run, ...given) { unwanted(caught(run), 'exception', 'doesNotThrow', given) },
        async rejects(run, ...given) { wanted(await rejected(run), 'rejection', 'rejects', given) },
        async doesNotReject(run, ...given) { unwanted(await rejected(run), 'rejection', 'doesNotReject', given) },
        match: matches('match', true, 'The input did not match the regular expression'),
        doesNotMatch: matches('doesNotMatch', false, 'The input was expected to not match the regular expression'),
        ifError(value) {
            if (value === undefined || value === null) return;
            const said = typeof value.message === 'string' ? value.message : show(value);
            throw told(undefined, `ifError got unwanted exception: ${said}`, 'ifError', value, null);
        },
        AssertionError,
    };
    const assert = Object.assign(function assert(...given) { truth(given, '==') }, functions);
    const strict = Object.assign(function strict(...given) { truth(given, '==') }, functions, {
        equal: strictEqual,
        notEqual: notStrictEqual,
        deepEqual: deepStrictEqual,
        notDeepEqual: notDeepStrictEqual,
    });
    assert.strict = strict.strict = strict;
    return assert;
})
