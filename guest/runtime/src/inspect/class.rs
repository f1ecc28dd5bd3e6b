//! What an object is, and the number the host knows its type under.

use crate::raw;
use javy::quickjs::Value;

/// QuickJS's class numbers (`enum` at the top of quickjs.c of 0.15.1) of the classes that its
/// interface has no predicate for. The tests of previews would show a number that moved.
mod id {
    pub(super) const OBJECT: u32 = 1;
    pub(super) const NUMBER: u32 = 4;
    pub(super) const STRING: u32 = 5;
    pub(super) const BOOLEAN: u32 = 6;
    pub(super) const SYMBOL: u32 = 7;
    pub(super) const ARGUMENTS: u32 = 8;
    pub(super) const MAPPED_ARGUMENTS: u32 = 9;
    pub(super) const DATE: u32 = 10;
    pub(super) const MODULE_NAMESPACE: u32 = 11;
    pub(super) const GENERATOR_FUNCTION: u32 = 17;
    pub(super) const REGEXP: u32 = 19;
    pub(super) const ARRAY_BUFFER: u32 = 20;
    pub(super) const SHARED_ARRAY_BUFFER: u32 = 21;
    pub(super) const FIRST_TYPED_ARRAY: u32 = 22;
    pub(super) const LAST_TYPED_ARRAY: u32 = 33;
    pub(super) const DATA_VIEW: u32 = 34;
    pub(super) const BIG_INT: u32 = 35;
    pub(super) const MAP: u32 = 36;
    pub(super) const SET: u32 = 37;
    pub(super) const WEAK_MAP: u32 = 38;
    pub(super) const WEAK_SET: u32 = 39;
    pub(super) const ASYNC_FUNCTION: u32 = 55;
    pub(super) const ASYNC_GENERATOR_FUNCTION: u32 = 59;
}

/// How an object is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Arguments,
    Array,
    ArrayBuffer,
    Boxed,
    DataView,
    Date,
    Error,
    Function,
    Map,
    ModuleNamespace,
    Object,
    Promise,
    RegExp,
    Set,
    SharedArrayBuffer,
    TypedArray,
    WeakMap,
    WeakSet,
}

/// Whether a value is a `Date`.
pub(crate) fn is_date(value: &Value<'_>) -> bool {
    class(value) == Class::Date
}

/// Whether a value is an object around a primitive.
pub(crate) fn is_boxed(value: &Value<'_>) -> bool {
    class(value) == Class::Boxed
}

/// A word for what a value is, for the scripts of [`crate::web`].
pub(crate) fn class_name(value: &Value<'_>) -> &'static str {
    if !value.is_object() {
        return "primitive";
    }
    match class(value) {
        Class::Arguments | Class::Object if value.is_proxy() => "proxy",
        Class::Arguments | Class::Object if raw::class_id(value) != id::OBJECT => "other",
        Class::Arguments | Class::Object => "object",
        Class::Array => "array",
        Class::ArrayBuffer => "buffer",
        Class::Boxed => "boxed",
        Class::DataView => "view",
        Class::Date => "date",
        Class::Error => "error",
        Class::Function => "function",
        Class::Map => "map",
        Class::ModuleNamespace => "namespace",
        Class::Promise => "promise",
        Class::RegExp => "regexp",
        Class::Set => "set",
        Class::SharedArrayBuffer => "shared",
        Class::TypedArray => "typed",
        Class::WeakMap => "weakmap",
        Class::WeakSet => "weakset",
    }
}

/// The number the host knows an object's type under.
pub(crate) fn object_type(value: &Value<'_>) -> u32 {
    match class(value) {
        Class::Array => 8,
        Class::Date => 10,
        Class::Error => 11,
        Class::Map => 12,
        Class::Set => 13,
        Class::Promise => 14,
        Class::Function => 7,
        Class::Arguments
        | Class::ArrayBuffer
        | Class::Boxed
        | Class::DataView
        | Class::ModuleNamespace
        | Class::Object
        | Class::RegExp
        | Class::SharedArrayBuffer
        | Class::TypedArray
        | Class::WeakMap
        | Class::WeakSet => 9,
    }
}

pub(super) fn class(value: &Value<'_>) -> Class {
    if value.is_array() {
        return Class::Array;
    }
    if value.is_function() {
        return Class::Function;
    }
    if value.is_error() {
        return Class::Error;
    }
    if value.is_promise() {
        return Class::Promise;
    }
    match raw::class_id(value) {
        id::NUMBER | id::STRING | id::BOOLEAN | id::SYMBOL | id::BIG_INT => Class::Boxed,
        id::ARGUMENTS | id::MAPPED_ARGUMENTS => Class::Arguments,
        id::DATE => Class::Date,
        id::MODULE_NAMESPACE => Class::ModuleNamespace,
        id::REGEXP => Class::RegExp,
        id::ARRAY_BUFFER => Class::ArrayBuffer,
        id::SHARED_ARRAY_BUFFER => Class::SharedArrayBuffer,
        id::FIRST_TYPED_ARRAY..=id::LAST_TYPED_ARRAY => Class::TypedArray,
        id::DATA_VIEW => Class::DataView,
        id::MAP => Class::Map,
        id::SET => Class::Set,
        id::WEAK_MAP => Class::WeakMap,
        id::WEAK_SET => Class::WeakSet,
        _ => Class::Object,
    }
}

/// What kind of function it is, by the name of its class.
pub(super) fn function_kind(function: &Value<'_>) -> &'static str {
    match raw::class_id(function) {
        id::GENERATOR_FUNCTION => "GeneratorFunction",
        id::ASYNC_FUNCTION => "AsyncFunction",
        id::ASYNC_GENERATOR_FUNCTION => "AsyncGeneratorFunction",
        _ => "Function",
    }
}
