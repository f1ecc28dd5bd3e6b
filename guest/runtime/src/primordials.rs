//! Built-in functions captured before any user code ran, so that a script which replaces
//! `Map.prototype.entries` or `Date.prototype.toISOString` changes nothing about how values are
//! shown.

use crate::raw;
use javy::quickjs::function::This;
use javy::quickjs::{Ctx, Function, IntoJs, Object, Persistent, Result, Value};

/// An expression that gives every function captured, in the order of [`Primordials`]' fields.
const CAPTURE: &str = "(() => {
    const getter = (object, key) => Object.getOwnPropertyDescriptor(object, key).get;
    const TypedArray = Object.getPrototypeOf(Uint8Array);
    return {
        map_entries: Map.prototype.entries,
        map_next: new Map().entries().next,
        map_size: getter(Map.prototype, 'size'),
        set_values: Set.prototype.values,
        set_next: new Set().values().next,
        set_size: getter(Set.prototype, 'size'),
        date_to_iso: Date.prototype.toISOString,
        regexp_source: getter(RegExp.prototype, 'source'),
        regexp_flags: getter(RegExp.prototype, 'flags'),
        typed_array_length: getter(TypedArray.prototype, 'length'),
        typed_array_at: TypedArray.prototype.at,
        buffer_length: getter(ArrayBuffer.prototype, 'byteLength'),
        buffer_bytes: (Uint8Array => buffer => new Uint8Array(buffer))(Uint8Array),
        function_source: Function.prototype.toString,
        number_value: Number.prototype.valueOf,
        string_value: String.prototype.valueOf,
        boolean_value: Boolean.prototype.valueOf,
        symbol_value: Symbol.prototype.valueOf,
        symbol_description: getter(Symbol.prototype, 'description'),
        bigint_value: BigInt.prototype.valueOf,
        json_stringify: JSON.stringify,
        json_parse: JSON.parse,
        symbol_to_string_tag: Symbol.toStringTag,
    };
})()";

macro_rules! primordials {
    ($($name:ident),* $(,)?) => {
        /// The captured functions.
        pub(crate) struct Primordials {
            $(pub(crate) $name: Primordial,)*
            /// `Symbol.toStringTag`, the one captured value that is no function.
            pub(crate) symbol_to_string_tag: Persistent<Value<'static>>,
        }

        impl Primordials {
            /// Captures them from a realm that no user code has run in.
            pub(crate) fn capture(ctx: &Ctx<'_>) -> Result<Self> {
                let all: Object = ctx.eval(CAPTURE)?;
                Ok(Self {
                    $($name: Primordial(Persistent::save(ctx, all.get::<_, Function>(stringify!($name))?)),)*
                    symbol_to_string_tag:
                        Persistent::save(ctx, all.get::<_, Value>("symbol_to_string_tag")?),
                })
            }
        }
    };
}

primordials!(
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
    buffer_length,
    buffer_bytes,
    function_source,
    number_value,
    string_value,
    boolean_value,
    symbol_value,
    symbol_description,
    bigint_value,
    json_stringify,
    json_parse,
);

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
