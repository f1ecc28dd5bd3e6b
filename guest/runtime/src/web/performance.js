(({ now }) => {
    const timeOrigin = Date.now() - now();
    class Performance {
        get timeOrigin() { return timeOrigin }
        now() { return now() }
        toJSON() { return { timeOrigin } }
    }
    Object.defineProperty(Performance.prototype, Symbol.toStringTag, {
        value: 'Performance', configurable: true,
    });
    return { performance: new Performance() };
})
