//! What a value is reported as: its type, its preview, its JSON. The previews are those of Node
//! 20's `util.inspect` with its defaults; where one differs on purpose, a comment says how.

use crate::sessions::Sessions;
use serde_json::json;
use vm_storage::{ExecutionStatus, ValueType};

/// Checks inputs against the previews of their values, each in a session of its own, so that one
/// may declare or break what it likes.
async fn check(rows: &[(&str, &str)]) {
    let sessions = Sessions::start().await;
    for (input, preview) in rows {
        let value = sessions.value(input).await;
        assert_eq!(value.preview, *preview, "the preview of {input}");
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn primitives_are_shown_as_literals() {
    check(&[
        ("0", "0"),
        ("-0", "-0"),
        ("[-0]", "[ -0 ]"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e21", "1e+21"),
        ("1e-7", "1e-7"),
        ("0.1+0.2", "0.30000000000000004"),
        ("123456789012345680000", "123456789012345680000"),
        ("10n", "10n"),
        ("-10n", "-10n"),
        ("2n**70n", "1180591620717411303424n"),
        ("true", "true"),
        ("undefined", "undefined"),
        ("null", "null"),
        ("Symbol()", "Symbol()"),
        ("Symbol('a b')", "Symbol(a b)"),
        (r"Symbol('a\nb')", "Symbol(a\nb)"),
        ("Symbol.for('reg')", "Symbol(reg)"),
        ("Symbol.iterator", "Symbol(Symbol.iterator)"),
        ("[Symbol('')]", "[ Symbol() ]"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn strings_are_quoted_escaped_and_broken_at_their_lines() {
    check(&[
        ("''", "''"),
        ("'abc'", "'abc'"),
        (r#""it's""#, r#""it's""#),
        (r#""it's \"x\"""#, r#"`it's "x"`"#),
        (r#""it's \"x\" `y`""#, r#"'it\'s "x" `y`'"#),
        (r#"'it\'s "x" ${y}'"#, r#"'it\'s "x" ${y}'"#),
        (r"'a\nb\tc\0\x1b\x7f\x85\b\f\v\\'", r"'a\nb\tc\x00\x1B\x7F\x85\b\f\x0B\\'"),
        (r"'\ud800'", r"'\ud800'"),
        (r"'a\udc00b'", r"'a\udc00b'"),
        ("'😀é'", "'😀é'"),
        ("'x'.repeat(200)", "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"),
        (r"'line one\nline two\nline three'", r"'line one\nline two\nline three'"),
        (r"['line one\nline two\nline three', 'a\nb']", r"[ 'line one\nline two\nline three', 'a\nb' ]"),
        (r"({a: 'first line of a long text\nsecond line of a long text\nthird line of a long text which ends here'})", "{\n  a: 'first line of a long text\\n' +\n    'second line of a long text\\n' +\n    'third line of a long text which ends here'\n}"),
        ("['a long string without line breaks that is longer than eighty columns, so that it breaks the line']", "[\n  'a long string without line breaks that is longer than eighty columns, so that it breaks the line'\n]"),
        (r"'x'.repeat(70) + '\n' + 'y'.repeat(70)", "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\\n' +\n  'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy'"),
        (r#"'it\'s ' + 'x'.repeat(80) + '\n"q"'"#, "\"it's xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\\n\" +\n  '\"q\"'"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn functions_and_classes_are_shown_by_kind_and_name() {
    check(&[
        ("(function(){})", "[Function (anonymous)]"),
        ("(function f(){})", "[Function: f]"),
        ("(() => {})", "[Function (anonymous)]"),
        ("let arrow = () => {}; arrow", "[Function: arrow]"),
        ("(async () => {})", "[AsyncFunction (anonymous)]"),
        ("(async function af(){})", "[AsyncFunction: af]"),
        ("(function* g(){})", "[GeneratorFunction: g]"),
        ("(async function* ag(){})", "[AsyncGeneratorFunction: ag]"),
        ("(function f(){}).bind(null)", "[Function: bound f]"),
        ("(class {})", "[class (anonymous)]"),
        ("(class A {})", "[class A]"),
        ("class A {}; (class B extends A {})", "[class B extends A]"),
        ("(class extends Array {})", "[class (anonymous) extends Array]"),
        ("(class N extends null {})", "[class N]"),
        ("class P {}; (class extends P {})", "[class (anonymous) extends P]"),
        ("Object.assign(function f(){}, {a: 1, b: 'x'})", "[Function: f] { a: 1, b: 'x' }"),
        ("Object.assign(class K {}, {a: 1})", "[class K] { a: 1 }"),
        ("(class K { static x = 1; static m() {} })", "[class K] { x: 1 }"),
        ("parseInt", "[Function: parseInt]"),
        ("Math.max", "[Function: max]"),
        ("Array", "[Function: Array]"),
        ("Proxy", "[Function: Proxy]"),
        ("({m(){}}).m", "[Function: m]"),
        ("Object.getOwnPropertyDescriptor({get x(){return 1}}, 'x').get", "[Function: get x]"),
        ("Object.setPrototypeOf(function f(){}, null)", "[Function (null prototype): f]"),
        ("class Fx extends Function {}; new Fx()", "[Function: anonymous] Fx"),
        ("(function f(){}).prototype", "{}"),
        ("(class A { m(){} }).prototype", "{}"),
        ("class D1 {}; class E1 extends D1 {}; E1.prototype", "D1 {}"),
        ("Object.assign(()=>{}, {[Symbol.toStringTag]: 'Tag'})", "[Function (anonymous)] { [Symbol(Symbol.toStringTag)]: 'Tag' }"),
        ("Function.prototype", "[Function (anonymous)] Object"),
        ("(async () => {}).constructor", "[Function: AsyncFunction]"),
        ("Object.setPrototypeOf(class A {}, null)", "[class A extends [null prototype]]"),
        ("({f(){}, g: () => {}, async h(){}, *i(){}, j: class {}, k: class L {}})", "{\n  f: [Function: f],\n  g: [Function: g],\n  h: [AsyncFunction: h],\n  i: [GeneratorFunction: i],\n  j: [class j],\n  k: [class L]\n}"),
        // A method whose name begins like a class is none.
        ("({classy(a) { return {} }}).classy", "[Function: classy]"),
        // Node calls the getter, or writes `[object Object]` and the source of a method.
        ("class A { static name = {a: 1} }; A", "[class (anonymous)] { name: { a: 1 } }"),
        ("class B { static get name() { throw 1 } }; B", "[class (anonymous)]"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn arrays_are_shown_by_element_with_their_holes_and_keys() {
    check(&[
        ("[]", "[]"),
        ("[1, 2, 3]", "[ 1, 2, 3 ]"),
        ("[1, 'a', null, undefined, true, 1n]", "[ 1, 'a', null, undefined, true, 1n ]"),
        ("[[1, [2, [3, [4, [5]]]]]]", "[ [ 1, [ 2, [Array] ] ] ]"),
        ("[1, , 3]", "[ 1, <1 empty item>, 3 ]"),
        ("[, ,]", "[ <2 empty items> ]"),
        ("new Array(5)", "[ <5 empty items> ]"),
        ("[1, , , , 5]", "[ 1, <3 empty items>, 5 ]"),
        ("[,'a']", "[ <1 empty item>, 'a' ]"),
        ("['a',,'b',,]", "[ 'a', <1 empty item>, 'b', <1 empty item> ]"),
        ("Object.assign([1, 2], {extra: 'x', [Symbol('s')]: 1})", "[ 1, 2, extra: 'x', [Symbol(s)]: 1 ]"),
        ("Object.assign([1,,2], {extra: 'x'})", "[ 1, <1 empty item>, 2, extra: 'x' ]"),
        ("Object.assign(Array.from({length: 120}, (_, i) => i), {extra: 'x'})", "[\n                  0,  1,  2,  3,\n                  4,  5,  6,  7,\n                  8,  9, 10, 11,\n                 12, 13, 14, 15,\n                 16, 17, 18, 19,\n                 20, 21, 22, 23,\n                 24, 25, 26, 27,\n                 28, 29, 30, 31,\n                 32, 33, 34, 35,\n                 36, 37, 38, 39,\n                 40, 41, 42, 43,\n                 44, 45, 46, 47,\n                 48, 49, 50, 51,\n                 52, 53, 54, 55,\n                 56, 57, 58, 59,\n                 60, 61, 62, 63,\n                 64, 65, 66, 67,\n                 68, 69, 70, 71,\n                 72, 73, 74, 75,\n                 76, 77, 78, 79,\n                 80, 81, 82, 83,\n                 84, 85, 86, 87,\n                 88, 89, 90, 91,\n                 92, 93, 94, 95,\n                 96, 97, 98, 99,\n  ... 20 more items,\n  extra: 'x'\n]"),
        ("[undefined, null]", "[ undefined, null ]"),
        ("[[]]", "[ [] ]"),
        ("[[[]]]", "[ [ [] ] ]"),
        ("[[[[]]]]", "[ [ [ [] ] ] ]"),
        ("[[[{}]]]", "[ [ [ {} ] ] ]"),
        ("[[[{a: 1}]]]", "[ [ [ [Object] ] ] ]"),
        ("class MyA extends Array {}; MyA.from([1, 2])", "MyA(2) [ 1, 2 ]"),
        ("class MyA2 extends Array {}; new MyA2()", "MyA2(0) []"),
        ("class MyA3 extends Array {}; [[[[MyA3.from([1])]]]]", "[ [ [ [Array] ] ] ]"),
        ("Object.create(Array.prototype)", "Array {}"),
        ("Array.prototype", "Object(0) []"),
        ("Object.setPrototypeOf([1, 2], null)", "[Array(2): null prototype] [ 1, 2 ]"),
        ("let sp = [1]; sp[1000] = 2; sp", "[ 1, <999 empty items>, 2 ]"),
        ("let sq = []; sq[4294967294] = 1; sq", "[ <4294967294 empty items>, 1 ]"),
        ("let sr = [1,2,3]; sr['01'] = 5; sr[-1] = 4; sr['4294967295'] = 1; sr", "[ 1, 2, 3, '01': 5, '-1': 4, '4294967295': 1 ]"),
        ("let ga = [1]; Object.defineProperty(ga, 0, {get(){ throw 1 }, enumerable: true}); ga", "[ [Getter] ]"),
        ("let na=[1,2]; Object.defineProperty(na, 0, {value: 1, enumerable: false}); na", "[ 1, 2 ]"),
        ("/(a)(?<n>b)/.exec('xab')", "[\n  'ab',\n  'a',\n  'b',\n  index: 1,\n  input: 'xab',\n  groups: [Object: null prototype] { n: 'b' }\n]"),
        ("Array.from({length: 110}, (_, i) => i % 2 ? i : undefined)", "[\n  undefined, 1,  undefined, 3,  undefined, 5,\n  undefined, 7,  undefined, 9,  undefined, 11,\n  undefined, 13, undefined, 15, undefined, 17,\n  undefined, 19, undefined, 21, undefined, 23,\n  undefined, 25, undefined, 27, undefined, 29,\n  undefined, 31, undefined, 33, undefined, 35,\n  undefined, 37, undefined, 39, undefined, 41,\n  undefined, 43, undefined, 45, undefined, 47,\n  undefined, 49, undefined, 51, undefined, 53,\n  undefined, 55, undefined, 57, undefined, 59,\n  undefined, 61, undefined, 63, undefined, 65,\n  undefined, 67, undefined, 69, undefined, 71,\n  undefined, 73, undefined, 75, undefined, 77,\n  undefined, 79, undefined, 81, undefined, 83,\n  undefined, 85, undefined, 87, undefined, 89,\n  undefined, 91, undefined, 93, undefined, 95,\n  undefined, 97, undefined, 99,\n  ... 10 more items\n]"),
        ("let hp = []; for (let i = 0; i < 200; i++) hp[i] = i; delete hp[50]; hp", "[\n  0,              1,  2,  3,  4,\n  5,              6,  7,  8,  9,\n  10,             11, 12, 13, 14,\n  15,             16, 17, 18, 19,\n  20,             21, 22, 23, 24,\n  25,             26, 27, 28, 29,\n  30,             31, 32, 33, 34,\n  35,             36, 37, 38, 39,\n  40,             41, 42, 43, 44,\n  45,             46, 47, 48, 49,\n  <1 empty item>, 51, 52, 53, 54,\n  55,             56, 57, 58, 59,\n  60,             61, 62, 63, 64,\n  65,             66, 67, 68, 69,\n  70,             71, 72, 73, 74,\n  75,             76, 77, 78, 79,\n  80,             81, 82, 83, 84,\n  85,             86, 87, 88, 89,\n  90,             91, 92, 93, 94,\n  95,             96, 97, 98, 99,\n  ... 100 more items\n]"),
        ("let hq = Array.from({length: 100}, (_, i) => i); hq.length = 150; hq", "[\n  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,\n  12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,\n  24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,\n  36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,\n  48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59,\n  60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71,\n  72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83,\n  84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95,\n  96, 97, 98, 99,\n  ... 50 more items\n]"),
        ("let hr = Array.from({length: 99}, (_, i) => i); hr.length = 150; hr", "[\n  0,  1,  2,  3,\n  4,  5,  6,  7,\n  8,  9,  10, 11,\n  12, 13, 14, 15,\n  16, 17, 18, 19,\n  20, 21, 22, 23,\n  24, 25, 26, 27,\n  28, 29, 30, 31,\n  32, 33, 34, 35,\n  36, 37, 38, 39,\n  40, 41, 42, 43,\n  44, 45, 46, 47,\n  48, 49, 50, 51,\n  52, 53, 54, 55,\n  56, 57, 58, 59,\n  60, 61, 62, 63,\n  64, 65, 66, 67,\n  68, 69, 70, 71,\n  72, 73, 74, 75,\n  76, 77, 78, 79,\n  80, 81, 82, 83,\n  84, 85, 86, 87,\n  88, 89, 90, 91,\n  92, 93, 94, 95,\n  96, 97, 98, <51 empty items>\n]"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn arrays_of_more_than_six_elements_are_set_in_columns() {
    check(&[
        ("Array.from({length: 7}, (_, i) => i)", "[\n  0, 1, 2, 3,\n  4, 5, 6\n]"),
        ("Array.from({length: 20}, (_, i) => i * 100)", "[\n     0,  100,  200,  300,  400,\n   500,  600,  700,  800,  900,\n  1000, 1100, 1200, 1300, 1400,\n  1500, 1600, 1700, 1800, 1900\n]"),
        ("Array.from({length: 100}, (_, i) => i)", "[\n   0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11,\n  12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,\n  24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,\n  36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,\n  48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59,\n  60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71,\n  72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83,\n  84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95,\n  96, 97, 98, 99\n]"),
        ("Array.from({length: 150}, (_, i) => i)", "[\n   0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11,\n  12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,\n  24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,\n  36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,\n  48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59,\n  60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71,\n  72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83,\n  84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95,\n  96, 97, 98, 99,\n  ... 50 more items\n]"),
        ("['apple', 'banana', 'cherry', 'date', 'elderberry', 'fig', 'grape']", "[ 'apple', 'banana', 'cherry', 'date', 'elderberry', 'fig', 'grape' ]"),
        ("Array.from({length: 30}, (_, i) => 'item' + i)", "[\n  'item0',  'item1',  'item2',\n  'item3',  'item4',  'item5',\n  'item6',  'item7',  'item8',\n  'item9',  'item10', 'item11',\n  'item12', 'item13', 'item14',\n  'item15', 'item16', 'item17',\n  'item18', 'item19', 'item20',\n  'item21', 'item22', 'item23',\n  'item24', 'item25', 'item26',\n  'item27', 'item28', 'item29'\n]"),
        ("Array.from({length: 10}, (_, i) => 'x'.repeat(i * 3))", "[\n  '',\n  'xxx',\n  'xxxxxx',\n  'xxxxxxxxx',\n  'xxxxxxxxxxxx',\n  'xxxxxxxxxxxxxxx',\n  'xxxxxxxxxxxxxxxxxx',\n  'xxxxxxxxxxxxxxxxxxxxx',\n  'xxxxxxxxxxxxxxxxxxxxxxxx',\n  'xxxxxxxxxxxxxxxxxxxxxxxxxxx'\n]"),
        ("Array.from({length: 30}, (_, i) => 2n ** BigInt(i))", "[\n          1n,         2n,         4n,\n          8n,        16n,        32n,\n         64n,       128n,       256n,\n        512n,      1024n,      2048n,\n       4096n,      8192n,     16384n,\n      32768n,     65536n,    131072n,\n     262144n,    524288n,   1048576n,\n    2097152n,   4194304n,   8388608n,\n   16777216n,  33554432n,  67108864n,\n  134217728n, 268435456n, 536870912n\n]"),
        ("Array.from({length: 8}, (_, i) => i % 2 ? i : 's' + i)", "[\n  's0', 1,    's2',\n  3,    's4', 5,\n  's6', 7\n]"),
        ("Array.from({length: 12}, (_, i) => ({id: i}))", "[\n  { id: 0 },  { id: 1 },\n  { id: 2 },  { id: 3 },\n  { id: 4 },  { id: 5 },\n  { id: 6 },  { id: 7 },\n  { id: 8 },  { id: 9 },\n  { id: 10 }, { id: 11 }\n]"),
        ("Array.from({length: 3}, (_, i) => ({id: i, name: 'name ' + i, tags: ['a', 'b']}))", "[\n  { id: 0, name: 'name 0', tags: [ 'a', 'b' ] },\n  { id: 1, name: 'name 1', tags: [ 'a', 'b' ] },\n  { id: 2, name: 'name 2', tags: [ 'a', 'b' ] }\n]"),
        ("Array.from({length: 10}, (_, i) => [i, i * i])", "[\n  [ 0, 0 ],  [ 1, 1 ],\n  [ 2, 4 ],  [ 3, 9 ],\n  [ 4, 16 ], [ 5, 25 ],\n  [ 6, 36 ], [ 7, 49 ],\n  [ 8, 64 ], [ 9, 81 ]\n]"),
        ("Object.assign(Array.from({length: 10}, (_, i) => i), {extra: 'x'})", "[ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, extra: 'x' ]"),
        ("Array.from({length: 7}, () => [])", "[\n  [], [], [], [],\n  [], [], []\n]"),
        ("Array.from({length: 7}, () => ({}))", "[\n  {}, {}, {}, {},\n  {}, {}, {}\n]"),
        ("Array.from({length: 27}, (_, i) => String.fromCharCode(97 + i % 26))", "[\n  'a', 'b', 'c', 'd', 'e', 'f',\n  'g', 'h', 'i', 'j', 'k', 'l',\n  'm', 'n', 'o', 'p', 'q', 'r',\n  's', 't', 'u', 'v', 'w', 'x',\n  'y', 'z', 'a'\n]"),
        ("Array.from({length: 10}, () => undefined)", "[\n  undefined, undefined,\n  undefined, undefined,\n  undefined, undefined,\n  undefined, undefined,\n  undefined, undefined\n]"),
        ("Array.from({length: 10}, (_, i) => i / 3)", "[\n  0,\n  0.3333333333333333,\n  0.6666666666666666,\n  1,\n  1.3333333333333333,\n  1.6666666666666667,\n  2,\n  2.3333333333333335,\n  2.6666666666666665,\n  3\n]"),
        ("Array.from({length: 9}, (_, i) => '日本'.repeat(i))", "[\n  '',\n  '日本',\n  '日本日本',\n  '日本日本日本',\n  '日本日本日本日本',\n  '日本日本日本日本日本',\n  '日本日本日本日本日本日本',\n  '日本日本日本日本日本日本日本',\n  '日本日本日本日本日本日本日本日本'\n]"),
        ("Array.from({length: 9}, (_, i) => 'é😀'.repeat(i))", "[\n  '',\n  'é😀',\n  'é😀é😀',\n  'é😀é😀é😀',\n  'é😀é😀é😀é😀',\n  'é😀é😀é😀é😀é😀',\n  'é😀é😀é😀é😀é😀é😀',\n  'é😀é😀é😀é😀é😀é😀é😀',\n  'é😀é😀é😀é😀é😀é😀é😀é😀'\n]"),
        ("({a: Array.from({length: 20}, (_, i) => i * 1000), b: 2})", "{\n  a: [\n        0,  1000,  2000,  3000,\n     4000,  5000,  6000,  7000,\n     8000,  9000, 10000, 11000,\n    12000, 13000, 14000, 15000,\n    16000, 17000, 18000, 19000\n  ],\n  b: 2\n}"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn objects_are_shown_by_class_key_and_accessor() {
    check(&[
        ("({})", "{}"),
        ("({a: 1})", "{ a: 1 }"),
        (r#"({a: 1, 'b-c': 2, 3: 4, $d: 5, _e: 6, 'ünï': 7, '': 8, "it's": 9})"#, r#"{ '3': 4, a: 1, 'b-c': 2, '$d': 5, _e: 6, 'ünï': 7, '': 8, "it's": 9 }"#),
        ("({a: {b: {c: {d: {}}}}})", "{ a: { b: { c: [Object] } } }"),
        ("({a: {b: {c: {}}}})", "{ a: { b: { c: {} } } }"),
        ("({a: {b: {c: []}}})", "{ a: { b: { c: [] } } }"),
        ("({a: {b: {c: new Map, d: new Set([1]), e: [1], f: () => 1, g: new Date(0), h: /x/, i: null, j: new (class Q {})}}})", "{\n  a: {\n    b: {\n      c: Map(0) {},\n      d: [Set],\n      e: [Array],\n      f: [Function: f],\n      g: 1970-01-01T00:00:00.000Z,\n      h: /x/,\n      i: null,\n      j: Q {}\n    }\n  }\n}"),
        ("Object.create(null)", "[Object: null prototype] {}"),
        ("Object.assign(Object.create(null), {a: 1})", "[Object: null prototype] { a: 1 }"),
        ("Object.create({})", "{}"),
        ("Object.create(Object.create(null))", "Object <[Object: null prototype] {}> {}"),
        ("Object.create(class X {})", "Function {}"),
        ("class Pt { constructor() { this.x = 1; this.y = 2 } }; new Pt()", "Pt { x: 1, y: 2 }"),
        ("class Em {}; new Em", "Em {}"),
        ("class Pa {}; class Ch extends Pa { z = 1 }; [new Ch, new Pa]", "[ Ch { z: 1 }, Pa {} ]"),
        ("new (class {})", "{}"),
        ("new (class { a = 1 })", "{ a: 1 }"),
        ("let ac = {get a() { return 1 }, set b(v) {}, get c() { return 1 }, set c(v) {}}; ac", "{ a: [Getter], b: [Setter], c: [Getter/Setter] }"),
        (r"({[Symbol('s')]: 1, [Symbol()]: 2, [Symbol.iterator]: 3, [Symbol('a\nb')]: 4})", "{\n  [Symbol(s)]: 1,\n  [Symbol()]: 2,\n  [Symbol(Symbol.iterator)]: 3,\n  [Symbol(a\\nb)]: 4\n}"),
        ("({['__proto__']: 1})", "{ ['__proto__']: 1 }"),
        ("({[Symbol.toStringTag]: 'Own'})", "{ [Symbol(Symbol.toStringTag)]: 'Own' }"),
        ("let tt = {}; Object.defineProperty(tt, Symbol.toStringTag, {value: 'Hidden'}); tt", "Object [Hidden] {}"),
        ("class Th {}; Th.prototype[Symbol.toStringTag] = 'Data'; new Th", "Th [Data] {}"),
        ("Object.create(null, {[Symbol.toStringTag]: {value: 'NullTag'}})", "[Object: null prototype] [NullTag] {}"),
        ("Object.create({[Symbol.toStringTag]: 'Inh'})", "Object [Inh] {}"),
        ("class Ts {}; Ts.prototype[Symbol.toStringTag] = 'Ts'; new Ts", "Ts {}"),
        ("Object.assign([1], {[Symbol.toStringTag]: 'Arr'})", "[ 1, [Symbol(Symbol.toStringTag)]: 'Arr' ]"),
        ("let ta = [1]; Object.defineProperty(ta, Symbol.toStringTag, {value: 'Arr'}); ta", "Array(1) [Arr] [ 1 ]"),
        (r#"JSON.parse('{"a":{"b":[1,2,{"c":null}]}}')"#, "{ a: { b: [ 1, 2, [Object] ] } }"),
        ("let o = {}; Object.defineProperty(o, 'hidden', {value: 1}); o", "{}"),
        ("Object.freeze({a: 1})", "{ a: 1 }"),
        ("let sh = {v: 1}; [sh, sh, {sh}]", "[ { v: 1 }, { v: 1 }, { sh: { v: 1 } } ]"),
        ("({length: 3, 0: 'a'})", "{ '0': 'a', length: 3 }"),
        // Node calls the getter of the tag, and shows `Tagged [T] {}`.
        ("class Tagged { get [Symbol.toStringTag]() { return 'T' } }; new Tagged", "Tagged {}"),
        // Node calls what a script left at this symbol.
        ("({[Symbol.for('nodejs.util.inspect.custom')]() { return 'custom' }})", "{\n  [Symbol(nodejs.util.inspect.custom)]: [Function: [nodejs.util.inspect.custom]]\n}"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn objects_too_wide_for_a_line_break_at_their_keys() {
    check(&[
        ("Object.fromEntries(Array.from({length: 30}, (_, i) => ['key' + i, i]))", "{\n  key0: 0,\n  key1: 1,\n  key2: 2,\n  key3: 3,\n  key4: 4,\n  key5: 5,\n  key6: 6,\n  key7: 7,\n  key8: 8,\n  key9: 9,\n  key10: 10,\n  key11: 11,\n  key12: 12,\n  key13: 13,\n  key14: 14,\n  key15: 15,\n  key16: 16,\n  key17: 17,\n  key18: 18,\n  key19: 19,\n  key20: 20,\n  key21: 21,\n  key22: 22,\n  key23: 23,\n  key24: 24,\n  key25: 25,\n  key26: 26,\n  key27: 27,\n  key28: 28,\n  key29: 29\n}"),
        ("({alpha: 'aaaaaaaaaaaaaaaaaaaa', beta: 'bbbbbbbbbbbbbbbbbbbbbbbb', gamma: 'cccccccccccccccccccc', delta: 1})", "{\n  alpha: 'aaaaaaaaaaaaaaaaaaaa',\n  beta: 'bbbbbbbbbbbbbbbbbbbbbbbb',\n  gamma: 'cccccccccccccccccccc',\n  delta: 1\n}"),
        ("({a:1,b:'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',c:3})", "{\n  a: 1,\n  b: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',\n  c: 3\n}"),
        ("({a:1,b:'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',c:3})", "{\n  a: 1,\n  b: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',\n  c: 3\n}"),
        ("({a:{b:1},c:{d:2}})", "{ a: { b: 1 }, c: { d: 2 } }"),
        ("({a:{b:{c:1}}})", "{ a: { b: { c: 1 } } }"),
        ("({a:{b:{c:{}}}, x: 1})", "{ a: { b: { c: {} } }, x: 1 }"),
        ("({a:[{b:{c:1}}], x: [[[1]]]})", "{ a: [ { b: [Object] } ], x: [ [ [Array] ] ] }"),
        ("({user: {id: 1, name: 'Ann', roles: ['admin', 'dev'], address: {city: 'X', geo: {lat: 1, lng: 2}}}, ok: true})", "{\n  user: {\n    id: 1,\n    name: 'Ann',\n    roles: [ 'admin', 'dev' ],\n    address: { city: 'X', geo: [Object] }\n  },\n  ok: true\n}"),
        ("({level1: {level2: {level3: {level4: 'x'}}, arr: [[['deep']]]}})", "{ level1: { level2: { level3: [Object] }, arr: [ [Array] ] } }"),
        ("({x: '日本語日本語日本語日本語日本語日本語日本語', y: '日本語日本語日本語日本語日本語日本語日本語'})", "{ x: '日本語日本語日本語日本語日本語日本語日本語', y: '日本語日本語日本語日本語日本語日本語日本語' }"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn cycles_refer_to_where_they_began() {
    check(&[
        ("let ci = {name: 'x'}; ci.self = ci; ci", "<ref *1> { name: 'x', self: [Circular *1] }"),
        ("let c1 = {}, c2 = {c1}; c1.c2 = c2; ({c1, c2})", "{\n  c1: <ref *1> { c2: { c1: [Circular *1] } },\n  c2: <ref *2> { c1: <ref *1> { c2: [Circular *2] } }\n}"),
        ("let ca = [1]; ca.push(ca); ca", "<ref *1> [ 1, [Circular *1] ]"),
        ("let cm = new Map; cm.set('self', cm); cm", "<ref *1> Map(1) { 'self' => [Circular *1] }"),
        ("let cs = new Set; cs.add(cs); cs", "<ref *1> Set(1) { [Circular *1] }"),
        ("let ce = new Error('x'); ce.stack = undefined; ce.self = ce; ce", "<ref *1> [Error: x] { self: [Circular *1] }"),
        ("function cf(){}; cf.self = cf; cf", "<ref *1> [Function: cf] { self: [Circular *1] }"),
        ("let cd = {a: {b: {}}}; cd.a.b.top = cd; cd.a.b.a = cd.a; cd", "<ref *1> { a: <ref *2> { b: { top: [Circular *1], a: [Circular *2] } } }"),
        ("class Cc { constructor() { this.me = this } }; new Cc", "<ref *1> Cc { me: [Circular *1] }"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn maps_and_sets_are_shown_by_entry() {
    check(&[
        ("new Map", "Map(0) {}"),
        ("new Map([['a', 1], [{k: 1}, {v: 2}]])", "Map(2) { 'a' => 1, { k: 1 } => { v: 2 } }"),
        ("new Set", "Set(0) {}"),
        ("new Set([1, 'a', {b: 1}])", "Set(3) { 1, 'a', { b: 1 } }"),
        ("new Map([[new Map([[1, 2]]), new Set([1])]])", "Map(1) { Map(1) { 1 => 2 } => Set(1) { 1 } }"),
        ("({m: new Map([['a', {b: {c: 1}}]]), s: new Set([[1, 2]])})", "{ m: Map(1) { 'a' => { b: [Object] } }, s: Set(1) { [ 1, 2 ] } }"),
        ("new Set(Array.from({length: 10}, (_, i) => i))", "Set(10) { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }"),
        ("new Map(Array.from({length: 20}, (_, i) => ['key' + i, i]))", "Map(20) {\n  'key0' => 0,\n  'key1' => 1,\n  'key2' => 2,\n  'key3' => 3,\n  'key4' => 4,\n  'key5' => 5,\n  'key6' => 6,\n  'key7' => 7,\n  'key8' => 8,\n  'key9' => 9,\n  'key10' => 10,\n  'key11' => 11,\n  'key12' => 12,\n  'key13' => 13,\n  'key14' => 14,\n  'key15' => 15,\n  'key16' => 16,\n  'key17' => 17,\n  'key18' => 18,\n  'key19' => 19\n}"),
        ("Object.assign(new Map([[1, 2]]), {extra: 1})", "Map(1) { 1 => 2, extra: 1 }"),
        ("Object.assign(new Set, {extra: 1})", "Set(0) { extra: 1 }"),
        ("class MyM extends Map {}; new MyM([[1, 2]])", "MyM(1) [Map] { 1 => 2 }"),
        ("class MyS extends Set {}; new MyS", "MyS(0) [Set] {}"),
        ("Object.setPrototypeOf(new Map([[1,2]]), null)", "[Map(1): null prototype] { 1 => 2 }"),
        ("Object.setPrototypeOf(new Set([1]), null)", "[Set(1): null prototype] { 1 }"),
        ("[[[new Map([[1, 2]])]]]", "[ [ [ [Map] ] ] ]"),
        ("[[[[new Map([[1, 2]])]]]]", "[ [ [ [Array] ] ] ]"),
        ("new WeakMap", "WeakMap { <items unknown> }"),
        ("new WeakSet", "WeakSet { <items unknown> }"),
        ("new WeakRef({a: 1})", "WeakRef {}"),
        ("new FinalizationRegistry(() => {})", "FinalizationRegistry {}"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn dates_and_regular_expressions_are_shown_as_written() {
    check(&[
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("new Date(NaN)", "Invalid Date"),
        ("[new Date(86400000)]", "[ 1970-01-02T00:00:00.000Z ]"),
        ("Object.assign(new Date(0), {a: 1})", "1970-01-01T00:00:00.000Z { a: 1 }"),
        ("class MyD extends Date {}; new MyD(0)", "MyD 1970-01-01T00:00:00.000Z"),
        ("Object.setPrototypeOf(new Date(0), null)", "[Date: null prototype] 1970-01-01T00:00:00.000Z"),
        ("Object.setPrototypeOf(new Date(NaN), null)", "[Date: null prototype] Invalid Date"),
        ("new Date(8.64e15)", "+275760-09-13T00:00:00.000Z"),
        ("new Date(-1e14)", "-001199-02-15T14:13:20.000Z"),
        (r"/a\/b/gi", r"/a\/b/gi"),
        ("new RegExp('')", "/(?:)/"),
        (r"new RegExp('\n/')", r"/\n\//"),
        ("Object.assign(/x/, {a: 1})", "/x/ { a: 1 }"),
        ("class MyR extends RegExp {}; new MyR('a', 'g')", "MyR /a/g"),
        ("[[[[/x/]]]]", "[ [ [ [Array] ] ] ]"),
        ("Object.setPrototypeOf(/x/g, null)", "[RegExp: null prototype] /x/g"),
        ("[[[Object.assign(/x/, {a: 1})]]]", "[ [ [ /x/ ] ] ]"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn errors_without_frames_stand_in_brackets() {
    check(&[
        ("let stackless = new Error('msg'); delete stackless.stack; stackless", "[Error: msg]"),
        ("let stackless = new Error; delete stackless.stack; stackless", "[Error]"),
        ("let stackless = new TypeError('t'); delete stackless.stack; stackless", "[TypeError: t]"),
        ("class MyE extends Error {}; let stackless = new MyE('m'); delete stackless.stack; stackless", "[MyE [Error]: m]"),
        ("class MyE2 extends Error { constructor(m) { super(m); this.name = 'MyE2' } }; let stackless = new MyE2('m'); delete stackless.stack; stackless", "[MyE2: m]"),
        (r"let stackless = new Error('a\nb'); delete stackless.stack; stackless", "[Error: a\nb]"),
        ("let stackless = Object.assign(new Error('m'), {code: 'E', n: 1}); delete stackless.stack; stackless", "[Error: m] { code: 'E', n: 1 }"),
        ("let stackless = Object.assign(new Error('m'), {name: 'Custom'}); delete stackless.stack; stackless", "[Custom: m]"),
        ("let stackless = new Error('m', {cause: 'why'}); delete stackless.stack; stackless", "[Error: m] { [cause]: 'why' }"),
        ("let stackless = new Error('m', {cause: {a: 1}}); delete stackless.stack; stackless", "[Error: m] { [cause]: { a: 1 } }"),
        ("let stackless = Object.assign(new Error(''), {message: 'later'}); delete stackless.stack; stackless", "[Error: later]"),
        ("let stackless = new AggregateError([1, 'x'], 'agg'); delete stackless.stack; stackless", "[AggregateError: agg] { [errors]: [ 1, 'x' ] }"),
        ("let stackless = Object.setPrototypeOf(new Error('m'), null); delete stackless.stack; stackless", "[[Error: null prototype]: m]"),
        ("let et = new Error('m'); et[Symbol('s')] = 1; et['a-b'] = 2; let stackless = et; delete stackless.stack; stackless", "[Error: m] { 'a-b': 2, [Symbol(s)]: 1 }"),
        ("class Fo extends TypeError {}; let stackless = new Fo('m'); delete stackless.stack; stackless", "[Fo [TypeError]: m]"),
        ("let stackless = Object.assign(new Error('m'), {message: 'other'}); delete stackless.stack; stackless", "[Error: other]"),
        ("let stackless = new (class extends Error {})('m'); delete stackless.stack; stackless", "[Error: m]"),
        ("let ne = new Error('m'); ne.name = 5; let stackless = ne; delete stackless.stack; stackless", "[5: m]"),
        ("let nf = new Error('m'); nf.name = undefined; let stackless = nf; delete stackless.stack; stackless", "[Error: m] { name: undefined }"),
        ("class ValidationFailure extends Error {}; let stackless = new ValidationFailure('m'); delete stackless.stack; stackless", "[ValidationFailure [Error]: m]"),
        ("let tg = new Error('m'); Object.defineProperty(tg, Symbol.toStringTag, {value: 'TT'}); let stackless = tg; delete stackless.stack; stackless", "[Error [TT]: m]"),
        ("Object.create(Error.prototype)", "[Error]"),
        ("Error.prototype", "{}"),
        // Node calls the getter, and shows `[G: m]`.
        ("class Named extends Error { get name() { return 'G' } }; let e = new Named('m'); delete e.stack; e", "[Named [Error]: m]"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn errors_with_a_stack_of_their_own_are_shown_with_it() {
    check(&[
        (r"let es = new Error('m'); es.stack = 'Error: m\n    at foo (a.js:1:2)'; es", "Error: m\n    at foo (a.js:1:2)"),
        (r"let ei = new Error('m'); ei.stack = 'Error: m\n    at foo (a.js:1:2)\n    at bar (a.js:1:2)'; ({e: ei, d: {e: ei}})", "{\n  e: Error: m\n      at foo (a.js:1:2)\n      at bar (a.js:1:2),\n  d: {\n    e: Error: m\n        at foo (a.js:1:2)\n        at bar (a.js:1:2)\n  }\n}"),
        (r"let ej = new Error('m'); ej.stack = 'Error: m\n    at foo (a.js:1:2)'; ej.code = 1; [ej]", "[\n  Error: m\n      at foo (a.js:1:2) {\n    code: 1\n  }\n]"),
        ("let ek = new Error('m'); ek.stack = 'nonsense'; ek", "[nonsense]"),
        (r"let ec = new Error('inner'); ec.stack='Error: inner\n    at a (a.js:1:1)'; let ed = new Error('outer', {cause: ec}); ed.stack = 'Error: outer\n    at b (a.js:1:1)'; ed", "Error: outer\n    at b (a.js:1:1) {\n  [cause]: Error: inner\n      at a (a.js:1:1)\n}"),
        (r"let ag = new AggregateError([new Error('a')], 'agg'); ag.stack = 'AggregateError: agg\n    at a (a.js:1:1)'; ag.errors[0].stack = 'Error: a\n    at b (a.js:1:1)'; ag", "AggregateError: agg\n    at a (a.js:1:1) {\n  [errors]: [\n    Error: a\n        at b (a.js:1:1)\n  ]\n}"),
        (r"let em = new Error('m'); delete em.message; em.stack = 'Error\n    at a (a.js:1:1)'; em", "Error\n    at a (a.js:1:1)"),
        (r"let en = new Error('m'); en.stack = 'Error: m\n    at a (a.js:1:1)'; en.name = 'Other'; en", "Error: m\n    at a (a.js:1:1) {\n  name: 'Other'\n}"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn boxed_primitives_are_shown_in_brackets() {
    check(&[
        ("new Number(3)", "[Number: 3]"),
        ("new Number(-0)", "[Number: -0]"),
        ("new String('abc')", "[String: 'abc']"),
        ("new Boolean(false)", "[Boolean: false]"),
        ("Object(Symbol('s'))", "[Symbol: Symbol(s)]"),
        ("Object(10n)", "[BigInt: 10n]"),
        ("Object.assign(new String('ab'), {x: 1})", "[String: 'ab'] { x: 1 }"),
        ("Object.assign(new Number(1), {x: 1})", "[Number: 1] { x: 1 }"),
        ("class MyN extends Number {}; new MyN(1)", "[Number (MyN): 1]"),
        ("[new String('a')]", "[ [String: 'a'] ]"),
        ("Object.setPrototypeOf(new Number(1), null)", "[Number (null prototype): 1]"),
        (r#"new String("it's")"#, r#"[String: "it's"]"#),
        ("class MySt extends String {}; new MySt('q')", "[String (MySt): 'q']"),
        ("Number.prototype", "{}"),
        ("String.prototype", "{}"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn typed_arrays_and_buffers_are_shown_by_content() {
    check(&[
        ("new Uint8Array(3)", "Uint8Array(3) [ 0, 0, 0 ]"),
        ("new Uint8Array(0)", "Uint8Array(0) []"),
        ("new Float64Array([1.5, -0, NaN])", "Float64Array(3) [ 1.5, -0, NaN ]"),
        ("new BigInt64Array([1n, -1n])", "BigInt64Array(2) [ 1n, -1n ]"),
        ("new Uint8ClampedArray(10)", "Uint8ClampedArray(10) [\n  0, 0, 0, 0, 0,\n  0, 0, 0, 0, 0\n]"),
        ("Array.from({length: 10}, (_, i) => i * 300).reduce((a, x, i) => (a[i] = x, a), new Uint16Array(10))", "Uint16Array(10) [\n     0,  300,  600,\n   900, 1200, 1500,\n  1800, 2100, 2400,\n  2700\n]"),
        ("Object.assign(new Uint8Array(2), {x: 1})", "Uint8Array(2) [ 0, 0, x: 1 ]"),
        ("class MyT extends Uint8Array {}; new MyT(2)", "MyT(2) [Uint8Array] [ 0, 0 ]"),
        ("({t: new Uint8Array(20)})", "{\n  t: Uint8Array(20) [\n    0, 0, 0, 0, 0, 0, 0,\n    0, 0, 0, 0, 0, 0, 0,\n    0, 0, 0, 0, 0, 0\n  ]\n}"),
        ("new ArrayBuffer(4)", "ArrayBuffer { [Uint8Contents]: <00 00 00 00>, byteLength: 4 }"),
        ("new ArrayBuffer(0)", "ArrayBuffer { [Uint8Contents]: <>, byteLength: 0 }"),
        ("new Uint8Array([255, 16]).buffer", "ArrayBuffer { [Uint8Contents]: <ff 10>, byteLength: 2 }"),
        ("new ArrayBuffer(60)", "ArrayBuffer {\n  [Uint8Contents]: <00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00>,\n  byteLength: 60\n}"),
        ("new SharedArrayBuffer(2)", "SharedArrayBuffer { [Uint8Contents]: <00 00>, byteLength: 2 }"),
        ("new DataView(new ArrayBuffer(2), 1)", "DataView {\n  byteLength: 1,\n  byteOffset: 1,\n  buffer: ArrayBuffer { [Uint8Contents]: <00 00>, byteLength: 2 }\n}"),
        ("Object.assign(new ArrayBuffer(1), {x: 1})", "ArrayBuffer { [Uint8Contents]: <00>, byteLength: 1, x: 1 }"),
        ("Object.setPrototypeOf(new Uint8Array(2), null)", "[Uint8Array(2): null prototype] [ 0, 0 ]"),
        ("[[[new ArrayBuffer(2)]]]", "[ [ [ [ArrayBuffer] ] ] ]"),
        ("[[[[new Uint8Array(2)]]]]", "[ [ [ [Array] ] ] ]"),
        // A detached buffer.
        ("let b = new ArrayBuffer(4); b.transfer(); b", "ArrayBuffer { (detached), byteLength: 0 }"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn promises_are_shown_by_state() {
    check(&[
        ("[Promise.resolve(1)]", "[ Promise { 1 } ]"),
        ("({p: new Promise(() => {})})", "{ p: Promise { <pending> } }"),
        ("let pr = Promise.reject(new Error('x')); pr.catch(() => {}); let pe = Promise.reject(3); pe.catch(() => {}); [pe]", "[ Promise { <rejected> 3 } ]"),
        ("[Promise.resolve({a: {b: {c: 1}}})]", "[ Promise { { a: [Object] } } ]"),
        ("class MyP extends Promise {}; [new MyP(() => {})]", "[ MyP [Promise] { <pending> } ]"),
        ("[Object.assign(Promise.resolve(1), {x: 1})]", "[ Promise { 1, x: 1 } ]"),
        ("[[[[Promise.resolve(1)]]]]", "[ [ [ [Array] ] ] ]"),
        ("[(async () => 'done')()]", "[ Promise { 'done' } ]"),
        ("[(async () => { await 1 })()]", "[ Promise { undefined } ]"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn proxies_are_shown_as_their_targets() {
    check(&[
        ("new Proxy({a: 1}, {})", "{ a: 1 }"),
        ("new Proxy([1, 2], {get() { throw 1 }})", "[ 1, 2 ]"),
        ("new Proxy(function f() {}, {})", "[Function: f]"),
        ("let rv = Proxy.revocable({}, {}); rv.revoke(); rv.proxy", "<Revoked Proxy>"),
        ("[new Proxy(new Proxy({a: 1}, {}), {})]", "[ { a: 1 } ]"),
        ("new Proxy({a: 1}, {ownKeys() { throw new Error('no') }, getPrototypeOf() { throw 1 }, has() { throw 1 }, get() { throw 1 }, getOwnPropertyDescriptor() { throw 1 }})", "{ a: 1 }"),
        ("new Proxy(class A {}, {})", "[class A]"),
        ("Object.create(new Proxy({}, {}))", "{}"),
        ("new Proxy(new Map([[1, 2]]), {})", "Map(1) { 1 => 2 }"),
        ("new Proxy(new Date(0), {})", "1970-01-01T00:00:00.000Z"),
        ("[Proxy.revocable(() => {}, {})]", "[ { proxy: [Function (anonymous)], revoke: [Function (anonymous)] } ]"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn what_the_language_itself_makes_is_shown_by_its_tag() {
    check(&[
        ("(function() { return arguments })(1, 'a')", "[Arguments] { '0': 1, '1': 'a' }"),
        ("(function() { return arguments })()", "[Arguments] {}"),
        ("(function() { 'use strict'; return arguments })(1, 2)", "[Arguments] { '0': 1, '1': 2 }"),
        ("(function*() {})()", "Object [Generator] {}"),
        ("(function* gg() {})()", "Object [Generator] {}"),
        ("(async function*() {})()", "Object [AsyncGenerator] {}"),
        ("[1, 2][Symbol.iterator]()", "Object [Array Iterator] {}"),
        ("'ab'[Symbol.iterator]()", "Object [String Iterator] {}"),
        ("'aXbX'.matchAll(/X/g)", "Object [RegExp String Iterator] {}"),
        ("Math", "Object [Math] {}"),
        ("JSON", "Object [JSON] {}"),
        ("Reflect", "Object [Reflect] {}"),
        ("Object.prototype", "[Object: null prototype] {}"),
        ("Map.prototype", "Object [Map] {}"),
        ("Promise.prototype", "Object [Promise] {}"),
        ("Date.prototype", "{}"),
        ("Symbol.prototype", "Object [Symbol] {}"),
        ("BigInt.prototype", "Object [BigInt] {}"),
        ("Uint8Array.prototype", "TypedArray {}"),
        ("ArrayBuffer.prototype", "Object [ArrayBuffer] {}"),
        ("Object.getPrototypeOf([][Symbol.iterator]())", "Object [Array Iterator] {}"),
        ("Object.getPrototypeOf(function*(){})", "Function [GeneratorFunction] {}"),
        // Node shows the entries, which the engine gives only to who takes them.
        ("new Map([[1, 2]]).entries()", "Object [Map Iterator] {}"),
        ("new Set([1]).values()", "Object [Set Iterator] {}"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn names_that_a_script_changed_are_read_without_running_it() {
    check(&[
        ("({get x() { throw new Error('no') }})", "{ x: [Getter] }"),
        ("Object.create(null, {constructor: {value: 'x', enumerable: true}})", "[Object: null prototype] { constructor: 'x' }"),
        ("({constructor: 1})", "{ constructor: 1 }"),
        ("({constructor: {name: 'Fake'}})", "{ constructor: { name: 'Fake' } }"),
        ("({constructor: function Fake() {}})", "{ constructor: [Function: Fake] }"),
        ("class Cr {}; Cr.prototype.constructor = undefined; new Cr", "{}"),
        ("class Cs {}; Cs.prototype.constructor = function Other() {}; new Cs", "{}"),
        ("class NameObj2 { static name = 'str' }; [NameObj2, new NameObj2]", "[ [class str] { name: 'str' }, str {} ]"),
        ("delete Array.prototype.constructor; [1]", "Object(1) [ 1 ]"),
        ("Object.prototype.constructor = null; ({a: 1})", "{ a: 1 }"),
        ("let q = {}; q.a = q.b = {}; q", "{ b: {}, a: {} }"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn built_ins_that_a_script_replaced_are_not_called() {
    check(&[
        ("Date.prototype.toISOString = () => 'gotcha'; Date.prototype.getTime = () => 1; new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("globalThis.JSON = null; Object.keys = null; ({a: 1})", "{ a: 1 }"),
        ("Object.prototype.toJSON = () => 'x'; ({a: 1})", "{ a: 1 }"),
        ("Object.prototype.extra = 1; ({a: 1})", "{ a: 1 }"),
        ("Symbol.prototype.toString = () => { throw 1 }; Symbol('x')", "Symbol(x)"),
        ("Function.prototype.toString = () => 'class {}'; (function f() {})", "[Function: f]"),
        (r"String.prototype.replace = null; 'it\'s'", r#""it's""#),
        // Node throws in these four.
        ("Map.prototype.entries = () => { throw 1 }; Map.prototype[Symbol.iterator] = 1; new Map([[1, 2]])", "Map(1) { 1 => 2 }"),
        ("Array.prototype.map = Array.prototype.push = Array.prototype.join = null; [1, [2]]", "[ 1, [ 2 ] ]"),
        ("Object.defineProperty(RegExp.prototype, 'flags', {get() { throw 1 }}); /x/g", "/x/g"),
        ("Object.defineProperty(RegExp.prototype, 'global', {get() { throw 1 }}); /x/gi", "/x/gi"),
    ])
    .await;
}

/// The frames are the engine's; Node's look the same and say other things.
#[tokio::test]
#[rustfmt::skip]
async fn errors_are_shown_with_their_frames() {
    check(&[
        ("new Error('m')", "Error: m\n    at <eval> (<repl>:1:5)"),
        ("class NotFound extends Error { constructor(m) { super(m); this.code = 404 } }; new NotFound('x')", "NotFound [Error]: x\n    at NotFound (<repl>:1:49)\n    at <eval> (<repl>:1:84) {\n  code: 404\n}"),
        ("function f() { return new TypeError('deep') }; ({a: [f()]})", "{\n  a: [\n    TypeError: deep\n        at f (<repl>:1:27)\n        at <eval> (<repl>:1:54)\n  ]\n}"),
        ("new Error('outer', {cause: new RangeError('inner')})", "Error: outer\n    at <eval> (<repl>:1:32) {\n  [cause]: RangeError: inner\n      at <eval> (<repl>:1:32)\n}"),
        ("let e = new Error('m'); e.name = 'AbortError'; e", "Error [AbortError]: m\n    at <eval> (<repl>:1:13)"),
        ("class Failure extends Error { constructor(m) { super(m); this.name = 'Failure' } }; new Failure('m')", "Failure: m\n    at Failure (<repl>:1:48)\n    at <eval> (<repl>:1:89)"),
        ("new AggregateError([new Error('a')], 'agg')", "AggregateError: agg\n    at <eval> (<repl>:1:25) {\n  [errors]: [\n    Error: a\n        at <eval> (<repl>:1:25)\n  ]\n}"),
    ])
    .await;
}

#[tokio::test]
async fn every_type_has_the_name_that_javascript_gives_it() {
    let sessions = Sessions::start().await;
    for (input, value_type) in [
        ("1", ValueType::Number),
        ("NaN", ValueType::Number),
        ("'a'", ValueType::String),
        ("false", ValueType::Boolean),
        ("1n", ValueType::Bigint),
        ("undefined", ValueType::Undefined),
        ("let x = 1", ValueType::Undefined),
        ("null", ValueType::Null),
        ("Symbol()", ValueType::Symbol),
        ("() => 1", ValueType::Function),
        ("(class {})", ValueType::Function),
        ("new Proxy(() => 1, {})", ValueType::Function),
        ("[1]", ValueType::Array),
        ("({})", ValueType::Object),
        ("/x/", ValueType::Object),
        ("new Number(1)", ValueType::Object),
        ("new Uint8Array(1)", ValueType::Object),
        ("new WeakMap()", ValueType::Object),
        ("new Date(0)", ValueType::Date),
        ("new TypeError('x')", ValueType::Error),
        ("class E extends Error {}; new E()", ValueType::Error),
        ("new Map()", ValueType::Map),
        ("new Set()", ValueType::Set),
        ("new Promise(() => {})", ValueType::Promise),
        ("Promise.resolve(1)", ValueType::Number),
    ] {
        assert_eq!(sessions.value(input).await.value_type, value_type, "the type of {input}");
    }
}

#[tokio::test]
async fn values_that_json_can_say_have_their_json() {
    let sessions = Sessions::start().await;
    for (input, json) in [
        ("1.5", json!(1.5)),
        ("-0", json!(0)),
        ("1e21", json!(1e21)),
        (r#"'é"\\\n'"#, json!("é\"\\\n")),
        // A lone surrogate has no place in UTF-8.
        (r"'\ud800'", json!("\u{fffd}")),
        ("true", json!(true)),
        ("null", json!(null)),
        (
            "[1, , undefined, () => 1, Symbol(), NaN, null]",
            json!([1, null, null, null, null, null, null]),
        ),
        ("({a: undefined, b: () => 1, c: Symbol(), d: 1, [Symbol()]: 2})", json!({"d": 1})),
        ("new Date(0)", json!("1970-01-01T00:00:00.000Z")),
        ("new Date(NaN)", json!(null)),
        ("class A { x = 1 }; new A()", json!({"x": 1})),
        ("Object.create({a: 1})", json!({})),
        ("Object.create(null)", json!({})),
        ("({2: 1, 1: 2, b: 3, a: 4})", json!({"1": 2, "2": 1, "b": 3, "a": 4})),
        ("({toJSON() { return 'custom' }})", json!("custom")),
        ("({a: {toJSON(key) { return key }}})", json!({"a": "a"})),
        ("({get a() { return 5 }})", json!({"a": 5})),
        ("[new Map(), new Error('x'), /x/]", json!([{}, {}, {}])),
        ("[new Number(3), new String('s'), new Boolean(false)]", json!([3, "s", false])),
        ("new Number(5)", json!(5)),
        ("new Array(3)", json!([null, null, null])),
        ("let shared = {}; [shared, shared]", json!([{}, {}])),
    ] {
        assert_eq!(sessions.value(input).await.json, Some(json), "the JSON of {input}");
    }
}

#[tokio::test]
async fn values_that_json_cannot_say_have_none() {
    let sessions = Sessions::start().await;
    for input in [
        "NaN",
        "-Infinity",
        "1n",
        "undefined",
        "Symbol()",
        "() => 1",
        "new Error('x')",
        "new Map()",
        "new Set()",
        "new Promise(() => {})",
        "/x/",
        "new Uint8Array(1)",
        "new Proxy({}, {})",
        "[new Proxy([], {})]",
        "[1n]",
        "[Object(1n)]",
        "let circle = {}; circle.a = circle; circle",
        "({toJSON() { throw new Error('no') }})",
        "({toJSON() { return undefined }})",
        "({get a() { throw new Error('no') }})",
        "let longest = []; longest[4294967294] = 1; longest",
    ] {
        assert_eq!(sessions.value(input).await.json, None, "the JSON of {input}");
    }
}

#[tokio::test]
async fn json_ends_at_its_depth_and_at_64_kib() {
    let sessions = Sessions::start().await;
    let nested =
        |levels: usize| format!("let a = []; for (let i = 0; i < {levels}; i++) a = [a]; a");
    for (input, is_kept) in [
        (nested(64), true),
        (nested(65), false),
        ("'x'.repeat(65534)".to_owned(), true),
        ("'x'.repeat(65535)".to_owned(), false),
        ("['x'.repeat(65532)]".to_owned(), true),
        ("['x'.repeat(65533)]".to_owned(), false),
        ("Array(32767).fill(1)".to_owned(), true),
        ("Array(32768).fill(1)".to_owned(), false),
    ] {
        assert_eq!(sessions.value(&input).await.json.is_some(), is_kept, "the JSON of {input}");
    }
}

#[tokio::test]
async fn a_preview_is_at_most_one_kib() {
    let sessions = Sessions::start().await;
    for (input, len) in [
        // Two quotes.
        ("'x'.repeat(1022)", 1024),
        ("'x'.repeat(1023)", 1024),
        // No character is cut in two.
        ("'é'.repeat(1000)", 1024),
        ("' ' + 'é'.repeat(1000)", 1023),
        ("globalThis.big = 'x'.repeat(5000); globalThis", 1024),
        ("Array.from({length: 300}, (_, i) => 'item ' + i)", 1024),
    ] {
        let preview = sessions.value(input).await.preview;
        assert_eq!(preview.len(), len, "the preview of {input}: {preview}");
    }
    assert!(sessions.value("'x'.repeat(1022)").await.preview.ends_with("x'"));
    assert!(sessions.value("'x'.repeat(1023)").await.preview.ends_with("x…"));
}

/// Each ends within the limits of a session by default, and leaves the session usable.
#[tokio::test]
async fn values_made_to_be_hard_to_show_end_and_leave_the_session_usable() {
    let sessions = Sessions::start().await;
    for (input, begins) in [
        ("({['k'.repeat(5e6)]: 1})", "{\n  kkkk"),
        ("let o = {}; for (let i = 0; i < 2e5; i++) o['k' + i] = i; o", "{\n  k0: 0,\n  k1: 1,"),
        (
            "let p = {}; for (let i = 0; i < 2e5; i++) p['k' + i] = 1; Array(100).fill([[p], [p]])",
            "[\n  [ [ [Object] ], [ [Object] ] ],",
        ),
        ("let a = []; a[1e7] = 1; a", "[ <10000000 empty items>, 1 ]"),
        ("let a = []; a.length = 1e7; a", "[ <10000000 empty items> ]"),
        ("let a = []; a[4294967294] = 1; a", "[ <4294967294 empty items>, 1 ]"),
        ("Array(1e6).fill(0)", "[\n  0, 0, 0,"),
        ("let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); p", "<Revoked Proxy>"),
        ("'x'.repeat(1e7)", "'xxxx"),
        ("'x'.repeat(5e7)", "'xxxx"),
        ("Array(100).fill('x'.repeat(1e7))", "[\n  'xxxx"),
        ("new Error('m'.repeat(4e7))", "Error: mmmm"),
        ("Symbol('s'.repeat(4e7))", "Symbol(ssss"),
        (
            "let m = new Map(); for (let i = 0; i < 2e5; i++) m.set(i, i); m",
            "Map(200000) {\n  0 => 0,",
        ),
        ("let q = []; for (let i = 0; i < 1e5; i++) q = [q]; q", "[ [ [ [Array] ] ] ]"),
        (
            "let w = Object.create(null); for (let i = 0; i < 1e5; i++) w = Object.create(w); w",
            "Object <Object <Object <Object <Complex prototype>>>> {}",
        ),
        (
            "let a = [1]; for (let i = 0; i < 4; i++) a = Array(100).fill(a); a",
            "[\n  [\n    [\n      [Array],",
        ),
        (
            "Array(100).fill(Array(100).fill(new Function(' '.repeat(1e6))))",
            "[\n  [\n    [Function: anonymous],",
        ),
        ("({toJSON() { return {a: {toJSON: this.toJSON}} }})", "{ toJSON: [Function: toJSON] }"),
        ("10n ** 20000n", "1000"),
    ] {
        let session = sessions.open().await;
        let finished = sessions.run_in(session, input).await;
        assert_eq!(
            finished.execution.status,
            ExecutionStatus::Ok,
            "{input}: {:?}",
            finished.execution.error
        );
        let preview = finished.execution.result.unwrap().preview;
        assert!(preview.starts_with(begins), "the preview of {input}: {preview}");
        let after = sessions.run_in(session, "1 + 1").await;
        assert_eq!(after.execution.result.unwrap().preview, "2", "after {input}");
        sessions.close(session).await;
    }
}
