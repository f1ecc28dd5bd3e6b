(({ }, use) => {
    const { DOMException } = use('exceptions');
    const { setTimeout, queueMicrotask } = globalThis;

    const set = (event, fields) => Object.assign(innards.get(event), fields);
    // What the classes below know of each other's objects.
    const innards = new WeakMap();
    const of = event => {
        const own = innards.get(event);
        if (own === undefined) throw new TypeError('Illegal invocation');
        return own;
    };

    class Event {
        static NONE = 0;
        static CAPTURING_PHASE = 1;
        static AT_TARGET = 2;
        static BUBBLING_PHASE = 3;
        constructor(type, options = {}) {
            if (arguments.length === 0) throw new TypeError('Event needs a type');
            const { bubbles = false, cancelable = false, composed = false } = options ?? {};
            innards.set(this, {
                type: `${type}`, bubbles: !!bubbles, cancelable: !!cancelable,
                composed: !!composed, target: null, phase: 0, canceled: false, stopped: false,
                ended: false, passive: false, dispatching: false,
                timeStamp: use('performance').performance.now(),
            });
        }
        get type() { return of(this).type }
        get bubbles() { return of(this).bubbles }
        get cancelable() { return of(this).cancelable }
        get composed() { return of(this).composed }
        get target() { return of(this).target }
        get srcElement() { return of(this).target }
        get currentTarget() { return of(this).dispatching ? of(this).target : null }
        get eventPhase() { return of(this).phase }
        get defaultPrevented() { return of(this).canceled }
        get returnValue() { return !of(this).canceled }
        get timeStamp() { return of(this).timeStamp }
        get isTrusted() { return false }
        get cancelBubble() { return of(this).stopped }
        set cancelBubble(value) { if (value) of(this).stopped = true }
        composedPath() { return of(this).dispatching ? [of(this).target] : [] }
        preventDefault() {
            const own = of(this);
            if (own.cancelable && !own.passive) own.canceled = true;
        }
        stopPropagation() { of(this).stopped = true }
        stopImmediatePropagation() { set(this, { stopped: true, ended: true }) }
    }

    class CustomEvent extends Event {
        #detail;
        constructor(type, options = {}) {
            super(type, options);
            this.#detail = options?.detail ?? null;
        }
        get detail() { return this.#detail }
    }

    const listenersOf = new WeakMap();
    const optionsOf = options =>
        (typeof options === 'object' && options !== null ? options : { capture: !!options });

    class EventTarget {
        constructor() { listenersOf.set(this, new Map()) }
        addEventListener(type, callback, options) {
            const all = listenersOf.get(this);
            if (all === undefined) throw new TypeError('Illegal invocation');
            const { capture = false, once = false, passive = false, signal } = optionsOf(options);
            if (callback === null || callback === undefined) return;
            if (typeof callback !== 'function' && typeof callback !== 'object') {
                throw new TypeError('The "listener" argument must be a function or an object');
            }
            if (signal !== undefined && !(signal instanceof AbortSignal)) {
                throw new TypeError('The "signal" option must be an AbortSignal');
            }
            if (signal?.aborted) return;
            type = `${type}`;
            let listeners = all.get(type);
            if (listeners === undefined) all.set(type, listeners = []);
            const same = one => one.callback === callback && one.capture === !!capture;
            if (listeners.some(same)) return;
            listeners.push({
                callback, capture: !!capture, once: !!once, passive: !!passive, removed: false,
            });
            signal?.addEventListener('abort', () => {
                this.removeEventListener(type, callback, { capture });
            });
        }
        removeEventListener(type, callback, options) {
            const listeners = listenersOf.get(this)?.get(`${type}`);
            const { capture = false } = optionsOf(options);
            const at = listeners?.findIndex(
                one => one.callback === callback && one.capture === !!capture) ?? -1;
            if (at < 0) return;
            listeners[at].removed = true;
            listeners.splice(at, 1);
        }
        dispatchEvent(event) {
            if (!(event instanceof Event)) {
                throw new TypeError('The "event" argument must be an Event');
            }
            const own = of(event);
            if (own.dispatching) {
                throw new DOMException('The event is already being dispatched', 'InvalidStateError');
            }
            const all = listenersOf.get(this);
            if (all === undefined) throw new TypeError('Illegal invocation');
            set(event, { target: this, dispatching: true, phase: Event.AT_TARGET });
            const listeners = [...(all.get(own.type) ?? [])];
            // Those that capture come first, as at any target.
            for (const capture of [true, false]) {
                for (const listener of listeners) {
                    if (own.ended || listener.removed || listener.capture !== capture) continue;
                    const { callback, once, passive } = listener;
                    if (once) this.removeEventListener(own.type, callback, { capture });
                    own.passive = passive;
                    try {
                        if (typeof callback === 'function') callback.call(this, event);
                        else callback.handleEvent(event);
                    } catch (error) {
                        // What a listener throws is nobody's to catch, and does not stop the others.
                        queueMicrotask(() => { throw error });
                    }
                    own.passive = false;
                }
                if (own.stopped) break;
            }
            set(event, { dispatching: false, phase: 0, stopped: false, ended: false });
            return !own.canceled;
        }
    }

    // An `on` property of a target, which is a listener like any other.
    const handler = (prototype, type) => {
        const handlers = new WeakMap();
        Object.defineProperty(prototype, `on${type}`, {
            get() { return handlers.get(this)?.callback ?? null },
            set(callback) {
                let own = handlers.get(this);
                if (own === undefined) {
                    own = { callback: null };
                    handlers.set(this, own);
                    this.addEventListener(type, event => own.callback?.call(this, event));
                }
                own.callback = typeof callback === 'function' ? callback : null;
            },
            enumerable: true,
            configurable: true,
        });
    };

    const KEY = Symbol('only the host makes signals');
    const signals = new WeakMap();
    const makeSignal = () => new AbortSignal(KEY);
    const abort = (signal, reason) => {
        const own = signals.get(signal);
        if (own.aborted) return;
        own.aborted = true;
        own.reason = reason;
        for (const action of own.actions.splice(0)) action();
        signal.dispatchEvent(new Event('abort'));
    };
    const aborted = () => new DOMException('This operation was aborted', 'AbortError');

    class AbortSignal extends EventTarget {
        constructor(key) {
            if (key !== KEY) throw new TypeError('Illegal constructor');
            super();
            signals.set(this, { aborted: false, reason: undefined, actions: [] });
        }
        static abort(reason = aborted()) {
            const signal = makeSignal();
            abort(signal, reason);
            return signal;
        }
        static timeout(milliseconds) {
            milliseconds = Number(milliseconds);
            if (!(milliseconds >= 0)) throw new RangeError('The delay must be a number of 0 or more');
            const signal = makeSignal();
            const error = () =>
                new DOMException('The operation was aborted due to timeout', 'TimeoutError');
            setTimeout(() => abort(signal, error()), milliseconds).unref();
            return signal;
        }
        static any(others) {
            const signal = makeSignal();
            const list = [...others];
            for (const other of list) {
                if (!(other instanceof AbortSignal)) throw new TypeError('Not an AbortSignal');
            }
            const first = list.find(other => other.aborted);
            if (first !== undefined) abort(signal, first.reason);
            else for (const other of list) {
                signals.get(other).actions.push(() => abort(signal, other.reason));
            }
            return signal;
        }
        get aborted() { return signals.get(this).aborted }
        get reason() { return signals.get(this).reason }
        throwIfAborted() {
            if (this.aborted) throw this.reason;
        }
    }
    handler(AbortSignal.prototype, 'abort');

    class AbortController {
        #signal = makeSignal();
        get signal() { return this.#signal }
        abort(reason = aborted()) { abort(this.#signal, reason) }
    }

    const classes = { Event, CustomEvent, EventTarget, AbortSignal, AbortController };
    for (const [name, { prototype }] of Object.entries(classes)) {
        Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
    }
    return classes;
})
