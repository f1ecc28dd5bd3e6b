(({ base64 }, use) => {
    const invalid = reason => {
        const { DOMException } = use('exceptions');
        return new DOMException(reason, 'InvalidCharacterError');
    };
    return {
        ...{
            atob(data) {
                if (arguments.length === 0) throw new TypeError('atob needs a string');
                const decoded = base64.decode(`${data}`);
                if (decoded === undefined) throw invalid('The string is not correctly encoded');
                return decoded;
            },
            btoa(data) {
                if (arguments.length === 0) throw new TypeError('btoa needs a string');
                const encoded = base64.encode(`${data}`);
                if (encoded === undefined) {
                    throw invalid('The string has a character beyond U+00FF');
                }
                return encoded;
            },
        },
    };
})
