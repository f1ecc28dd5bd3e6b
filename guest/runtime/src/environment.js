// The environment that a template grants, asked for when a script first looks, and again in another
// process: see session.rs.
((ask, lives) => {
    'use strict';
    const { parse } = JSON;
    const { defineProperty, deleteProperty, ownKeys } = Reflect;

    const place = (object, name) => {
        let shown, granted, asked;
        // What a script changed stays as it has it.
        const refresh = () => {
            const now = parse(ask() || '{}');
            if (granted === undefined) shown = parse('{}');
            for (const name of ownKeys({ ...granted, ...now })) {
                if (shown[name] !== granted?.[name]) continue;
                if (name in now) shown[name] = now[name];
                else deleteProperty(shown, name);
            }
            granted = now;
            asked = lives();
        };
        const become = value =>
            defineProperty(object, name, {
                value, writable: true, enumerable: true, configurable: true,
            });
        defineProperty(object, name, {
            get: { get() { if (asked !== lives()) refresh(); return shown } }.get,
            set: { set(value) { become(value) } }.set,
            enumerable: true,
            configurable: true,
        });
    };
    place(process, 'env');
    place(globalThis, '__ENV__');
})
