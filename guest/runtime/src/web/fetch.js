// Requests, responses, and what has the host make one of the other.
((native, use) => {
    const { net } = native;
    const { JSON, Object, Promise, TypeError } = globalThis;
    const { Headers, freeze, isToken } = use('headers');
    const { Body, extract, give, isThere, share, take } = use('body');
    const { URL } = use('url');

    // What no template can grant more of.
    const MAX_BODY_BYTES = 16 << 20;
    const REDIRECTS = ['follow', 'error', 'manual'];
    const FORBIDDEN_METHODS = ['CONNECT', 'TRACE', 'TRACK'];
    const KNOWN_METHODS = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT'];
    const EMPTY_STATUSES = [101, 103, 204, 205, 304];
    const REDIRECT_STATUSES = [301, 302, 303, 307, 308];

    const methodOf = method => {
        method = `${method}`;
        if (!isToken(method)) throw new TypeError(`'${method}' is no method`);
        const upper = method.toUpperCase();
        if (FORBIDDEN_METHODS.includes(upper)) throw new TypeError(`The method ${upper} is forbidden`);
        return KNOWN_METHODS.includes(upper) ? upper : method;
    };
    const urlOf = input => {
        const url = new URL(`${input}`);
        if (url.username !== '' || url.password !== '') {
            throw new TypeError('The URL of a request may not have a user or a password');
        }
        return url.href;
    };

    class Request extends Body {
        #url;
        #method;
        #headers;
        #redirect;
        #signal;
        constructor(input, init = {}) {
            super();
            init ??= {};
            const from = input instanceof Request ? input : undefined;
            this.#url = from === undefined ? urlOf(input) : from.#url;
            this.#method = methodOf(init.method ?? from?.method ?? 'GET');
            this.#redirect = `${init.redirect ?? from?.redirect ?? 'follow'}`;
            if (!REDIRECTS.includes(this.#redirect)) {
                throw new TypeError(`'${this.#redirect}' is no way to follow redirects`);
            }
            this.#headers = new Headers(init.headers ?? from?.headers);
            const { AbortController, AbortSignal } = use('targets');
            const signal = init.signal === undefined ? from?.signal : init.signal;
            if (signal !== undefined && signal !== null && !(signal instanceof AbortSignal)) {
                throw new TypeError('The "signal" option must be an AbortSignal');
            }
            this.#signal = signal ?? new AbortController().signal;
            this.#take(init.body, from);
        }
        #take(init, from) {
            const given = init !== undefined && init !== null;
            const inherits = !given && from !== undefined && isThere(from);
            if ((given || inherits) && (this.#method === 'GET' || this.#method === 'HEAD')) {
                throw new TypeError(`A request with the method ${this.#method} cannot have a body`);
            }
            if (inherits) {
                if (from.bodyUsed) throw new TypeError('The body was used already');
                const stream = from.body;
                const { readable, writable } = new (use('streams').TransformStream)();
                stream.pipeTo(writable).catch(() => {});
                return give(this, { stream: readable });
            }
            const body = extract(init);
            give(this, body);
            if (body.type !== undefined && !this.#headers.has('content-type')) {
                this.#headers.set('content-type', body.type);
            }
        }
        get url() { return this.#url }
        get method() { return this.#method }
        get headers() { return this.#headers }
        get redirect() { return this.#redirect }
        get signal() { return this.#signal }
        get cache() { return 'default' }
        get credentials() { return 'same-origin' }
        get destination() { return '' }
        get duplex() { return 'half' }
        get integrity() { return '' }
        get keepalive() { return false }
        get mode() { return 'cors' }
        get referrer() { return 'about:client' }
        get referrerPolicy() { return '' }
        clone() {
            const { method, headers, redirect, signal } = this;
            const copy = new Request(this.#url, { method, headers, redirect, signal });
            share(this, copy);
            return copy;
        }
    }

    let received;

    class Response extends Body {
        #status;
        #statusText;
        #headers;
        #type = 'default';
        #url = '';
        #redirected = false;
        static {
            // What the host received, whose headers are as they came.
            received = ({ status, statusText, headers, url, redirected, type = 'basic' }, body) => {
                const response = new Response(null, { headers });
                response.#status = status;
                response.#statusText = statusText;
                response.#url = url;
                response.#redirected = redirected;
                response.#type = type;
                freeze(response.#headers);
                give(response, body);
                return response;
            };
        }
        constructor(body = null, init = {}) {
            super();
            init ??= {};
            const status = Math.trunc(Number(init.status ?? 200));
            if (!(status >= 200 && status <= 599)) {
                throw new RangeError('The status of a response is from 200 to 599');
            }
            const text = `${init.statusText ?? ''}`;
            if (/[^\t\x20-\x7e\x80-\xff]/.test(text)) {
                throw new TypeError('The text of a status is one line');
            }
            this.#status = status;
            this.#statusText = text;
            this.#headers = new Headers(init.headers);
            if (body === null || body === undefined) return;
            if (EMPTY_STATUSES.includes(status)) {
                throw new TypeError(`A response with the status ${status} cannot have a body`);
            }
            const extracted = extract(body);
            give(this, extracted);
            if (extracted.type !== undefined && !this.#headers.has('content-type')) {
                this.#headers.set('content-type', extracted.type);
            }
        }
        static error() {
            const nothing = { status: 0, statusText: '', headers: [], url: '', redirected: false };
            return received({ ...nothing, type: 'error' }, {});
        }
        static json(data, init = {}) {
            const text = JSON.stringify(data);
            if (text === undefined) throw new TypeError('The value has no JSON');
            const headers = new Headers(init?.headers);
            if (!headers.has('content-type')) headers.set('content-type', 'application/json');
            return new Response(text, { ...init, headers });
        }
        static redirect(url, status = 302) {
            if (!REDIRECT_STATUSES.includes(status)) {
                throw new RangeError(`${status} is no status of a redirect`);
            }
            return new Response(null, { status, headers: { location: new URL(`${url}`).href } });
        }
        get status() { return this.#status }
        get ok() { return this.#status >= 200 && this.#status <= 299 }
        get statusText() { return this.#statusText }
        get headers() { return this.#headers }
        get type() { return this.#type }
        get url() { return this.#url }
        get redirected() { return this.#redirected }
        clone() {
            const copy = received({
                status: this.#status, statusText: this.#statusText, headers: this.#headers,
                url: this.#url, redirected: this.#redirected, type: this.#type,
            }, {});
            share(this, copy);
            return copy;
        }
    }
    for (const [name, { prototype }] of Object.entries({ Request, Response })) {
        Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
    }

    const failed = error => {
        const end = error.indexOf('\n');
        const [code, reason] = [error.slice(0, end), error.slice(end + 1)];
        const cause = Object.assign(new Error(reason), { code });
        return new TypeError(`fetch failed: ${reason}`, { cause });
    };

    // What the host answers later, unless the signal is aborted before.
    const later = (begin, signal, end) => new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        let ticket;
        const abort = () => {
            if (ticket !== undefined) net.cancel(ticket);
            end?.();
            reject(signal.reason);
        };
        const over = settle => value => {
            signal.removeEventListener('abort', abort);
            settle(value);
        };
        signal.addEventListener('abort', abort);
        const refuse = over(error => reject(failed(error)));
        ticket = begin(over(resolve), refuse);
        if (typeof ticket === 'string') refuse(ticket);
    });

    // The rest of a response, which a signal ends also while nobody reads.
    const sourceOf = (handle, signal) => {
        const end = () => {
            signal.removeEventListener('abort', end);
            net.close(handle);
        };
        signal.addEventListener('abort', end);
        return {
            async pull() {
                const read = (resolve, reject) => net.read(handle, resolve, reject);
                const part = await later(read, signal, end);
                if (part.length > 0) return part;
                end();
            },
            cancel: end,
        };
    };

    return {
        Request,
        Response,
        async fetch(input, init) {
            const request = new Request(input, init);
            const { signal } = request;
            if (signal.aborted) throw signal.reason;
            const body = await take(request, MAX_BODY_BYTES);
            const head = JSON.stringify({
                headers: [...request.headers],
                redirect: request.redirect,
            });
            const name = `${request.method} ${request.url}`;
            const begin = (resolve, reject) => net.fetch(name, head, body, resolve, reject);
            const answer = await later(begin, signal);
            const { body: handle, ...seen } = JSON.parse(net.text(answer));
            const source = handle === null ? undefined : sourceOf(handle, signal);
            return received(seen, { source });
        },
    };
})
