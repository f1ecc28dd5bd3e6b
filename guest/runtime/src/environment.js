// The environment that a template grants, asked for when a script first looks: see session.rs.
(ask => {
    'use strict';
    const { parse } = JSON;
    const { defineProperty } = Reflect;

    const place = (object, name) => {
        const become = value =>
            defineProperty(object, name, {
                value, writable: true, enumerable: true, configurable: true,
            });
        defineProperty(object, name, {
            get: { get() { const value = parse(ask() || '{}'); become(value); return value } }.get,
            set: { set(value) { become(value) } }.set,
            enumerable: true,
            configurable: true,
        });
    };
    place(process, 'env');
    place(globalThis, '__ENV__');
})
