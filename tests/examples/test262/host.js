// What test262 wants of a host, as far as a session has it. Tests that need more are not run.
(() => {
    const { log } = console;
    const { call } = Function.prototype;
    const transfer = call.bind(ArrayBuffer.prototype.transfer);
    const define = (name, value) => Object.defineProperty(globalThis, name, {
        value, writable: true, enumerable: false, configurable: true,
    });
    define('print', function print(text) {
        log(`${text}`);
    });
    define('$262', {
        global: globalThis,
        detachArrayBuffer(buffer) {
            transfer(buffer);
            return null;
        },
        gc() {
            throw new Error('a script cannot collect garbage here');
        },
    });
})();
