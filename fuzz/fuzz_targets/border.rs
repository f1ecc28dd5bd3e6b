//! What a guest hands over: any memory, any numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// Numbers before the memory: six of `emit`, of which `call` takes five.
const HEAD: usize = 24;

fuzz_target!(|input: &[u8]| {
    let Some((head, memory)) = input.split_at_checked(HEAD) else { return };
    let mut numbers = [0; 6];
    for (number, bytes) in numbers.iter_mut().zip(head.chunks_exact(4)) {
        *number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let [kind, tag, a, a_len, b, b_len] = numbers;
    if let Some(bytes) = vm_host::fuzzing::statement(memory) {
        assert!(bytes <= memory.len());
    }
    for kind in [kind, kind % 4] {
        // As they are, and brought into the memory, so that both sides of every check are met.
        let len = u32::try_from(memory.len()).unwrap_or(u32::MAX).max(1);
        for inside in [[a, a_len, b, b_len], [a % len, a_len % len, b % len, b_len % len]] {
            let [a, a_len, b, b_len] = inside;
            for tag in [tag, tag % 16] {
                if let Some(json) = vm_host::fuzzing::emit(memory, [kind, tag, a, a_len, b, b_len])
                {
                    // Whatever was recorded can be stored and sent.
                    serde_json::from_str::<serde_json::Value>(&json).expect("an event is JSON");
                }
            }
            if let Some(copied) = vm_host::fuzzing::call(memory, [kind, a, a_len, b, b_len]) {
                assert!(copied <= 2 * memory.len());
            }
        }
    }
});
