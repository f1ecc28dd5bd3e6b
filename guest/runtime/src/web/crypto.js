(({ random, digest }, use) => {
    const MAX_RANDOM = 65536;
    const TypedArray = Object.getPrototypeOf(Uint8Array);
    const FLOATS = [Float32Array, Float64Array, globalThis.Float16Array].filter(Boolean);
    const DIGESTS = ['SHA-1', 'SHA-256', 'SHA-384', 'SHA-512'];
    const wrong = (message, name) => {
        const { DOMException } = use('exceptions');
        return new DOMException(message, name);
    };
    const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

    const bytesOf = data => {
        if (ArrayBuffer.isView(data)) {
            return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        }
        if (data instanceof ArrayBuffer) return new Uint8Array(data);
        throw new TypeError('The data must be an ArrayBuffer or a view of one');
    };

    class SubtleCrypto {
        async digest(algorithm, data) {
            const given = typeof algorithm === 'object' ? algorithm?.name : algorithm;
            const name = `${given}`.toUpperCase();
            if (!DIGESTS.includes(name)) {
                throw wrong(`The digest '${given}' is not supported`, 'NotSupportedError');
            }
            return digest(name, bytesOf(data)).buffer;
        }
    }

    const subtle = new SubtleCrypto();
    class Crypto {
        get subtle() { return subtle }
        getRandomValues(array) {
            if (!(array instanceof TypedArray) || FLOATS.some(type => array instanceof type)) {
                throw wrong('The array must be a typed array of integers', 'TypeMismatchError');
            }
            if (array.byteLength > MAX_RANDOM) {
                throw wrong(`No more than ${MAX_RANDOM} bytes at a time`, 'QuotaExceededError');
            }
            bytesOf(array).set(random(array.byteLength));
            return array;
        }
        randomUUID() {
            const bytes = random(16);
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            let text = '';
            for (let at = 0; at < 16; at++) {
                if (at === 4 || at === 6 || at === 8 || at === 10) text += '-';
                text += HEX[bytes[at]];
            }
            return text;
        }
    }
    for (const [name, { prototype }] of Object.entries({ Crypto, SubtleCrypto })) {
        Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
    }
    return { crypto: new Crypto() };
})
