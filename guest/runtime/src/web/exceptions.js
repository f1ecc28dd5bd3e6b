(() => {
    const CODES = {
        IndexSizeError: 1, HierarchyRequestError: 3, WrongDocumentError: 4,
        InvalidCharacterError: 5, NoModificationAllowedError: 7, NotFoundError: 8,
        NotSupportedError: 9, InUseAttributeError: 10, InvalidStateError: 11, SyntaxError: 12,
        InvalidModificationError: 13, NamespaceError: 14, InvalidAccessError: 15,
        TypeMismatchError: 17, SecurityError: 18, NetworkError: 19, AbortError: 20,
        URLMismatchError: 21, QuotaExceededError: 22, TimeoutError: 23, InvalidNodeTypeError: 24,
        DataCloneError: 25,
    };

    class DOMException extends Error {
        #name;
        constructor(message = '', options = 'Error') {
            const { name = 'Error', ...rest } =
                typeof options === 'object' && options !== null ? options : { name: options };
            super(`${message}`, rest);
            this.#name = `${name}`;
        }
        get name() { return this.#name }
        get code() { return Object.hasOwn(CODES, this.#name) ? CODES[this.#name] : 0 }
    }
    Object.defineProperty(DOMException.prototype, Symbol.toStringTag, {
        value: 'DOMException', configurable: true,
    });
    for (const [name, value] of Object.entries(CODES)) {
        const constant = name === 'URLMismatchError' ? 'URL_MISMATCH_ERR'
            : `${name.replace(/Error$/, '').replace(/(?<=[a-z])[A-Z]/g, '_$&').toUpperCase()}_ERR`;
        for (const on of [DOMException, DOMException.prototype]) {
            Object.defineProperty(on, constant, { value, enumerable: true });
        }
    }
    return { DOMException };
})
