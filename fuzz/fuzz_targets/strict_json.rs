//! Any bytes for a request's body.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Some(object) = vm_api::fuzzing::object(text) {
        // What is taken strictly is JSON to everybody, and means the same written again.
        let lenient: serde_json::Value = serde_json::from_slice(text).expect("it is JSON");
        assert_eq!(lenient, serde_json::Value::Object(object.clone()));
        let again = serde_json::to_vec(&object).expect("an object can be written");
        assert_eq!(vm_api::fuzzing::object(&again), Some(object));
    }
    vm_api::fuzzing::bodies(text);
});
