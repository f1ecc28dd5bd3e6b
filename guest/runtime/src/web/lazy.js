// Globals that are made when a script first touches one: see ../web.rs. Until then each is an accessor.
(native => {
    const { create } = Object;
    const { defineProperty } = Reflect;
    const GLOBALS = {
        Buffer: 'buffer',
        URL: 'url',
        URLSearchParams: 'url',
        DOMException: 'exceptions',
        Event: 'targets',
        CustomEvent: 'targets',
        EventTarget: 'targets',
        AbortController: 'targets',
        AbortSignal: 'targets',
        atob: 'encoding',
        btoa: 'encoding',
        structuredClone: 'clone',
        crypto: 'crypto',
        performance: 'performance',
        Blob: 'blob',
        File: 'blob',
        FormData: 'form',
        Headers: 'headers',
        Request: 'fetch',
        Response: 'fetch',
        fetch: 'fetch',
        ByteLengthQueuingStrategy: 'streams',
        CountQueuingStrategy: 'streams',
        ReadableByteStreamController: 'streams',
        ReadableStream: 'streams',
        ReadableStreamBYOBReader: 'streams',
        ReadableStreamBYOBRequest: 'streams',
        ReadableStreamDefaultController: 'streams',
        ReadableStreamDefaultReader: 'streams',
        TransformStream: 'streams',
        TransformStreamDefaultController: 'streams',
        WritableStream: 'streams',
        WritableStreamDefaultController: 'streams',
        WritableStreamDefaultWriter: 'streams',
    };

    const made = create(null);
    const use = part => (made[part] ??= native.load(part)(native, use));

    for (const name in GLOBALS) {
        const part = GLOBALS[name];
        // Which a script that froze the global object forbids.
        const become = value =>
            defineProperty(globalThis, name, {
                value,
                writable: true,
                enumerable: false,
                configurable: true,
            });
        defineProperty(globalThis, name, {
            get: { get() { const value = use(part)[name]; become(value); return value } }.get,
            set: { set(value) { become(value) } }.set,
            enumerable: false,
            configurable: true,
        });
    }
    return use;
})
