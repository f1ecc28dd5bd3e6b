//! What an object is, and the name it is shown under.

use super::Inspector;
use crate::raw;
use javy::quickjs::Value;

/// QuickJS's class numbers (`enum` at the top of quickjs.c of 0.15.1) of the classes that its
/// interface has no predicate for. The tests of previews would show a number that moved.
mod id {
    pub(super) const NUMBER: u32 = 4;
    pub(super) const STRING: u32 = 5;
    pub(super) const BOOLEAN: u32 = 6;
    pub(super) const SYMBOL: u32 = 7;
    pub(super) const ARGUMENTS: u32 = 8;
    pub(super) const MAPPED_ARGUMENTS: u32 = 9;
    pub(super) const DATE: u32 = 10;
    pub(super) const MODULE_NAMESPACE: u32 = 11;
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
    pub(super) const GENERATOR: u32 = 49;
    pub(super) const ASYNC_GENERATOR: u32 = 60;
    pub(super) const WEAK_REF: u32 = 62;
}

/// How an object is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Arguments,
    Array,
    ArrayBuffer,
    Boxed,
    Date,
    Error,
    Function,
    Generator,
    Map,
    ModuleNamespace,
    Object,
    Promise,
    RegExp,
    Set,
    TypedArray,
    Weak,
}

/// Whether a value is a `Date`.
pub(crate) fn is_date(value: &Value<'_>) -> bool {
    class(value) == Class::Date
}

/// Whether a value is an object around a primitive.
pub(crate) fn is_boxed(value: &Value<'_>) -> bool {
    class(value) == Class::Boxed
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
        | Class::Generator
        | Class::ModuleNamespace
        | Class::Object
        | Class::RegExp
        | Class::TypedArray
        | Class::Weak => 9,
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
        id::ARRAY_BUFFER | id::SHARED_ARRAY_BUFFER => Class::ArrayBuffer,
        id::FIRST_TYPED_ARRAY..=id::LAST_TYPED_ARRAY => Class::TypedArray,
        id::MAP => Class::Map,
        id::SET => Class::Set,
        id::WEAK_MAP | id::WEAK_SET | id::WEAK_REF => Class::Weak,
        id::GENERATOR | id::ASYNC_GENERATOR => Class::Generator,
        id::DATA_VIEW => Class::Object,
        _ => Class::Object,
    }
}

/// The name a built-in class has when an object's own chain tells none.
fn fallback(kind: Class) -> &'static str {
    match kind {
        Class::Arguments => "Arguments",
        Class::Array => "Array",
        Class::ArrayBuffer => "ArrayBuffer",
        Class::Date => "Date",
        Class::Error => "Error",
        Class::Function => "Function",
        Class::Map => "Map",
        Class::ModuleNamespace => "Module",
        Class::Promise => "Promise",
        Class::RegExp => "RegExp",
        Class::Set => "Set",
        Class::TypedArray => "TypedArray",
        Class::Boxed | Class::Generator | Class::Object | Class::Weak => "Object",
    }
}

impl<'js> Inspector<'_, 'js> {
    /// The name of an object's constructor, found without running user code; `None` when its
    /// prototype chain ends before one is met.
    pub(super) fn constructor_name(&self, value: &Value<'js>) -> Option<String> {
        const MAX_CHAIN: usize = 100;
        let mut object = value.clone();
        for _ in 0..MAX_CHAIN {
            if let Some(constructor) = raw::own_data(&object, "constructor")
                && constructor.is_function()
                && !constructor.is_proxy()
                && let Some(name) = raw::own_data(&constructor, "name")
                && let Some(bytes) = raw::string_bytes(&name)
                && !bytes.is_empty()
            {
                return Some(crate::text::lossy(&bytes));
            }
            object = raw::prototype(&object)?;
            if object.is_proxy() {
                return None;
            }
        }
        None
    }

    /// `Name `, `Name(size) `, `[Name: null prototype] `, with the tag when it says more.
    pub(super) fn prefix(&self, value: &Value<'js>, kind: Class, size: Option<usize>) -> String {
        let size = size.map(|size| format!("({size})")).unwrap_or_default();
        let constructor = self.constructor_name(value);
        let tag = self.to_string_tag(value).filter(|tag| Some(tag) != constructor.as_ref());
        let tag = tag.map(|tag| format!("[{tag}] ")).unwrap_or_default();
        match constructor {
            Some(name) => format!("{name}{size} {tag}"),
            None => format!("[{}{size}: null prototype] {tag}", fallback(kind)),
        }
    }

    /// What stands for an object that is nested too deep.
    pub(super) fn summary(&self, value: &Value<'js>, kind: Class) -> String {
        match kind {
            Class::Array if self.constructor_name(value).as_deref() == Some("Array") => "Array".to_owned(),
            _ => self.prefix(value, kind, None).trim_end().to_owned(),
        }
    }

    /// The `Symbol.toStringTag` of an object when it is a data property of it or of its chain.
    fn to_string_tag(&self, value: &Value<'js>) -> Option<String> {
        const MAX_CHAIN: usize = 100;
        let symbol = self.primordials.symbol_to_string_tag.clone().restore(self.ctx).ok()?;
        let mut object = value.clone();
        for _ in 0..MAX_CHAIN {
            match raw::own_property(&object, &symbol) {
                Some(raw::Property::Data(tag)) => {
                    let bytes = raw::string_bytes(&tag).filter(|bytes| !bytes.is_empty())?;
                    return Some(crate::text::lossy(&bytes));
                }
                Some(raw::Property::Accessor { .. }) => return None,
                None => object = raw::prototype(&object).filter(|object| !object.is_proxy())?,
            }
        }
        None
    }
}
