//! Built-ins captured before any user code ran, so that a script which replaces
//! `Map.prototype.entries` or `Date.prototype.toISOString` changes nothing about how values are
//! shown.

use crate::raw;
use javy::quickjs::function::This;
use javy::quickjs::{Ctx, Function, IntoJs, Object, Persistent, Result, Value};

/// An expression that gives everything captured, under the names of [`Primordials`]' fields.
const CAPTURE: &str = "(() => {
    const getter = (object, key) => Object.getOwnPropertyDescriptor(object, key).get;
    const TypedArray = Object.getPrototypeOf(Uint8Array);
    const apply = Reflect.apply;
    const flags = [
        ['d', 'hasIndices'], ['g', 'global'], ['i', 'ignoreCase'], ['m', 'multiline'],
        ['s', 'dotAll'], ['u', 'unicode'], ['v', 'unicodeSets'], ['y', 'sticky'],
    ].map(([letter, name]) => ({ letter, read: getter(RegExp.prototype, name) }));
    return {
        map_entries: Map.prototype.entries,
        map_next: new Map().entries().next,
        map_size: getter(Map.prototype, 'size'),
        set_values: Set.prototype.values,
        set_next: new Set().values().next,
        set_size: getter(Set.prototype, 'size'),
        date_to_iso: Date.prototype.toISOString,
        regexp_source: getter(RegExp.prototype, 'source'),
        // The built-in getter of `flags` reads the other getters, which a script may replace.
        regexp_flags: function () {
            let text = '';
            for (let i = 0; i < flags.length; i++) {
                if (apply(flags[i].read, this, [])) text += flags[i].letter;
            }
            return text;
        },
        typed_array_length: getter(TypedArray.prototype, 'length'),
        typed_array_at: TypedArray.prototype.at,
        typed_array_name: getter(TypedArray.prototype, Symbol.toStringTag),
        buffer_length: getter(ArrayBuffer.prototype, 'byteLength'),
        shared_buffer_length: getter(SharedArrayBuffer.prototype, 'byteLength'),
        buffer_bytes: (Uint8Array => function () { return new Uint8Array(this) })(Uint8Array),
        view_length: getter(DataView.prototype, 'byteLength'),
        view_offset: getter(DataView.prototype, 'byteOffset'),
        view_buffer: getter(DataView.prototype, 'buffer'),
        function_source: Function.prototype.toString,
        is_enumerable: Object.prototype.propertyIsEnumerable,
        number_value: Number.prototype.valueOf,
        string_value: String.prototype.valueOf,
        boolean_value: Boolean.prototype.valueOf,
        symbol_value: Symbol.prototype.valueOf,
        symbol_description: getter(Symbol.prototype, 'description'),
        bigint_value: BigInt.prototype.valueOf,
        to_number: Number,
        string_length: function () { 'use strict'; return this.length },
        string_slice: String.prototype.slice,
        parse_int: parseInt,
        parse_float: parseFloat,
        json_stringify: JSON.stringify,
        json_parse: JSON.parse,
        symbol_to_string_tag: Symbol.toStringTag,
        object_prototype: Object.prototype,
        function_prototype: Function.prototype,
        error_prototype: Error.prototype,
    };
})()";

macro_rules! primordials {
    (functions: $($name:ident),*; values: $($value:ident),* $(,)?) => {
        /// What was captured.
        pub(crate) struct Primordials {
            $(pub(crate) $name: Primordial,)*
            $(pub(crate) $value: Captured,)*
        }

        impl Primordials {
            /// Captures them from a realm that no user code has run in.
            pub(crate) fn capture(ctx: &Ctx<'_>) -> Result<Self> {
                let all: Object = ctx.eval(CAPTURE)?;
                Ok(Self {
                    $($name: Primordial(Persistent::save(ctx, all.get::<_, Function>(stringify!($name))?)),)*
                    $($value: Captured(Persistent::save(ctx, all.get::<_, Value>(stringify!($value))?)),)*
                })
            }
        }
    };
}

primordials!(
    functions:
    map_entries,
    map_next,
    map_size,
    set_values,
    set_next,
    set_size,
    date_to_iso,
    regexp_source,
    regexp_flags,
    typed_array_length,
    typed_array_at,
    typed_array_name,
    buffer_length,
    shared_buffer_length,
    buffer_bytes,
    view_length,
    view_offset,
    view_buffer,
    function_source,
    is_enumerable,
    number_value,
    string_value,
    boolean_value,
    symbol_value,
    symbol_description,
    bigint_value,
    to_number,
    string_length,
    string_slice,
    parse_int,
    parse_float,
    json_stringify,
    json_parse;
    values:
    symbol_to_string_tag,
    object_prototype,
    function_prototype,
    error_prototype,
);

/// One captured value that is no function to call.
pub(crate) struct Captured(Persistent<Value<'static>>);

impl Captured {
    /// The value itself.
    pub(crate) fn restore<'js>(&self, ctx: &Ctx<'js>) -> Option<Value<'js>> {
        self.0.clone().restore(ctx).ok()
    }
}

/// One captured function.
pub(crate) struct Primordial(Persistent<Function<'static>>);

impl Primordial {
    /// Calls it with `this`; an exception is swallowed, since showing a value must not fail.
    pub(crate) fn call<'js>(&self, this: &Value<'js>) -> Option<Value<'js>> {
        let function = self.restore(this.ctx())?;
        swallow(this.ctx(), function.call((This(this.clone()),)))
    }

    /// Calls it with `this` and an argument; an exception is swallowed.
    pub(crate) fn call_with<'js, A>(&self, this: &Value<'js>, argument: A) -> Option<Value<'js>>
    where
        A: IntoJs<'js>,
    {
        let function = self.restore(this.ctx())?;
        swallow(this.ctx(), function.call((This(this.clone()), argument)))
    }

    /// Calls it with `this` and two arguments; an exception is swallowed.
    pub(crate) fn call_with_two<'js>(
        &self,
        this: &Value<'js>,
        a: u32,
        b: u32,
    ) -> Option<Value<'js>> {
        let function = self.restore(this.ctx())?;
        swallow(this.ctx(), function.call((This(this.clone()), a, b)))
    }

    /// Calls it as a plain function with an argument; an exception is swallowed.
    pub(crate) fn of<'js>(&self, argument: &Value<'js>) -> Option<Value<'js>> {
        let function = self.restore(argument.ctx())?;
        swallow(argument.ctx(), function.call((argument.clone(),)))
    }

    /// Calls it and reads the result's text.
    pub(crate) fn text(&self, this: &Value<'_>) -> Option<String> {
        self.call(this).and_then(|value| raw::string_bytes(&value)).map(|b| crate::text::lossy(&b))
    }

    /// The function itself.
    pub(crate) fn restore<'js>(&self, ctx: &Ctx<'js>) -> Option<Function<'js>> {
        self.0.clone().restore(ctx).ok()
    }
}

fn swallow<'js>(ctx: &Ctx<'js>, result: Result<Value<'js>>) -> Option<Value<'js>> {
    if result.is_err() {
        ctx.catch();
    }
    result.ok()
}
