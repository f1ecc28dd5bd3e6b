// The bodies of requests and responses: bytes that are there, a stream of a script's, or what the host
// still has to give, which becomes a stream only when it is asked for as one.
((native, use) => {
    const { Blob, bytesOf, copied, encode, joined } = use('blob');
    const { TextDecoder, Uint8Array, JSON } = globalThis;

    // A source has `pull`, which promises the next bytes, or nothing at the end; and `cancel`.
    const sourceOf = stream => {
        const reader = stream.getReader();
        return {
            async pull() {
                const { done, value } = await reader.read();
                if (done) return undefined;
                const bytes = value instanceof Uint8Array ? value : undefined;
                if (bytes === undefined) throw new TypeError('A body must give Uint8Arrays');
                return bytes;
            },
            cancel: reason => reader.cancel(reason),
        };
    };

    // What a body is made of: its bytes or its stream, and the type that it says.
    const extract = init => {
        const { URLSearchParams } = use('url');
        const { FormData, write } = use('form');
        if (init === null || init === undefined) return {};
        if (init instanceof URLSearchParams) {
            const type = 'application/x-www-form-urlencoded;charset=UTF-8';
            return { bytes: encode(`${init}`), type };
        }
        if (init instanceof FormData) return write(init);
        if (init instanceof Blob) {
            return { bytes: bytesOf(init), type: init.type || undefined };
        }
        if (typeof init === 'object' && init instanceof use('streams').ReadableStream) {
            if (init.locked) throw new TypeError('The stream is locked');
            return { stream: init };
        }
        const bytes = copied(init);
        if (bytes !== undefined) return { bytes };
        return { bytes: encode(`${init}`), type: 'text/plain;charset=UTF-8' };
    };

    let take, isThere, give;

    class Body {
        #bytes;
        #stream;
        #source;
        #used = false;
        static {
            give = (body, { bytes, stream, source }) => {
                body.#bytes = bytes;
                body.#stream = stream;
                body.#source = source;
            };
            isThere = body =>
                body.#bytes !== undefined || body.#stream !== undefined || body.#source !== undefined;
            // All of it, which uses it.
            take = async (body, limit = Infinity) => {
                if (body.bodyUsed) throw new TypeError('The body was used already');
                if (!isThere(body)) return new Uint8Array();
                if (body.#stream?.locked) throw new TypeError('The stream is locked');
                body.#used = true;
                if (body.#bytes !== undefined && body.#stream === undefined) return body.#bytes;
                const source = body.#source ?? sourceOf(body.#stream);
                const parts = [];
                let length = 0;
                for (let part; (part = await source.pull()) !== undefined;) {
                    parts.push(part);
                    length += part.length;
                    if (length <= limit) continue;
                    const error = new TypeError(`The body has more than ${limit} bytes`);
                    source.cancel(error);
                    throw error;
                }
                return joined(parts);
            };
        }
        get body() {
            if (!isThere(this)) return null;
            if (this.#stream === undefined) {
                const { ReadableStream } = use('streams');
                const bytes = this.#bytes;
                const source = this.#source ?? { pull() {}, cancel() {} };
                this.#source = undefined;
                this.#stream = new ReadableStream({
                    type: 'bytes',
                    start(controller) {
                        if (bytes !== undefined && bytes.length > 0) controller.enqueue(bytes);
                    },
                    async pull(controller) {
                        const part = await source.pull();
                        if (part !== undefined) return controller.enqueue(part);
                        controller.close();
                        controller.byobRequest?.respond(0);
                    },
                    cancel: reason => source.cancel(reason),
                });
                if (this.#used) this.#stream.getReader();
            }
            return this.#stream;
        }
        get bodyUsed() { return this.#used || this.#stream?._disturbed === true }
        async arrayBuffer() { return (await take(this)).slice().buffer }
        async bytes() { return (await take(this)).slice() }
        async text() { return new TextDecoder().decode(await take(this)) }
        async json() { return JSON.parse(await this.text()) }
        async blob() {
            return new Blob([await take(this)], { type: this.headers.get('content-type') ?? '' });
        }
        async formData() {
            const type = this.headers.get('content-type') ?? '';
            return use('form').read(await take(this), type);
        }
    }

    // A body that is the same as another's, which goes on being one.
    const share = (from, to) => {
        if (from.bodyUsed) throw new TypeError('The body was used already');
        if (!isThere(from)) return;
        const [mine, others] = from.body.tee();
        give(from, { stream: mine });
        give(to, { stream: others });
    };
    return { Body, extract, give, isThere, share, take };
})
