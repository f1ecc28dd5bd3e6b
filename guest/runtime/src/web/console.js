// What `console` has beside its five levels.
(({ inspect, format, indent, now }) => {
    const { console } = globalThis;
    const { log, warn, error } = console;
    const counts = new Map(), timers = new Map();
    const label = given => `${given ?? 'default'}`;

    const elapsed = since => {
        const milliseconds = now() - since;
        return milliseconds < 1000 ? `${milliseconds}ms` : `${milliseconds / 1000}s`;
    };
    const timed = (name, args, print) => {
        const since = timers.get(name);
        if (since === undefined) return warn(`No such label '${name}'`);
        print(`${name}: ${elapsed(since)}`, ...args);
    };

    // What a cell shows: the insides of objects, as far as they take one line.
    const cell = value => {
        const shown = inspect(value, 0);
        return shown.includes('\n') ? (Array.isArray(value) ? '[Array]' : '[Object]') : shown;
    };
    const width = text => [...text].length;
    const draw = (head, rows) => {
        const widths = head.map((name, at) =>
            rows.reduce((most, row) => Math.max(most, width(row[at])), width(name)) + 2);
        const line = (left, middle, right) =>
            left + widths.map(size => '─'.repeat(size)).join(middle) + right;
        const shown = row =>
            `│${row.map((text, at) => ` ${text}${' '.repeat(widths[at] - width(text) - 1)}`).join('│')}│`;
        return [
            line('┌', '┬', '┐'), shown(head), line('├', '┼', '┤'), ...rows.map(shown),
            line('└', '┴', '┘'),
        ].join('\n');
    };
    const rowsOf = data => {
        if (data instanceof Map) return [...data].map(([key, value], at) => [at, { Key: key, Values: value }]);
        if (data instanceof Set) return [...data].map((value, at) => [at, value]);
        return Object.entries(data);
    };

    return {
        table(data, columns) {
            if (typeof data !== 'object' || data === null) return log(data);
            const names = columns === undefined ? [] : Array.from(columns, String);
            const entries = rowsOf(data);
            const isObject = value => typeof value === 'object' && value !== null;
            let hasValues = false;
            for (const [, value] of entries) {
                if (!isObject(value)) hasValues = true;
                else if (columns === undefined) {
                    for (const name of Object.keys(value)) if (!names.includes(name)) names.push(name);
                }
            }
            const rows = entries.map(([key, value]) => [
                `${key}`,
                ...names.map(name =>
                    (isObject(value) && Object.hasOwn(value, name) ? cell(value[name]) : '')),
                ...(hasValues ? [isObject(value) ? '' : cell(value)] : []),
            ]);
            const head = [
                data instanceof Map || data instanceof Set ? '(iteration index)' : '(index)',
                ...names, ...(hasValues ? ['Values'] : []),
            ];
            log('%s', draw(head, rows));
        },
        group(...args) {
            if (args.length > 0) log(...args);
            indent(1);
        },
        groupCollapsed(...args) {
            if (args.length > 0) log(...args);
            indent(1);
        },
        groupEnd() { indent(-1) },
        time(given) {
            const name = label(given);
            if (timers.has(name)) return warn(`Label '${name}' already exists`);
            timers.set(name, now());
        },
        timeLog(given, ...args) { timed(label(given), args, log) },
        timeEnd(given) {
            const name = label(given);
            timed(name, [], log);
            timers.delete(name);
        },
        count(given) {
            const name = label(given);
            const count = (counts.get(name) ?? 0) + 1;
            counts.set(name, count);
            log(`${name}: ${count}`);
        },
        countReset(given) {
            if (!counts.delete(label(given))) warn(`Count for '${label(given)}' does not exist`);
        },
        assert(condition, ...args) {
            if (condition) return;
            const [first, ...rest] = args;
            if (args.length === 0) error('Assertion failed');
            else if (typeof first === 'string') error(`Assertion failed: ${first}`, ...rest);
            else error('Assertion failed', ...args);
        },
        dir(value, options) {
            const depth = options?.depth;
            log('%s', inspect(value, depth === null ? Infinity : Number(depth ?? 2)));
        },
        dirxml(...args) { log(...args) },
        trace(...args) {
            const said = format(args);
            const stack = new Error().stack.trimEnd();
            error('%s', `Trace${said && `: ${said}`}\n${stack}`);
        },
        clear() {},
    };
})
