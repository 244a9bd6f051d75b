//! The work of main.go, in Rust.

use std::collections::HashMap;

static mut SINK: u64 = 0;

fn sink(x: u64) {
    unsafe { std::ptr::addr_of_mut!(SINK).write_volatile(x) }
}

#[no_mangle]
pub extern "C" fn r#loop(n: u32) {
    let mut x = 1u64;
    for i in 0..n as u64 * 20_000 {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(i);
    }
    sink(x);
}

#[no_mangle]
pub extern "C" fn sort(n: u32) {
    for _ in 0..n {
        let mut x = 1u32;
        let mut all: Vec<u32> = (0..4000)
            .map(|_| {
                x = x.wrapping_mul(1664525).wrapping_add(1013904223);
                x
            })
            .collect();
        all.sort_unstable();
        sink(all[0] as u64);
    }
}

#[no_mangle]
pub extern "C" fn maps(n: u32) {
    for _ in 0..n {
        let mut m: HashMap<String, u32> = HashMap::new();
        for i in 0..1000 {
            *m.entry(format!("key {}", i * 7 % 500)).or_default() += 1;
        }
        sink(m.len() as u64);
    }
}
